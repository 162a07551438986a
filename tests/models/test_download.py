"""Downloads against a real HTTP server of this machine: whole, cut, resumed, exchanged, absent."""

import hashlib
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pixelwise.errors import OutputError
from pixelwise.files import locked
from pixelwise.models.download import CACHE_VARIABLE, DownloadError, cache_folder, fetch

BODY = bytes(index * 7 % 251 for index in range(700_000))
HASH = hashlib.sha256(BODY).hexdigest()


class Server:
    """Serves BODY; `cuts` are the numbers of bytes after which the next connections are closed."""

    def __init__(self):
        self.body, self.cuts, self.ranges, self.honours_ranges, self.status = BODY, [], [], True, None
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                server.ranges.append(self.headers.get("Range"))
                if server.status is not None:
                    self.send_error(server.status)
                    return
                start = 0
                if server.honours_ranges and self.headers.get("Range"):
                    start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
                if start >= len(server.body):
                    self.send_error(416)
                    return
                rest = server.body[start:]
                self.send_response(206 if start else 200)
                if start:
                    whole = len(server.body)
                    self.send_header("Content-Range", f"bytes {start}-{whole - 1}/{whole}")
                self.send_header("Content-Length", str(len(rest)))
                self.end_headers()
                self.wfile.write(rest[: server.cuts.pop(0)] if server.cuts else rest)

            def log_message(self, *arguments):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/weights/net-1234.pth"
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def close(self):
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()


@pytest.fixture
def server(monkeypatch, loopback):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    running = Server()
    yield running
    running.close()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_arrives_once_and_is_kept(server, tmp_path):
    seen = []
    path = fetch(server.url, tmp_path / "c", sha256=HASH[:8], progress=lambda *at: seen.append(at))
    assert path.read_bytes() == BODY
    assert names(path.parent) == ["net-1234.pth"]
    assert seen[-1] == (len(BODY), len(BODY))
    assert fetch(server.url, tmp_path / "c", sha256=HASH) == path
    assert server.ranges == [None]  # the second call asked nobody


def test_a_cut_connection_goes_on_where_it_broke_off(server, tmp_path):
    server.cuts = [300_000, 200_000]
    assert fetch(server.url, tmp_path, sha256=HASH).read_bytes() == BODY
    assert server.ranges == [None, "bytes=300000-", "bytes=500000-"]


def test_a_later_call_goes_on_with_what_is_there(server, tmp_path):
    server.cuts = [300_000, 0]
    with pytest.raises(DownloadError, match=r"broke off after 0\.3 of 0\.7 MB"):
        fetch(server.url, tmp_path, sha256=HASH)
    assert names(tmp_path) == ["net-1234.pth.part"]
    assert fetch(server.url, tmp_path, sha256=HASH).read_bytes() == BODY
    assert server.ranges[-1] == "bytes=300000-"
    assert names(tmp_path) == ["net-1234.pth"]


def test_a_server_without_ranges_sends_all_again(server, tmp_path):
    server.honours_ranges, server.cuts = False, [300_000]
    assert fetch(server.url, tmp_path, sha256=HASH).read_bytes() == BODY


def test_a_part_that_is_whole_already_is_only_checked(server, tmp_path):
    (tmp_path / "net-1234.pth.part").write_bytes(BODY)
    assert fetch(server.url, tmp_path, sha256=HASH).read_bytes() == BODY
    assert server.ranges == [f"bytes={len(BODY)}-"]


def test_a_beginning_of_another_version_is_fetched_anew(server, tmp_path):
    (tmp_path / "net-1234.pth.part").write_bytes(b"x" * 1000)
    assert fetch(server.url, tmp_path, sha256=HASH).read_bytes() == BODY
    assert server.ranges == ["bytes=1000-", None]


def test_a_file_with_another_hash_is_refused_and_not_kept(server, tmp_path):
    server.body = BODY[:-1] + b"!"
    with pytest.raises(DownloadError, match=f"refused: its SHA-256 begins with .*, expected {HASH[:8]}"):
        fetch(server.url, tmp_path, sha256=HASH[:8])
    assert names(tmp_path) == []


def test_a_damaged_file_in_the_cache_is_fetched_again(server, tmp_path):
    (tmp_path / "net-1234.pth").write_bytes(BODY[:-1])
    assert fetch(server.url, tmp_path, sha256=HASH).read_bytes() == BODY


def test_an_answer_that_is_no_file_is_passed_on(server, tmp_path):
    server.status = 404
    with pytest.raises(DownloadError, match="the server answers 404"):
        fetch(server.url, tmp_path, sha256=HASH)


def test_without_a_network_one_sentence_says_so(server, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        nobody = f"http://127.0.0.1:{taken.getsockname()[1]}/net-1234.pth"  # free again after this line
    with pytest.raises(DownloadError) as caught:
        fetch(nobody, tmp_path, sha256=HASH)
    assert caught.value.found.startswith("no connection to 127.0.0.1 (")
    assert "\n" not in caught.value.found
    assert str(tmp_path) in caught.value.remedy


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://example.org/a.pth", "https://example.org/"])
def test_other_addresses_are_refused(url, tmp_path):
    with pytest.raises(DownloadError, match="cannot fetch"):
        fetch(url, tmp_path, sha256=HASH)


def test_two_processes_do_not_fetch_at_once(server, tmp_path):
    with locked(tmp_path), pytest.raises(OutputError, match="another pixelwise process"):
        fetch(server.url, tmp_path, sha256=HASH)


def test_the_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "here"))
    assert cache_folder() == tmp_path / "here"
    monkeypatch.delenv(CACHE_VARIABLE)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "pixelwise"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "pixelwise"

"""The one writer: complete or not at all, also when the disk is full or another process holds the folder."""

import json
import os
import subprocess
import sys
import textwrap

import pytest

from pixelwise.errors import OutputError
from pixelwise.files import LOCK_NAME, append_line, locked, replacing, write_bytes, write_json


def run(code, *arguments):
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_the_previous_file_survives_a_failure(tmp_path):
    target = tmp_path / "file.txt"
    write_bytes(target, b"old")
    with pytest.raises(RuntimeError), replacing(target) as temporary:
        temporary.write_bytes(b"half")
        raise RuntimeError
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["file.txt"]


def test_the_previous_file_survives_a_full_disk(tmp_path):
    target = tmp_path / "file.bin"
    write_bytes(target, b"old")
    result = run(
        """
        import resource, signal, sys
        from pixelwise.errors import OutputError
        from pixelwise.files import write_bytes
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))  # the kernel refuses to write more
        try:
            write_bytes(sys.argv[1], bytes(1_000_000))
        except OutputError as error:
            print(error)
        """,
        target,
    )
    assert "too large" in result.stdout, result.stderr
    assert str(target) in result.stdout
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["file.bin"]


def test_a_disk_without_space(tmp_path):
    """On a real, tiny file system of its own."""
    script = f"""
        mount -t tmpfs -o size=64k tmpfs {tmp_path} && {sys.executable} - <<'END'
from pixelwise.errors import OutputError
from pixelwise.files import write_bytes
from pathlib import Path
write_bytes("{tmp_path}/small", b"old")
try:
    write_bytes("{tmp_path}/small", bytes(1_000_000))
except OutputError as error:
    print(error, Path("{tmp_path}/small").read_bytes(), len(list(Path("{tmp_path}").iterdir())))
END
    """
    result = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script], capture_output=True, text=True, timeout=60
    )
    if "denied" in result.stderr or "not permitted" in result.stderr:
        pytest.skip(f"no right to mount a file system here: {result.stderr.strip()}")
    assert "the disk is full" in result.stdout, result.stderr
    assert "b'old' 1" in result.stdout


def test_a_second_process_cannot_have_the_folder(tmp_path):
    with locked(tmp_path / "out"):
        result = run(
            """
            import sys
            from pixelwise.errors import OutputError
            from pixelwise.files import locked
            try:
                with locked(sys.argv[1]):
                    print("entered")
            except OutputError as error:
                print(error)
            """,
            tmp_path / "out",
        )
    assert "another pixelwise process" in result.stdout
    with locked(tmp_path / "out"):
        pass
    assert not (tmp_path / "out" / LOCK_NAME).exists()


def test_a_file_in_the_way_of_the_folder(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="in the way"), locked(tmp_path / "file"):
        pass
    with pytest.raises(OutputError, match="choose another"):
        write_bytes(tmp_path / "file" / "inner", b"")


def test_json_refuses_nan(tmp_path):
    with pytest.raises(ValueError, match="Out of range"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert not list(tmp_path.iterdir())


def test_names_that_are_no_utf8_come_back_from_json(tmp_path):
    name = os.fsdecode(b"\xff\xfe.png")
    write_json(tmp_path / "a.json", {"file": name, "other": "łódź"})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"file": name, "other": "łódź"}


def test_lines_are_appended(tmp_path):
    append_line(tmp_path / "log", "one")
    append_line(tmp_path / "log", "two")
    assert (tmp_path / "log").read_text() == "one\ntwo\n"
    with pytest.raises(OutputError):
        append_line(tmp_path / "missing" / "log", "one")


def test_a_folder_made_for_nothing_is_taken_away_again(tmp_path):
    for name, writes in (("empty", False), ("begun", True)):
        with pytest.raises(ValueError, match="wrong input"), locked(tmp_path / name) as folder:
            if writes:
                (folder / "part").write_bytes(b"")
            raise ValueError("wrong input")
    assert [path.name for path in tmp_path.iterdir()] == ["begun"]
    with locked(tmp_path / "kept"):
        pass
    with pytest.raises(ValueError, match="wrong input"), locked(tmp_path / "kept"):
        raise ValueError("wrong input")
    assert (tmp_path / "kept").is_dir()

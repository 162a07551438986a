"""Which engine `auto` takes, what it remembers of that, and how it goes on where one fails."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

import pixelwise as pw
from pixelwise.errors import OptionError
from pixelwise.infer import EngineChoice, decisions, predict_files
from pixelwise.infer import engine as engines
from pixelwise.infer.engine import Auto, Running, fastest, open_engine


def network():
    torch.manual_seed(1)
    chosen = pw.NetworkOptions(encoder_width=0.125)
    return pw.build("unet", encoder="resnet18", classes=4, options=chosen).eval()


def picture(height=45, width=70, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    folder = tmp_path / "cache"
    folder.mkdir()
    monkeypatch.setenv("PIXELWISE_CACHE", str(folder))
    return folder


@pytest.fixture
def searches(monkeypatch):
    """The engines that each search was to try; all end with the eager one."""
    tried = []

    def found(model, image, precision, names, say, alike):
        tried.append(names)
        return Running(model, precision), {"engine": "eager"}

    monkeypatch.setattr(engines, "fastest", found)
    return tried


def decide(model, image, **named):
    auto = Auto(model, images=10**9, precision="float32", say=lambda text: None, **named)
    auto(image)
    return auto


def test_auto_stays_eager_for_little_work(cache):
    running = open_engine(network(), images=3)
    for seed in range(3):
        running(picture(seed=seed))
    assert running.engine.name == "eager"
    assert not list(cache.iterdir())


def test_auto_times_the_engines_once_and_remembers():
    pytest.importorskip("openvino")
    said = []
    built, image = network(), picture()
    running = Auto(built, images=10**9, precision="float32", say=said.append)
    running(image)
    (row,) = json.loads((decisions.file()).read_text()).values()
    assert set(row["seconds"]) >= {"eager", "openvino"}
    assert row["engine"] == min(row["seconds"], key=row["seconds"].get)
    assert any("openvino" in text for text in said)
    again = Auto(built, images=10**9, precision="float32", say=said.append)
    said.clear()
    again(image)
    (told,) = said  # nothing was timed again
    assert row["engine"] in told and str(decisions.file()) in told
    assert again.engine.name == running.engine.name == row["engine"]


def test_an_engine_whose_labels_differ_is_not_taken(monkeypatch):
    """A backend that is quick and wrong."""
    built, image = network(), picture()

    class Wrong:
        def __call__(self, given):
            return 3 - pw.predict(built, image)

    monkeypatch.setattr(engines, "open_engine", lambda *given, **named: Wrong())
    monkeypatch.setattr(
        engines, "_timed", lambda engine, given: (engine(given), 1.0 if isinstance(engine, Running) else 0.1)
    )
    best, decision = fastest(built, image, "float32", ["openvino"], lambda text: None)
    assert isinstance(best, Running)
    assert decision["engine"] == "eager"
    assert decision["agreement"]["openvino"] < 0.5


def test_a_file_of_decisions_that_is_damaged_is_no_obstacle():
    for text in ("{", "[]", '{"a": 1, "b": {"engine": "none"}}'):
        (decisions.file()).write_text(text)
        assert decisions.known() == {}


def test_a_decision_holds_for_the_weights_that_it_was_made_with(searches):
    built, image = network(), picture()
    decide(built, image)
    decide(built, picture(seed=1))
    decide(network(), image)
    assert len(searches) == 1
    with torch.no_grad():
        built.head.bias[0] += 1
    decide(built, image)
    assert len(searches) == 2


def test_a_decision_holds_for_the_type_of_pixels_and_the_version(searches, monkeypatch):
    built, image = network(), picture()
    decide(built, image)
    decide(built, image.astype(np.float32))
    assert len(searches) == 2
    monkeypatch.setattr(pw, "__version__", "0.0.1")
    decide(built, image)
    assert len(searches) == 3


def test_what_a_short_job_decided_does_not_bind_a_long_one_nor_the_other_way(searches, monkeypatch):
    built, image = network(), picture()
    for long in (float("inf"), 0.0, float("inf"), 0.0):
        monkeypatch.setattr(engines, "LONG", long)
        decide(built, image, alike=lambda: True)
    assert searches == [["openvino", "onnxruntime"], ["openvino", "onnxruntime", "compiled"]]


@pytest.mark.parametrize("widths", [(70, 70, 70), (70, 70, 71)])
def test_engines_that_prepare_each_size_are_for_images_of_one_size(widths, searches, monkeypatch, tmp_path):
    monkeypatch.setattr(engines, "WORTH", 0.0)
    monkeypatch.setattr(engines, "LONG", 0.0)
    for number, width in enumerate(widths):
        Image.fromarray(picture(45, width)).save(tmp_path / f"{number}.png")
    files = [tmp_path / f"{number}.png" for number in range(3)]
    predict_files(network(), files, tmp_path / "out", overlays=False, engine=EngineChoice("auto"))
    several = ["onnxruntime", "compiled"] if len(set(widths)) == 1 else []
    assert searches == [["openvino", *several]]


def test_a_file_that_cannot_be_read_has_no_size(tmp_path):
    from pixelwise.infer.jobs import find_jobs, of_one_size

    Image.fromarray(picture(45, 70)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"")
    turned = Image.fromarray(picture(70, 45))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by a quarter
    turned.save(tmp_path / "c.jpg", exif=exif)
    assert of_one_size(find_jobs([tmp_path], tmp_path / "out"))


def test_auto_goes_on_without_an_engine_that_fails():
    """An operation that neither runtime has; the real errors of their exporters."""
    pytest.importorskip("openvino")
    pytest.importorskip("onnxscript")
    built, image, said = network(), picture(), []
    built.decoder.head = torch.nn.Sequential(built.decoder.head, Eigenvalues())
    best, decision = fastest(built, image, "float32", ["openvino", "onnxruntime"], said.append)
    assert best.name == decision["engine"] == "eager"
    assert [text.partition(":")[0] for text in said] == ["openvino", "onnxruntime"]
    assert all("linalg_eig" in text for text in said)
    assert set(decision["left out"]) == {"openvino", "onnxruntime"}


class Eigenvalues(torch.nn.Module):
    def forward(self, x):
        squares = x[:, :2, :2, :2]
        return x + torch.linalg.eigvals(squares).real.sum()


def test_auto_goes_on_eagerly_where_its_engine_fails_later(searches):
    """On a size that it was not timed on, say; once, and then no more."""
    built, image, said = network(), picture(), []
    auto = Auto(built, images=10**9, precision="float32", say=said.append)
    auto(image)
    auto.engine = Running(built, "float32", Failing())
    said.clear()
    for _ in range(2):
        np.testing.assert_array_equal(auto(image), pw.predict(built, image))
    assert said == ["going on with eager: no such size"]
    with pytest.raises(OptionError, match="no threshold"):
        auto.with_sets(image)


class Failing:
    name, footprint = "failing", 1.0

    def __call__(self, pixels):
        raise OptionError("no such size")


def test_the_search_tries_no_further_engine_after_a_minute(monkeypatch):
    monkeypatch.setattr(engines, "SEARCH", 0.0, raising=False)
    monkeypatch.setattr(engines, "open_engine", lambda *given, **named: pytest.fail("tried"))
    said = []
    best, decision = fastest(network(), picture(), "float32", ["openvino", "compiled"], said.append)
    assert best.name == decision["engine"] == "eager"
    assert ["not tried" in text for text in said] == [True, True]


@pytest.mark.parametrize(("slow", "calls"), [(60.0, 3), (0.0, 2)])
def test_a_slow_image_is_timed_once(monkeypatch, slow, calls):
    monkeypatch.setattr(engines, "SLOW", slow, raising=False)
    seen = []
    engines._timed(seen.append, picture())
    assert len(seen) == calls


def test_what_is_missing_says_how_to_get_it(monkeypatch):
    from pixelwise.backends import onnx

    monkeypatch.setattr(onnx, "available", lambda: False)
    said = []
    fastest(network(), picture(), "float32", ["onnxruntime"], said.append)
    assert "pip install 'pixelwise[export]'" in said[0]

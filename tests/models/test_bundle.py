"""One file per model: what is damaged or disguised is refused, and never run."""

import json
import pickle
import random
import zipfile

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file
from safetensors.torch import save as serialize

from pixelwise.errors import BundleError
from pixelwise.models.bundle import KEY, BundleFacts, _digest, load, save
from pixelwise.models.calibration import Calibration
from pixelwise.models.interfaces import NetworkOptions
from pixelwise.models.zoo import build


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    net = build("unet", classes=["field", "house"], options=NetworkOptions(decoder_channels=(8, 8)))
    path = tmp_path_factory.mktemp("bundle") / "net.safetensors"
    return save(
        net, path, facts=BundleFacts(split={"train": ["a", "\udcff"]}, precision="bfloat16", dtype="uint8")
    )


def rewritten(bundle, tmp_path, change):
    """The bundle with its description changed and everything else as it was."""
    raw = bundle.read_bytes()
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + size])
    body = json.loads(header["__metadata__"][KEY])
    header["__metadata__"][KEY] = json.dumps(change(body))
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path = tmp_path / "changed.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + raw[8 + size :])
    return path


def test_facts_come_back(bundle):
    model = load(bundle)
    assert model.facts.split == {"train": ["a", "\udcff"]}  # the second name is no UTF-8
    assert model.facts.precision == "bfloat16"
    assert [spec.name for spec in model.classes] == ["field", "house"]
    assert not model.training


def test_any_flipped_bit_is_found(bundle, tmp_path):
    raw = bundle.read_bytes()
    chance = random.Random(0)
    size = int.from_bytes(raw[:8], "little")
    places = [chance.randrange(8 + size) for _ in range(15)] + [chance.randrange(len(raw)) for _ in range(15)]
    for place in places:
        damaged = bytearray(raw)
        damaged[place] ^= 1 << chance.randrange(8)
        path = tmp_path / "damaged.safetensors"
        path.write_bytes(damaged)
        with pytest.raises(BundleError) as caught:
            load(path)
        assert caught.value.file == path


@pytest.mark.parametrize("share", [0.0, 0.00001, 0.3, 0.999])
def test_truncated(bundle, tmp_path, share):
    raw = bundle.read_bytes()
    path = tmp_path / "short.safetensors"
    path.write_bytes(raw[: int(len(raw) * share)])
    with pytest.raises(BundleError, match="damaged or incomplete"):
        load(path)


class Bomb:
    """Leaves a trace if it is ever unpickled."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return open, (str(self.trace), "w")


@pytest.mark.parametrize("kind", ["pickle", "torch", "zip"])
def test_a_pickle_in_disguise_is_not_opened(tmp_path, kind):
    path, trace = tmp_path / "model.safetensors", tmp_path / "trace"
    if kind == "pickle":
        path.write_bytes(pickle.dumps(Bomb(trace)))
    elif kind == "torch":
        torch.save({"weights": Bomb(trace)}, path)
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("data.pkl", pickle.dumps(Bomb(trace)))
    with pytest.raises(BundleError, match="pickle or zip"):
        load(path)
    assert not trace.exists()


def test_a_changed_description_is_found(bundle, tmp_path):
    path = rewritten(bundle, tmp_path, lambda body: body | {"classes": body["classes"][::-1]})
    with pytest.raises(BundleError, match="does not match its own digest"):
        load(path)


def test_a_newer_format_asks_for_an_update(bundle, tmp_path):
    path = rewritten(bundle, tmp_path, lambda body: body | {"version": 99})
    with pytest.raises(BundleError, match=r"format 99.*\n.*update"):
        load(path)


@pytest.mark.parametrize("start", [b"\x80", b"PK"])
def test_a_header_whose_length_looks_like_a_pickle(bundle, tmp_path, start):
    raw = bundle.read_bytes()
    size = int.from_bytes(raw[:8], "little")
    longer = size
    while not longer.to_bytes(8, "little").startswith(start):
        longer += 1
    path = tmp_path / "padded.safetensors"
    path.write_bytes(
        longer.to_bytes(8, "little") + raw[8 : 8 + size] + b" " * (longer - size) + raw[8 + size :]
    )
    assert load(path).name == "unet"


def test_a_foreign_safetensors_file(tmp_path):
    path = tmp_path / "other.safetensors"
    path.write_bytes(serialize({"x": torch.zeros(2)}))
    with pytest.raises(BundleError, match="not a bundle"):
        load(path)


def test_weights_that_are_not_numbers(tmp_path):
    net = build("unet", classes=2, options=NetworkOptions(decoder_channels=(8,)))
    with torch.no_grad():
        net.head.bias[0] = float("nan")
    with pytest.raises(BundleError, match=r"not finite in decoder.head\.bias"):
        load(save(net, tmp_path / "nan.safetensors"))


def test_missing_file_and_empty_folder(tmp_path):
    with pytest.raises(BundleError, match="no such file"):
        load(tmp_path / "none.safetensors")
    with pytest.raises(BundleError, match="holds no model"):
        load(tmp_path)


def test_a_run_folder_stands_for_its_model(bundle, tmp_path):
    (tmp_path / "model.safetensors").write_bytes(bundle.read_bytes())
    assert load(tmp_path).name == "unet"


def fitted(**changed):
    values = {"kind": "per_class", "temperatures": (1.5, 0.5), "split": "val", "images": 3, "pixels": 900}
    return Calibration.model_validate(values | {"ece_before": 0.2, "ece_after": 0.1} | changed)


def test_a_calibration_comes_back_and_is_covered_by_the_digest(bundle, tmp_path):
    model = load(bundle)
    facts = model.facts.model_copy(update={"calibration": fitted(set_share=0.9, set_threshold=0.02)})
    path = save(model, tmp_path / "fitted.safetensors", facts=facts)
    assert load(path).facts == facts
    assert load(path).digest != model.digest

    def cooler(body):
        body["facts"]["calibration"]["temperatures"] = [1.5, 0.6]
        return body

    with pytest.raises(BundleError, match="does not match its own digest"):
        load(rewritten(path, tmp_path, cooler))


def test_a_calibration_of_other_classes_is_refused(bundle, tmp_path):
    facts = BundleFacts(calibration=fitted(temperatures=(1.0, 1.0, 1.0)))
    path = save(load(bundle), tmp_path / "three.safetensors", facts=facts)
    with pytest.raises(BundleError, match="3 temperatures for 2 classes"):
        load(path)


@pytest.mark.parametrize(
    "changed", [{"temperatures": (0.0, 1.0)}, {"temperatures": (1.0,)}, {"kind": "one"}, {"ece_after": 1.1}]
)
def test_a_calibration_that_makes_no_sense(changed):
    with pytest.raises(ValidationError):
        fitted(**changed)


def test_a_bundle_from_before_calibration_loads(bundle, tmp_path):
    def older(body):
        del body["facts"]["calibration"]
        tensors = load_file(bundle)
        del body["sha256"]
        return body | {"sha256": _digest(body, tensors)}

    assert load(rewritten(bundle, tmp_path, older)).facts.calibration is None


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("version",), "x"),
        (("facts", "licence"), 7),
        (("facts", "dtype"), []),
        (("library",), None),
        (("network",), []),
        (("network", "encoder"), {}),
        (("classes", 0, "color"), True),
        (("bands",), 0),
        (("network", "name"), "\ufeff"),
        (("network", "options", "head_kernel"), 1e308),
    ],
)
def test_a_wrong_document_under_a_digest_that_fits_is_refused_with_a_remedy(bundle, tmp_path, place, value):
    def wrong(body):
        inner = body
        for key in place[:-1]:
            inner = inner[key]
        inner[place[-1]] = value
        del body["sha256"]
        return body | {"sha256": _digest(body, load_file(bundle))}

    with pytest.raises(BundleError, match=r"description is wrong|cannot be built") as caught:
        load(rewritten(bundle, tmp_path, wrong))
    assert caught.value.remedy

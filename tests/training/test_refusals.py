"""Training refuses what it cannot do, before it writes anything."""

import sys

import numpy as np
import pytest

import pixelwise as pw
from pixelwise.errors import LayoutError, MissingExtraError, OptionError
from pixelwise.ops.cards import pick_device
from pixelwise.training.log import RunLog


def test_a_class_per_image(tmp_path):
    np.savez(
        tmp_path / "digits_train.npz",
        images=np.zeros((4, 8, 8), np.uint8),
        labels=np.arange(4, dtype=np.uint8),
    )
    with pytest.raises(LayoutError, match="a class per image"):
        pw.train(pw.open_dataset(tmp_path), out=tmp_path / "run", epochs=1)
    assert not (tmp_path / "run").exists()


def test_an_empty_training_split(shapes, tmp_path):
    names = pw.open_dataset(shapes).split_names()
    data = pw.open_dataset(shapes, split={"train": [], "val": names["val"], "test": names["test"]})
    with pytest.raises(LayoutError, match="training split is empty"):
        pw.train(data, out=tmp_path / "run", epochs=1)


def test_unknown_networks_are_refused_before_the_data_are_read():
    with pytest.raises(OptionError, match="did you mean 'unet'"):
        pw.TrainOptions(model="unett")
    with pytest.raises(OptionError, match="did you mean 'resnet18'"):
        pw.TrainOptions(encoder="renset18")
    assert pw.TrainOptions(encoder="timm:anything").encoder == "timm:anything"


@pytest.mark.parametrize("size", [(256, 10**400), (0, 256)])
def test_sizes_beyond_all_bounds(size):
    with pytest.raises(OptionError, match="size is"):
        pw.TrainOptions(size=size)


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "meta", "mps"])
def test_devices_that_are_not_there(name):
    with pytest.raises(OptionError, match="device"):
        pick_device(name)


def test_tensorboard_that_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingExtraError, match=r"pixelwise\[track\]"):
        RunLog(tmp_path, tensorboard=True)

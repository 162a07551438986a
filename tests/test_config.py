"""From YAML and --set into option types."""

import math

import pytest

from pixelwise.config import dump, fill, parse_settings, read_yaml
from pixelwise.errors import OptionError
from pixelwise.training.options import TrainOptions


def test_settings_reach_nested_options():
    options = fill(
        TrainOptions(), parse_settings(["optim.lr=1e-3", "loss.overlap=iou", "batch=4", "size=[90, 120]"])
    )
    assert options.optim.lr == 0.001  # YAML 1.1 reads 1e-3 as text
    assert options.loss.overlap == "iou"
    assert (options.batch, options.size) == (4, (90, 120))
    assert options.augment == TrainOptions().augment


def test_dump_and_fill_are_inverse():
    options = fill(TrainOptions(), parse_settings(["network.decoder_channels=[64, 32]", "minutes=3"]))
    assert fill(TrainOptions(), dump(options)) == options


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("optim.lerning_rate=1", "optim.lerning_rate"),
        ("optm.lr=1", "did you mean 'optim'"),
        ("optim.lr=fast", "optim.lr is 'fast'"),
        ("optim.lr=.nan", "optim.lr is nan"),
        ("optim.lr=-1", "give a number"),
        ("batch=0", "batch is 0"),
        ("batch=2.5", "batch is 2.5"),
        ("loss.overlap=focal", "allowed: dice, iou"),
        ("augment.scale=[2, 1]", "smallest <= largest"),
        ("minutes", "--set name=value"),
        ("seed=2020-13-45", "quote the value"),  # YAML takes it for a date
    ],
)
def test_bad_settings_name_the_option(setting, message):
    with pytest.raises(OptionError) as caught:
        fill(TrainOptions(), parse_settings([setting]))
    assert message in str(caught.value)


def test_contradictions():
    with pytest.raises(OptionError, match="both minutes and epochs"):
        fill(TrainOptions(), {"minutes": 1, "epochs": 2})
    with pytest.raises(OptionError, match="has a value already"):
        parse_settings(["optim=1", "optim.lr=2"])
    assert math.isclose(fill(TrainOptions(), {"epochs": 2}).epochs, 2)


@pytest.mark.parametrize("text", ["- a\n", "a: [", "a: 2020-13-45\n", "!!python/object/apply:os.getcwd []\n"])
def test_bad_files_name_the_file(tmp_path, text):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(OptionError, match=r"c\.yaml"):
        read_yaml(path)

"""Images to label next: what is unknown comes first, boundaries do not count, nothing comes twice."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import pixelwise as pw
from pixelwise.errors import DataError, OptionError
from pixelwise.infer.jobs import find_jobs
from pixelwise.models.interfaces import NetworkOptions
from pixelwise.review.choice import choose, entropy, look, spread, uncertainty_of


def tiny() -> pw.Segmenter:
    torch.manual_seed(0)
    return pw.build(
        "unet", classes=3, options=NetworkOptions(encoder_width=0.0625, decoder_channels=(8,) * 5)
    )


def test_entropy_is_the_textbook_s() -> None:
    shares = torch.tensor([0.5, 0.25, 0.25]).view(3, 1, 1)
    assert float(entropy(shares)) == pytest.approx((0.5 * math.log(2) + 0.5 * math.log(4)) / math.log(3))
    assert float(entropy(torch.tensor([1.0, 0.0]).view(2, 1, 1))) == 0.0
    assert float(entropy(torch.full((5, 1, 1), 0.2))) == pytest.approx(1.0)


@pytest.mark.parametrize("shape", [(64, 64), (70, 90), (5, 100), (1, 1)])
def test_uncertainty_is_the_mean_of_the_medians_of_blocks(shape: tuple[int, int]) -> None:
    values = np.random.default_rng(0).random(shape, np.float32)
    rows, columns = min(16, shape[0]), min(16, shape[1])
    medians = [
        np.sort(values[r : r + rows, c : c + columns], axis=None)[(rows * columns - 1) // 2]
        for r in range(0, shape[0] - rows + 1, rows)
        for c in range(0, shape[1] - columns + 1, columns)
    ]
    assert uncertainty_of(torch.from_numpy(values)) == pytest.approx(float(np.mean(medians)), abs=1e-6)


def test_boundaries_do_not_count_but_areas_do() -> None:
    lines = torch.zeros(128, 128)
    lines[::16] = lines[:, ::16] = 1.0  # a line through every block, twelve percent of all pixels
    area = torch.zeros(128, 128)
    area[:32, :32] = 1.0  # six percent
    assert uncertainty_of(lines) == 0.0
    assert uncertainty_of(area) == pytest.approx(1 / 16)


def test_near_duplicates_wait() -> None:
    features = np.array([[0, 0, 5], [0, 0.001, 5], [5, 0, 0], [0, 5, 0]], np.float32)
    order = spread(np.array([0.9, 0.89, 0.5, 0.4]), features, 4)
    assert [place for place, _ in order] == [0, 2, 3, 1]
    assert order[0][1] == 2.0
    assert order[-1][1] < 0.01


@given(st.integers(1, 12), st.integers(1, 4), st.integers(0, 99))
def test_each_choice_is_the_best_that_is_left(count: int, channels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    features, worth = rng.normal(size=(count, channels)).astype(np.float32), rng.random(count)
    order = spread(worth, features, count)
    assert sorted(place for place, _ in order) == list(range(count))
    distances = [distance for _, distance in order]
    assert all(0 <= distance <= 2 + 1e-6 for distance in distances)
    assert order[0][0] == int(np.argmax(worth))


def write_images(folder: Path, count: int) -> Path:
    rng = np.random.default_rng(1)
    folder.mkdir()
    for number in range(count):
        image = rng.integers(0, 256, (40, 48, 3)).astype(np.uint8)
        PIL.Image.fromarray(image).save(folder / f"im{number:02d}.png")
    return folder


def test_the_pool_holds_the_most_uncertain_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pixelwise.review.choice.POOL", 2)
    model, folder = tiny(), write_images(tmp_path / "images", 9)
    jobs = find_jobs([folder], tmp_path / "out")
    chosen = choose(model, jobs, 2)
    alone = {job.label: look(model, np.array(PIL.Image.open(job.image)))[0] for job in jobs}
    top = sorted(alone, key=lambda name: -alone[name])[:4]
    assert chosen.choices[0].name == top[0]
    assert {one.name for one in chosen.choices} <= set(top)
    assert chosen.images == 9
    assert chosen.mean_uncertainty == pytest.approx(np.mean(list(alone.values())))


def test_features_are_the_means_of_the_deepest_map() -> None:
    model = tiny().eval()
    image = np.random.default_rng(2).integers(0, 256, (64, 96, 3)).astype(np.uint8)
    _, features = look(model, image)
    with torch.no_grad():
        pixels = torch.from_numpy(image).permute(2, 0, 1)[None]
        expected = model.deepest(model.prepare(pixels)).mean(dim=(0, 2, 3))
    assert np.allclose(features, expected.numpy(), atol=1e-5)


def test_two_copies_are_not_chosen_together(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "images", 4)
    (folder / "im99.png").write_bytes((folder / "im00.png").read_bytes())
    chosen = choose(tiny(), find_jobs([folder], tmp_path / "out"), 4)
    assert not {"im00.png", "im99.png"} <= {one.name for one in chosen.choices}


def test_a_file_that_does_not_suit_is_named(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "images", 1)
    PIL.Image.fromarray(np.zeros((40, 48), np.uint8)).save(folder / "grey.png")
    with pytest.raises(DataError, match=r"grey\.png"):
        choose(tiny(), find_jobs([folder], tmp_path / "out"), 1)
    with pytest.raises(OptionError, match="--count 0"):
        choose(tiny(), [], 0)

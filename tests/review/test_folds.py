"""Folds: every image judged once, by a network that has seen neither it nor anything of its group."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pixelwise as pw
from pixelwise.config import read_yaml
from pixelwise.errors import LayoutError, OptionError, OutputError
from pixelwise.models.interfaces import NetworkOptions
from pixelwise.review.folds import OPTIONS, blocks, cut, labelled, out_of_fold

TINY = replace(
    OPTIONS,
    epochs=1,
    size=(32, 32),
    batch=2,
    precision="float32",
    network=NetworkOptions(encoder_width=0.0625, decoder_channels=(8,) * 5),
)


def write_films(root: Path, *, films: int = 3, frames: int = 2) -> Path:
    """Films of bright squares on dark ground."""
    rng = np.random.default_rng(0)
    for film in range(films):
        for frame in range(frames):
            labels = np.zeros((32, 32), np.uint8)
            top, left = rng.integers(2, 14, 2)
            labels[top : top + 12, left : left + 12] = 1
            image = rng.integers(0, 60, (32, 32, 3)).astype(np.uint8) + 150 * labels[..., None]
            for kind, array in (("images", image), ("masks", labels)):
                path = root / kind / f"film{film}_{frame:03d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                PIL.Image.fromarray(array).save(path)
    (root / "classes.yaml").write_text(
        "- {name: ground, color: '#888888'}\n- {name: box, color: '#eeee33'}\n"
    )
    return root


@pytest.fixture
def films(tmp_path: Path) -> pw.Dataset:
    return pw.open_dataset(write_films(tmp_path / "data"))


def run(
    data: pw.Dataset,
    out: Path,
    *,
    count: int = 2,
    say: Callable[[str], None] = lambda _: None,
    **changes: object,
) -> list[tuple[set[str], set[str]]]:
    """The names that the network of each fold has seen, and those it judges."""
    options = replace(TINY, **changes)  # type: ignore[arg-type]
    found = []
    for fold in out_of_fold(data, labelled(data), out, count=count, options=options, say=say):
        split = read_yaml(fold.folder / "config.yaml")["split"]
        found.append((set(split["train"]) | set(split["val"]), set(fold.unseen.names)))
        assert fold.network().task == "segment"
    return found


def test_a_network_has_seen_nothing_of_the_groups_it_judges(films: pw.Dataset, tmp_path: Path) -> None:
    names = {name for split in films.splits for name in split.names}
    found = run(films, tmp_path / "out")
    for seen, unseen in found:
        assert seen | unseen == names
        assert not {name[:5] for name in seen} & {name[:5] for name in unseen}
    assert sorted(name for _, unseen in found for name in unseen) == sorted(names)


def test_it_goes_on_with_the_fold_it_was_in(films: pw.Dataset, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = next(out_of_fold(films, labelled(films), out, count=2, options=TINY, say=lambda _: None))
    stamp = (first.folder / "model.safetensors").stat().st_mtime_ns
    assert not (out / "fold-2").exists()
    (out / "fold-2").mkdir()
    (out / "fold-2" / "config.yaml").write_text("plan: {}\n")  # stopped before the first checkpoint
    said: list[str] = []
    run(films, out, say=said.append)
    assert (first.folder / "model.safetensors").stat().st_mtime_ns == stamp
    assert "fold 2 of 2" in said
    assert "fold 1 of 2" not in said


def test_other_options_or_masks_are_refused(films: pw.Dataset, tmp_path: Path) -> None:
    next(out_of_fold(films, labelled(films), tmp_path / "out", count=2, options=TINY, say=lambda _: None))
    with pytest.raises(OutputError, match="another options"):
        run(films, tmp_path / "out", seed=1)
    mask = films.train.pairs[0].mask
    PIL.Image.fromarray(np.zeros((32, 32), np.uint8)).save(mask)
    with pytest.raises(OutputError, match="another dataset"):
        run(films, tmp_path / "out")


def test_more_folds_than_groups_are_refused(films: pw.Dataset, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="4 folds of 3 groups"):
        run(films, tmp_path / "out", count=4)


def test_one_split_alone(films: pw.Dataset) -> None:
    assert set(labelled(films, "train").names) == set(films.train.names)
    with pytest.raises(OptionError, match="'dev'"):
        labelled(films, "dev")
    with pytest.raises(LayoutError, match="class per image"):
        labelled(replace(films, task="classify"))


@given(st.lists(st.integers(1, 6), min_size=2, max_size=12), st.integers(2, 5))
def test_folds_are_a_partition_that_keeps_groups_together(sizes: list[int], count: int) -> None:
    groups = {f"g{g}_{i}": f"g{g}" for g, size in enumerate(sizes) for i in range(size)}
    if count > len(sizes):
        with pytest.raises(OptionError):
            cut(groups, count)
        return
    folds = cut(groups, count)
    assert sorted(name for fold in folds for name in fold) == sorted(groups)
    homes = [{groups[name] for name in fold} for fold in folds]
    assert sum(len(home) for home in homes) == len(sizes)
    lengths = [len(fold) for fold in folds]
    assert min(lengths) > 0
    assert max(lengths) - min(lengths) <= max(sizes)


@given(st.integers(2, 60), st.integers(1, 10))
def test_blocks_are_stretches_of_names(images: int, count: int) -> None:
    count = min(count, images)
    found = blocks([f"t{i}" for i in range(images)], count)
    numbers = [int(found[f"t{i}"].removeprefix("block ")) for i in range(images)]
    assert numbers == sorted(numbers)
    assert set(numbers) == set(range(1, count + 1))
    lengths = np.bincount(numbers)[1:]
    assert lengths.max() - lengths.min() <= 1

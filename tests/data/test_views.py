"""Images without labels, and images of one class, as samples."""

import numpy as np
import PIL.Image
import pytest

import pixelwise as pw
from pixelwise.data.views import Unlabelled, WholeImages, open_images
from pixelwise.errors import LayoutError


def write(path, value=7, size=(5, 4)):
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.new("L", size, value).save(path)


def test_all_images_below_a_folder_are_found_and_masks_left_out(tmp_path):
    for name in ("a/1.png", "a/2.png", "b/c/3.png", "masks/1.png"):
        write(tmp_path / name)
    data = open_images(tmp_path, seed=1)
    names = sorted(name for split in data.splits for name in split.names)
    assert names == ["a/1", "a/2", "b/c/3"]
    assert data.split_names() == open_images(tmp_path, seed=1).split_names()
    assert open_images(tmp_path, split=data.split_names()).split_names() == data.split_names()


def test_split_folders_are_kept(tmp_path):
    for name in ("train/1.png", "train/2.png", "val/3.png", "test/4.png"):
        write(tmp_path / name)
    data = open_images(tmp_path)
    assert [len(split) for split in data.splits] == [2, 1, 1]


def test_samples_without_labels_hold_zeros(tmp_path):
    write(tmp_path / "1.png", 200)
    write(tmp_path / "2.png", 100)
    sample = Unlabelled(open_images(tmp_path).train)[0]
    assert sample.image.shape == (4, 5, 1)
    assert sample.labels.shape == (4, 5)
    assert not sample.labels.any()


def test_samples_of_whole_images_hold_their_class(tmp_path):
    for split in ("train", "val"):
        for value, name in enumerate(("cat", "dog")):
            write(tmp_path / split / name / "1.png", value)
    split = pw.open_dataset(tmp_path).train
    samples = WholeImages(split)
    assert len(samples) == 2
    for index in range(2):
        sample = samples[index]
        assert np.unique(sample.labels).tolist() == [sample.image[0, 0, 0]] == [split.targets[index]]


def test_a_folder_without_images_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(LayoutError):
        open_images(tmp_path)

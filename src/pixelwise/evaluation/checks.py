"""What a split must be like before a model is judged on it, and what makes scores on it too good."""

from __future__ import annotations

from collections.abc import Sequence

from pixelwise.data.dataset import Split
from pixelwise.errors import ClassesError, DataError, LayoutError, OptionError
from pixelwise.models.bundle import facts_of, weights_digest
from pixelwise.models.network import Network
from pixelwise.types import ClassSpec


def check_split(model: Network, split: Split) -> None:
    """Refuse an empty split, and one whose truth is of another kind than the answers of the model.

    Raises:
        LayoutError: classes per image where the model needs them per pixel, or the other way round.
        ClassesError: other classes than the model's.
        DataError: no image.
    """
    if model.task != "reconstruct":  # which needs no truth and has no use for classes
        _check_task(model, split)
        check_classes(model.classes, split.classes)
    if len(split) == 0:
        raise DataError(
            f"the {split.name} split holds no image", remedy="choose another one: --split train, val or test"
        )


def check_classes(model: Sequence[ClassSpec], data: Sequence[ClassSpec]) -> None:
    """Refuse a dataset whose classes are not those of the model, in this order.

    Names that were only counted (`class_0` ...) fit any.

    Raises:
        ClassesError: another number, or other names.
    """
    known, found = [spec.name for spec in model], [spec.name for spec in data]
    named = known != _counted(len(known)) and found != _counted(len(found))
    if len(known) != len(found) or (named and known != found):
        raise ClassesError(
            f"the model knows {len(known)} classes ({', '.join(known)}),"
            f" the dataset has {len(found)} ({', '.join(found)})",
            remedy=f"list the classes of the model in this order in classes.yaml, or pass it with --classes: "
            f"[{', '.join(known)}]",
        )


def seen_in_training(model: Network, split: Split, name: str = "the model") -> tuple[str, ...]:
    """A sentence if the model, called `name`, was trained on images of the split; they are told by their names."""
    seen = set(facts_of(model).split.get("train", ())).intersection(split.names)
    if not seen:
        return ()
    return (
        f"{name} was trained on {len(seen)} of these {len(split)} images, going by their names, "
        "so results on them are too good",
    )


def fitted_on_these(model: Network, split: Split) -> tuple[str, ...]:
    """A sentence if the temperatures of the model were fitted on the split, as far as names tell."""
    fitted = facts_of(model).calibration
    if fitted is None:
        return ()
    name = fitted.split.partition(",")[0]  # of "val, perturbed"
    if name != split.name and not set(facts_of(model).split.get(name, ())).intersection(split.names):
        return ()
    return (
        f"its temperatures were fitted on {fitted.images} images of a {name} split; where those are among these, "
        "the calibration error is too good",
    )


def check_different(networks: Sequence[Network], names: Sequence[str]) -> None:
    """Refuse the same weights twice among the runs of one recipe.

    Raises:
        OptionError: two of them are one model.
    """
    known: dict[str, str] = {}
    for network, name in zip(networks, names, strict=True):
        digest = weights_digest(network)
        if digest in known:
            raise OptionError(
                f"{known[digest]} and {name} are the same model",
                remedy="give each run once; a copy tells nothing new",
            )
        known[digest] = name


def _check_task(model: Network, split: Split) -> None:
    if model.task == "classify" and split.task != "classify":
        raise LayoutError(
            "holds a class per pixel, the model answers one class per image",
            file=split.root,
            remedy="give a folder of images per class, or a model trained with --task segment or localize",
        )
    if model.task != "classify" and split.task == "classify":
        needs = (
            "a class per pixel" if model.task == "segment" else "masks, from which the true boxes are made"
        )
        raise LayoutError(
            f"holds a class per image, a model that can {model.task} is judged by {needs}",
            file=split.root,
            remedy="give a folder with images/ and masks/, or a model trained with --task classify",
        )


def _counted(count: int) -> list[str]:
    return [f"class_{index}" for index in range(count)]

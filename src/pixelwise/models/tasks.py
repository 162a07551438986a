"""The tasks that an encoder serves, each with its options and its builder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pixelwise.errors import OptionError
from pixelwise.models.autoencoder import Autoencoder, AutoencoderOptions
from pixelwise.models.classifier import Classifier, ClassifierOptions
from pixelwise.models.interfaces import EncoderOptions, NetworkOptions
from pixelwise.models.localizer import Localizer, LocalizerOptions
from pixelwise.models.network import Network, TaskName
from pixelwise.models.zoo import build, class_specs, default_normalization, lookup, make_encoder
from pixelwise.types import ClassSpec, Normalization

Classes = int | Sequence[str] | Sequence[ClassSpec]
TaskOptions = NetworkOptions | ClassifierOptions | AutoencoderOptions | LocalizerOptions


@dataclass(frozen=True)
class TaskEntry:
    """The options type of a task, and what builds its network."""

    options: type[Any]
    builder: Callable[..., Network]


def build_classifier(
    *,
    encoder: str = "resnet18",
    classes: Classes = 2,
    bands: int = 3,
    normalization: Normalization | None = None,
    options: ClassifierOptions | None = None,
) -> Classifier:
    """Build a network that answers one class per image.

    Raises:
        OptionError: an unknown encoder, or options that do not fit it.

    >>> net = build_classifier(encoder="resnet18", classes=250)
    >>> sum(p.numel() for p in net.parameters())
    11304762
    """
    options = options or ClassifierOptions()
    wishes = EncoderOptions(
        width=options.encoder_width, padding="paper" if options.head == "paper" else "aligned"
    )
    built = make_encoder(encoder, bands, wishes)
    return Classifier(
        built,
        encoder_name=encoder,
        classes=class_specs(classes),
        normalization=default_normalization(bands, normalization),
        options=options,
    )


def build_autoencoder(
    *,
    encoder: str = "resnet18",
    classes: Classes = 2,
    bands: int = 3,
    normalization: Normalization | None = None,
    options: AutoencoderOptions | None = None,
) -> Autoencoder:
    """Build a network that reconstructs its input; the classes are only carried along.

    Raises:
        OptionError: an unknown encoder, or options that do not fit it.
    """
    options = options or AutoencoderOptions()
    return Autoencoder(
        make_encoder(encoder, bands, EncoderOptions(width=options.encoder_width)),
        encoder_name=encoder,
        classes=class_specs(classes),
        normalization=default_normalization(bands, normalization),
        options=options,
    )


def build_localizer(
    *,
    encoder: str = "resnet18",
    classes: Classes = 2,
    bands: int = 3,
    normalization: Normalization | None = None,
    options: LocalizerOptions | None = None,
) -> Localizer:
    """Build a network that answers one class and one box per image.

    Raises:
        OptionError: an unknown encoder, or options that do not fit it.
    """
    options = options or LocalizerOptions()
    return Localizer(
        make_encoder(encoder, bands, EncoderOptions(width=options.encoder_width)),
        encoder_name=encoder,
        classes=class_specs(classes),
        normalization=default_normalization(bands, normalization),
        options=options,
    )


TASKS: dict[str, TaskEntry] = {  # by TaskName
    "segment": TaskEntry(NetworkOptions, build),
    "classify": TaskEntry(ClassifierOptions, build_classifier),
    "reconstruct": TaskEntry(AutoencoderOptions, build_autoencoder),
    "localize": TaskEntry(LocalizerOptions, build_localizer),
}


def build_task(
    task: TaskName,
    *,
    name: str,
    encoder: str,
    classes: Classes,
    bands: int,
    normalization: Normalization | None,
    options: TaskOptions,
) -> Network:
    """Build the network of any task; `name` is the decoder of a segmenter and unused otherwise.

    Raises:
        OptionError: an unknown task or name, options of another task, or a pair that cannot be joined.
    """
    entry = lookup(TASKS, "task", task)
    if not isinstance(options, entry.options):
        raise OptionError(
            f"options of type {type(options).__name__} for the task {task}",
            remedy=f"give {entry.options.__name__}",
        )
    common = {"encoder": encoder, "classes": classes, "bands": bands, "normalization": normalization}
    return entry.builder(**({"name": name} if task == "segment" else {}), **common, options=options)

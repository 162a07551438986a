"""Every option of a training run, with its default and its range."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pixelwise.data.transforms import AugmentOptions
from pixelwise.errors import OptionError
from pixelwise.losses import LossOptions
from pixelwise.models.autoencoder import AutoencoderOptions
from pixelwise.models.classifier import ClassifierOptions
from pixelwise.models.interfaces import NetworkOptions
from pixelwise.models.localizer import LocalizerOptions
from pixelwise.models.network import TaskName
from pixelwise.models.zoo import AUTO, check_names, encoder_for
from pixelwise.training.clock import ClockName
from pixelwise.training.transfer import TransferOptions


@dataclass(frozen=True)
class OptimOptions:
    """The optimizer and its schedule.

    Attributes:
        method: `adamw`, or `muon` for the weights of convolutions and AdamW for what is left.
        lr: Peak learning rate.
        weight_decay: Decoupled decay of convolution weights; biases and normalisation are not decayed.
        schedule: `onecycle` rises for `warmup` of the run and falls to zero as a cosine; `cosine` only falls.
        warmup: Share of the run, 0..1, that `onecycle` takes to rise.
        ema: Share of the run over which weights are averaged (exponential moving average); 0 turns it off.
    """

    method: Literal["adamw", "muon"] = "adamw"
    lr: float = 2e-3
    weight_decay: float = 0.01
    schedule: Literal["onecycle", "cosine"] = "onecycle"
    warmup: float = 0.1
    ema: float = 0.02

    def __post_init__(self) -> None:
        _within("optim.lr", self.lr, 1e-8, 10)
        _within("optim.weight_decay", self.weight_decay, 0, 10)
        _within("optim.warmup", self.warmup, 0, 0.9)
        _within("optim.ema", self.ema, 0, 0.5)


@dataclass(frozen=True)
class TrainOptions:
    """A whole run. Give `minutes` or `epochs`, not both; neither means 20 minutes.

    Attributes:
        task: `segment` a class per pixel, `classify` one per image, `reconstruct` the image itself, `localize` one
            class and one box.
        model: Decoder of a segmenter, see `pixelwise models`.
        encoder: Encoder, see `pixelwise models`; `auto` is resnet18, or another one that the model needs.
        minutes: Wall-clock budget, everything included; kept within 5 %.
        epochs: Passes over the training images.
        size: Rows and columns of the training crops; None takes the median image, at most 512 x 512.
        batch: Images per step.
        accumulate: Gradient accumulation: a step takes its batch in so many parts, one after the other, in as much
            less memory; batch normalisation sees a part.
        seed: Of everything random.
        device: `auto`, `cpu`, `cuda` or `cuda:1`.
        precision: `auto` times a few steps in float32 and bfloat16 and takes the quicker.
        coarse: Share of the run, 0..1, spent at half resolution first, where a step costs a quarter.
        cache: Where decoded images are kept; `auto` takes RAM up to 4 GiB and then a memory-mapped file.
        clock: What `minutes` counts: `wall`, or `processor` time of all threads, which a busy machine does not change.
        validations: How often the validation score is taken, the last time included.
        checkpoint_seconds: A checkpoint is written this often, and at the end.
        tensorboard: Write TensorBoard events too.
    """

    task: TaskName = "segment"
    model: str = "unet"
    encoder: str = AUTO
    minutes: float | None = None
    epochs: float | None = None
    size: tuple[int, int] | None = None
    batch: int = 8
    accumulate: int = 1
    seed: int = 0
    device: str = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    coarse: float = 0.0
    cache: Literal["auto", "ram", "disk"] = "auto"
    clock: ClockName = "wall"
    validations: int = 10
    checkpoint_seconds: float = 60.0
    tensorboard: bool = False
    network: NetworkOptions = field(default_factory=NetworkOptions)
    classifier: ClassifierOptions = field(default_factory=ClassifierOptions)
    autoencoder: AutoencoderOptions = field(default_factory=AutoencoderOptions)
    localizer: LocalizerOptions = field(default_factory=LocalizerOptions)
    transfer: TransferOptions = field(default_factory=TransferOptions)
    optim: OptimOptions = field(default_factory=OptimOptions)
    loss: LossOptions = field(default_factory=LossOptions)
    augment: AugmentOptions = field(default_factory=AugmentOptions)

    def __post_init__(self) -> None:
        if self.minutes is not None and self.epochs is not None:
            raise OptionError("both minutes and epochs are given", remedy="give one of them")
        if self.minutes is not None:
            _within("minutes", self.minutes, 0.05, 60 * 24 * 30)
        if self.epochs is not None:
            _within("epochs", self.epochs, 1e-6, 1e6)
        if self.size is not None:
            _within("size", min(self.size), 1, 16384)
            _within("size", max(self.size), 1, 16384)
        check_names(self.model, self.encoder)  # before the data are read, which may take long
        _within("batch", self.batch, 1, 4096)
        _within("accumulate", self.accumulate, 1, self.batch)
        _within("seed", self.seed, 0, 2**31 - 1)
        _within("coarse", self.coarse, 0, 0.95)
        _within("validations", self.validations, 1, 10000)
        _within("checkpoint_seconds", self.checkpoint_seconds, 0, 86400)

    @property
    def chosen_encoder(self) -> str:
        """The encoder by its name; the decoder has a say where there is one."""
        return encoder_for(self.model if self.task == "segment" else "unet", self.encoder)


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:  # nor is one that is not a number
        raise OptionError(f"{name} is {value}", remedy=f"give a number from {low} to {high}")

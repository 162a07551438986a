"""What each task asks of the loop: which data, which network, which loss, which score.

The loop is one and the same; a task only says what goes in and how good what came out is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from pixelwise.data.dataset import Dataset, Split
from pixelwise.data.loader import Samples
from pixelwise.data.views import Unlabelled, WholeImages
from pixelwise.errors import LayoutError
from pixelwise.evaluation import evaluate
from pixelwise.evaluation.classification import evaluate_classifier
from pixelwise.evaluation.localization import evaluate_localizer
from pixelwise.evaluation.reconstruction import evaluate_autoencoder
from pixelwise.losses import LossOptions, segmentation_loss
from pixelwise.models.autoencoder import Autoencoder
from pixelwise.models.classifier import Classifier
from pixelwise.models.localizer import Localizer
from pixelwise.models.network import Network, TaskName
from pixelwise.models.segmenter import Segmenter
from pixelwise.models.tasks import TaskOptions, build_task
from pixelwise.ops.head import takes_full
from pixelwise.ops.objects import main_object
from pixelwise.training.options import TrainOptions
from pixelwise.types import IGNORE, Normalization

AUXILIARY_WEIGHT = 0.3  # of each further classifier of GoogLeNet, as its paper has it
Predictions = tuple[list[Tensor], tuple[int, int]]  # logits, and the height and width that they span

BOX_WEIGHT = 5.0  # the box loss is about a fifth of the cross-entropy at the start


class Judged(Protocol):
    """The scores of any task."""

    @property
    def headline(self) -> tuple[str, float]:
        """Name and value of the score that training maximises."""
        ...

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        ...


class Task(Protocol):
    """One task, as the loop sees it.

    Attributes:
        name: As `--task` has it.
        measure: What `evaluate` puts first.
        recordable: Forward and loss ask for the value of no tensor, so that they can be recorded (`recorded`).
    """

    name: TaskName
    measure: str
    recordable: bool

    def check(self, data: Dataset) -> None:
        """Refuse data that the task cannot learn from."""
        ...

    def samples(self, split: Split) -> Samples:
        """The split as images with labels."""
        ...

    def options(self, options: TrainOptions) -> TaskOptions:
        """The part of the options that builds the network."""
        ...

    def forward(self, network: Any, images: Tensor) -> Any:
        """What the loss judges, for normalised images [N, C, H, W]."""
        ...

    def loss(
        self, outputs: Any, images: Tensor, labels: Tensor, options: LossOptions, weights: Tensor | None
    ) -> Tensor:
        """One number, in float32."""
        ...

    def evaluate(self, network: Any, split: Split) -> Judged:
        """The scores that users get from `evaluate`."""
        ...


class Segment:
    """A class per pixel."""

    name: TaskName = "segment"
    measure = "mean_iou"
    recordable = True

    def check(self, data: Dataset) -> None:
        """Needs masks."""
        _need(
            data, "segment", "holds a class per image, this task needs a class per pixel", "--task classify"
        )

    def samples(self, split: Split) -> Samples:
        """Images with their masks."""
        return split

    def options(self, options: TrainOptions) -> TaskOptions:
        """Those of the decoder."""
        return options.network

    def forward(self, network: Segmenter, images: Tensor) -> Predictions:
        """All logits that training judges, at the decoder's stride."""
        return network.every_low(images), network.frame.spanned(images)

    def loss(
        self,
        outputs: Predictions,
        images: Tensor,
        labels: Tensor,
        options: LossOptions,
        weights: Tensor | None,
    ) -> Tensor:
        """The mean of the losses of all predictions."""
        logits, span = outputs
        losses = [_pixel_loss(one, labels, options, weights=weights, span=span) for one in logits]
        return losses[0] if len(losses) == 1 else torch.stack(losses).mean()

    def evaluate(self, network: Segmenter, split: Split) -> Judged:
        """Mean IoU and what belongs to it."""
        return evaluate(network, split)


class Classify:
    """A class per image."""

    name: TaskName = "classify"
    measure = "accuracy"
    recordable = True

    def check(self, data: Dataset) -> None:
        """Needs a folder per class."""
        _need(
            data, "classify", "holds a class per pixel, this task needs a class per image", "--task segment"
        )

    def samples(self, split: Split) -> Samples:
        """Images whose pixels all have the image's class."""
        return WholeImages(split)

    def options(self, options: TrainOptions) -> TaskOptions:
        """Those of the classifier."""
        return options.classifier

    def forward(self, network: Classifier, images: Tensor) -> list[Tensor]:
        """Logits [N, K], and those of auxiliary classifiers."""
        return network.every(images)

    def loss(
        self,
        outputs: list[Tensor],
        images: Tensor,
        labels: Tensor,
        options: LossOptions,
        weights: Tensor | None,
    ) -> Tensor:
        """Cross-entropy; that of auxiliary classifiers counts less."""
        inside = labels.masked_fill(labels == IGNORE, 0)  # views never show the outside alone
        targets = inside.flatten(1).amax(dim=1).long()
        losses = [
            F.cross_entropy(logits.float(), targets, weight=weights, label_smoothing=options.smoothing)
            for logits in outputs
        ]
        return losses[0] + AUXILIARY_WEIGHT * sum(losses[1:], torch.zeros_like(losses[0]))

    def evaluate(self, network: Classifier, split: Split) -> Judged:
        """Accuracy and what belongs to it."""
        return evaluate_classifier(network, split)


class Reconstruct:
    """The image itself, through a code."""

    name: TaskName = "reconstruct"
    measure = "explained_variance"
    recordable = True

    def check(self, data: Dataset) -> None:
        """Any images will do."""

    def samples(self, split: Split) -> Samples:
        """Images without labels."""
        return Unlabelled(split)

    def options(self, options: TrainOptions) -> TaskOptions:
        """Those of the autoencoder."""
        return options.autoencoder

    def forward(self, network: Autoencoder, images: Tensor) -> Tensor:
        """The reconstruction of the images, of noisy ones if the options ask for it."""
        noise = network.options.noise
        restored: Tensor = network(images + noise * torch.randn_like(images) if noise else images)
        return restored

    def loss(
        self, outputs: Tensor, images: Tensor, labels: Tensor, options: LossOptions, weights: Tensor | None
    ) -> Tensor:
        """Mean squared error inside the images, against the clean ones."""
        inside = (labels != IGNORE).unsqueeze(1).float()
        errors = (outputs.float() - images.float()).square() * inside
        return errors.sum() / (inside.sum() * images.shape[1]).clamp_min(1)

    def evaluate(self, network: Autoencoder, split: Split) -> Judged:
        """The error of the reconstruction."""
        return evaluate_autoencoder(network, split)


class Localize:
    """One class and one box per image: those of its largest object."""

    name: TaskName = "localize"
    measure = "mean_box_iou"
    recordable = False

    def check(self, data: Dataset) -> None:
        """Needs masks, from which the boxes are made."""
        _need(data, "segment", "holds a class per image, boxes are made from masks", "--task classify")

    def samples(self, split: Split) -> Samples:
        """Images with their masks."""
        return split

    def options(self, options: TrainOptions) -> TaskOptions:
        """Those of the localizer."""
        return options.localizer

    def forward(self, network: Localizer, images: Tensor) -> tuple[Tensor, Tensor, int | None]:
        """Logits [N, K], boxes [N, 4], and which class is no object."""
        return (*network(images), network.options.background)

    def loss(
        self,
        outputs: tuple[Tensor, Tensor, int | None],
        images: Tensor,
        labels: Tensor,
        options: LossOptions,
        weights: Tensor | None,
    ) -> Tensor:
        """Cross-entropy, and a smooth absolute error of the box where there is an object."""
        logits, boxes, background = outputs
        found = [main_object(one, background) for one in labels.cpu().numpy()]
        classes = torch.tensor([background or 0 if one is None else one[0] for one in found])
        loss = F.cross_entropy(
            logits.float(), classes.to(logits.device), weight=weights, label_smoothing=options.smoothing
        )
        places = [index for index, one in enumerate(found) if one is not None]
        if places:
            truth = torch.tensor([one[1] for one in found if one is not None], device=boxes.device)
            loss = loss + BOX_WEIGHT * F.smooth_l1_loss(boxes[places].float(), truth.float(), beta=0.1)
        return loss

    def evaluate(self, network: Localizer, split: Split) -> Judged:
        """Class and box together."""
        return evaluate_localizer(network, split)


TASKS: dict[TaskName, Callable[[], Task]] = {
    "segment": Segment,
    "classify": Classify,
    "reconstruct": Reconstruct,
    "localize": Localize,
}


def _pixel_loss(
    logits: Tensor, labels: Tensor, options: LossOptions, *, weights: Tensor | None, span: tuple[int, int]
) -> Tensor:
    """From logits that span `span` pixels from the first one of the labels on; enlarged inside the loss, if at all."""
    if logits.shape[-2:] != span or takes_full(logits):
        return segmentation_loss(logits, labels, options, weights=weights, span=span)
    cropped = logits[..., : labels.shape[-2], : labels.shape[-1]]
    return segmentation_loss(cropped, labels, options, weights=weights)


def _need(data: Dataset, kind: str, found: str, other: str) -> None:
    if data.task != kind:
        raise LayoutError(
            found,
            file=data.root,
            remedy=f"train with {other}, or give "
            + ("a folder with images/ and masks/" if kind == "segment" else "a folder of images per class"),
        )


def build_for(task: Task, data: Dataset, options: TrainOptions, normalization: Normalization) -> Network:
    """The network of a run with random weights."""
    return build_task(
        task.name,
        name=options.model,
        encoder=options.encoder,
        classes=data.classes,
        bands=data.bands,
        normalization=normalization,
        options=task.options(options),
    )

"""What an encoder still knows of its first task after it has learnt a second one.

The encoder of the second network is put under the head of the first, and judged on the first data. Forgetting is the
score that this costs (catastrophic interference: McCloskey, Cohen 1989, https://doi.org/10.1016/S0079-7421(08)60536-8).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from pixelwise.data.dataset import Split
from pixelwise.errors import OptionError
from pixelwise.evaluation import evaluate
from pixelwise.evaluation.terminal import AnyScores
from pixelwise.models.bundle import load_network
from pixelwise.models.encoderfiles import EncoderWeights
from pixelwise.models.encoders.stem import adapt_stem
from pixelwise.models.network import Network
from pixelwise.models.tasks import build_task
from pixelwise.models.weights import put_encoder_weights


@dataclass(frozen=True)
class Forgetting:
    """Scores on the first data, with the encoder as it was and as it has become.

    Attributes:
        measure: Which score `lost` is about: that which training maximises.
        before: With the first encoder.
        after: With the second encoder under the head of the first network.
    """

    measure: str
    before: AnyScores
    after: AnyScores

    @property
    def lost(self) -> float:
        """The score before less the score after; negative where the second task has helped the first."""
        return self.before.headline[1] - self.after.headline[1]

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "measure": self.measure,
            "before": self.before.headline[1],
            "after": self.after.headline[1],
            "lost": self.lost,
            "scores_before": self.before.as_dict(),
            "scores_after": self.after.as_dict(),
        }


def forgetting(
    before: str | Path | Network,
    after: str | Path | Network,
    split: Split,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Forgetting:
    """Judge the encoder of `after` under the head of `before`, on images of the data that `before` was trained on.

    Args:
        before: The first network: a bundle, a run or a network, of any task.
        after: One whose encoder began with the weights of `before`; its own task and classes do not matter.
        split: Images with truth of the first task that neither was trained on.
        progress: Called with the images done and their number, for both passes together.

    Raises:
        BundleError: a file cannot be read, or the encoders differ.
        OptionError: `before` reconstructs, and the networks normalise differently.
        DataError: the split does not suit the first network.
    """
    first = before if isinstance(before, Network) else load_network(before)
    second = after if isinstance(after, Network) else load_network(after)
    mixed = transplanted(first, second)
    total = 2 * len(split)

    def counted(offset: int) -> Callable[[int, int], None] | None:
        return None if progress is None else lambda done, _: progress(offset + done, total)

    scores_before = evaluate(first, split, progress=counted(0))
    scores_after = evaluate(mixed, split, progress=counted(len(split)))
    return Forgetting(scores_before.headline[0], scores_before, scores_after)


def transplanted(head: Network, encoder: Network) -> Network:
    """A copy of `head` whose encoder is that of `encoder`, and which normalises images as that one expects.

    Where the two take other numbers of bands, each normalises by the statistics of its own images, and so does the
    copy by those of `head`; of the first layer it takes what the second task has changed in it (`_stem`).

    Raises:
        BundleError: the encoders are of other kinds or widths.
        OptionError: `head` reconstructs, and the networks normalise differently.
    """
    same_bands = head.bands == encoder.bands
    normalization = encoder.normalization if same_bands else head.normalization
    if head.task == "reconstruct" and head.normalization != normalization:
        raise OptionError(
            "the networks normalise images differently, and the first one answers in its own units",
            remedy="train the second one with the normalisation of the first: leave transfer.normalization at weights",
        )
    mixed = build_task(
        head.task,
        name=head.name,
        encoder=head.encoder_name,
        classes=head.classes,
        bands=head.bands,
        normalization=normalization,
        options=head.options,
    )
    mixed.load_state_dict(head.state_dict())
    tensors = encoder.encoder.state_dict()
    if not same_bands:
        tensors |= _stem(head, encoder)
    put_encoder_weights(mixed, EncoderWeights("the second network", encoder.encoder_name, tensors))
    mixed.facts = head.facts
    return mixed.to(next(head.parameters()).device).eval()


def _stem(head: Network, encoder: Network) -> dict[str, Tensor]:
    """The first layer of `head` with what the second task has added to it, brought to the bands of `head`.

    What the second task began with is the first layer adapted to its bands; so a layer that was frozen comes back
    exactly, and a grey image gets the answer of the second encoder.
    """
    name = f"{head.encoder.stem}.weight"
    before, after = (network.encoder.state_dict().get(name) for network in (head, encoder))
    if before is None or after is None or before[:, 0].shape != after[:, 0].shape:
        return {}  # other encoders, which are refused together with the rest of their layers
    change = after.to(before.device) - adapt_stem(before, encoder.bands)
    return {name: before + adapt_stem(change, head.bands)}

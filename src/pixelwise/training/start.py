"""Where a run begins: with which weights in its encoder, and how its images are normalised."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pixelwise.data.dataset import Dataset
from pixelwise.data.stats import normalization
from pixelwise.models.encoderfiles import EncoderWeights, read_encoder_weights
from pixelwise.models.network import Network
from pixelwise.models.weights import put_encoder_weights
from pixelwise.training.transfer import Transfer, TransferOptions
from pixelwise.types import Normalization

Say = Callable[[str], None]
KEY = "transfer"  # of config.yaml


@dataclass
class Start:
    """The weights of a new run, and its normalisation; a resumed run has its weights in the checkpoint."""

    options: TransferOptions
    normalization: Normalization
    weights: EncoderWeights | None = None
    loaded: dict[str, Any] | None = None

    def begin(self, network: Network, say: Say) -> Transfer | None:
        """Put the weights into the encoder; what trains when, or None for a run from scratch.

        Raises:
            BundleError: they are another encoder's.
            OptionError: the strategy does not fit the encoder.
        """
        if self.options.encoder_weights is None:
            return None
        if self.weights is not None:
            done = put_encoder_weights(network, self.weights)
            self.loaded = done.as_dict()
            for line in done.lines():
                say(line)
        transfer = Transfer(network, self.options)
        if self.weights is not None:
            for line in transfer.lines():
                say(line)
        transfer.apply(0.0)
        return transfer

    def as_dict(self) -> dict[str, Any]:
        """For config.yaml, from which `resumed_start` reads it again; empty for a run from scratch."""
        if self.loaded is None:
            return {}
        used = {"mean": list(self.normalization.mean), "std": list(self.normalization.std)}
        return {KEY: self.loaded | {"normalization": used}}


def new_start(data: Dataset, options: TransferOptions, say: Say) -> Start:
    """Read the weights that the options ask for and settle the normalisation.

    Raises:
        BundleError: the weights cannot be read.
        DownloadError: `hub:` without a network.
        OptionError: an unknown name after `hub:`.
    """
    if options.encoder_weights is None:
        return Start(options, normalization(data.train))
    weights = read_encoder_weights(options.encoder_weights, say=say)
    if options.normalization == "data":
        return Start(options, normalization(data.train), weights)
    brought, reason = weights.normalization_for(data.bands, data.dtype)
    say(reason)
    return Start(options, brought or normalization(data.train), weights)


def resumed_start(data: Dataset, options: TransferOptions, config: Mapping[str, Any]) -> Start:
    """The start of a run to resume; the weights it began with need not be there any more."""
    stored = config.get(KEY)
    if stored is None:
        return Start(options, normalization(data.train))
    used = stored["normalization"]
    return Start(options, Normalization(tuple(used["mean"]), tuple(used["std"])))

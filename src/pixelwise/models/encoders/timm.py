"""Any convolutional network of timm, as `timm:NAME`. Wightman: PyTorch Image Models, 2019.

https://doi.org/10.5281/zenodo.4414861

Departures: none, the layers are timm's; their papers are named in its documentation. Needs the extra `timm`, which
is imported when the first such network is built. Weights are random: nothing is fetched.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pixelwise.errors import MissingExtraError, OptionError
from pixelwise.models.encoders.rules import refuse_valid
from pixelwise.models.interfaces import Encoder, EncoderOptions, Level

PREFIX = "timm:"


class TimmEncoder(Encoder):
    """The feature maps that timm announces for the network `name`."""

    def __init__(self, name: str, bands: int, options: EncoderOptions) -> None:
        super().__init__()
        self.network = _network(name, bands, options)
        info = self.network.feature_info
        self.levels = tuple(Level(*pair) for pair in zip(info.channels(), info.reduction(), strict=True))
        names = (path for path, module in self.named_modules() if isinstance(module, nn.Conv2d))
        self.stem = next(names, "")  # each network has its own
        _refuse_other_shapes(name, self, bands)

    def forward(self, images: Tensor) -> list[Tensor]:
        """[N, bands, H, W] to one map per level."""
        return list(self.network(images))


def timm_encoder(name: str, bands: int, options: EncoderOptions) -> TimmEncoder:
    """The encoder called `timm:` + `name`.

    Raises:
        MissingExtraError: timm is not installed.
        OptionError: it knows no such network, or the network cannot do what the options ask for.
    """
    return TimmEncoder(name, bands, options)


def _network(name: str, bands: int, options: EncoderOptions) -> Any:
    timm = _timm()
    refuse_valid(PREFIX + name, options)
    if options.width != 1:
        raise OptionError(
            f"encoder_width is {options.width}, and networks of timm have one width only",
            remedy="leave it out, or choose a smaller network",
        )
    if not timm.is_model(name):  # also keeps out names that timm would fetch from elsewhere
        close = timm.list_models(f"*{name.split('.')[0][:6]}*")[:5]
        hint = f"such as {', '.join(close)}" if close else "its documentation lists them"
        raise OptionError(f"timm knows no network called {name!r}", remedy=f"give a name of timm's, {hint}")
    wishes = {} if options.output_stride is None else {"output_stride": options.output_stride}
    try:
        return timm.create_model(name, pretrained=False, features_only=True, in_chans=bands, **wishes)
    except (RuntimeError, ValueError, TypeError, AssertionError, NotImplementedError) as error:
        raise OptionError(
            f"timm cannot build {name} as an encoder: {error}",
            remedy="leave out output_stride, or choose another network",
        ) from error


def _timm() -> Any:
    try:
        import timm
    except (ImportError, RuntimeError) as error:
        # RuntimeError: its torchvision fails so where it was built for another torch
        raise MissingExtraError(
            f"encoders of timm need timm, which cannot be imported: {error}",
            remedy="pip install 'pixelwise[timm]'",
        ) from error
    return timm


def _refuse_other_shapes(name: str, encoder: TimmEncoder, bands: int) -> None:
    """Run one image, since not every network keeps to H / stride, or to channels before rows."""
    edge = 2 * encoder.multiple
    wanted = [(1, level.channels, edge // level.stride, edge // level.stride) for level in encoder.levels]
    try:
        with torch.no_grad():
            found = [tuple(x.shape) for x in encoder.eval()(torch.zeros(1, bands, edge, edge))]
    except (RuntimeError, AssertionError) as error:
        raise OptionError(
            f"{PREFIX}{name} does not take images of any size: {error}", remedy="choose another network"
        ) from error
    encoder.train()
    if found != wanted:
        raise OptionError(
            f"the maps of {PREFIX}{name} are {found} where {wanted} was announced",
            remedy="choose a network with padding, whose maps are exactly H / stride",
        )

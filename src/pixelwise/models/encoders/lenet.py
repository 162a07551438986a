"""LeNet. LeCun, Bottou, Bengio, Haffner: Gradient-Based Learning Applied to Document Recognition, 1998.

https://doi.org/10.1109/5.726791

Departures, as courses draw it now: images of 28 x 28 with same padding instead of 32 x 32 with none, max pooling
instead of averages with a weight and a bias, ReLU instead of tanh, every map of the second convolution sees all of
the first, and a dense last layer instead of radial basis functions.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from pixelwise.models.blocks import scaled
from pixelwise.models.encoders.rules import initialize, refuse_valid
from pixelwise.models.interfaces import Encoder, EncoderOptions, Level


class LeNet(Encoder):
    """Both maps before they are pooled, at strides 1 and 2, and the pooled second one at stride 4."""

    counts_places = True

    def __init__(self, bands: int, options: EncoderOptions) -> None:
        super().__init__()
        refuse_valid("lenet", options)
        self.width = options.width
        first, second = scaled(6, self.width), scaled(16, self.width)
        self.conv1 = nn.Conv2d(bands, first, 5, padding=2)
        self.relu1 = nn.ReLU(inplace=True)
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(first, second, 5, padding=2)
        self.relu2 = nn.ReLU(inplace=True)
        self.pool2 = nn.MaxPool2d(2)
        self.levels = (Level(first, 1, pooled=True), Level(second, 2, pooled=True), Level(second, 4))
        initialize(self)

    def forward(self, images: Tensor) -> list[Tensor]:
        """[N, bands, H, W] to three maps; H and W are multiples of 4."""
        c1 = self.relu1(self.conv1(images))
        c2 = self.relu2(self.conv2(self.pool1(c1)))
        return [c1, c2, self.pool2(c2)]

    def paper_head(self, classes: int, size: tuple[int, int] | None = None) -> nn.Module:
        """Dense layers of 120, 84 and `classes` outputs, for images of `size`, 28 x 28 if it is None."""
        height, width = (-(-edge // 4) for edge in size or (28, 28))
        first, second = scaled(120, self.width), scaled(84, self.width)
        layers = OrderedDict[str, nn.Module](
            flatten=nn.Flatten(),
            fc1=nn.Linear(self.levels[-1].channels * height * width, first),
            relu1=nn.ReLU(inplace=True),
            fc2=nn.Linear(first, second),
            relu2=nn.ReLU(inplace=True),
            fc3=nn.Linear(second, classes),
        )
        return nn.Sequential(layers)

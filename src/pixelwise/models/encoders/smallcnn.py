"""Small CNN. Chollet: Simple MNIST convnet, Keras code examples, 2015.

https://keras.io/examples/vision/mnist_convnet/

The network that first courses build by hand. Departures: two more dense layers, of 256 and 128 outputs. With
`paper` padding there is none, and sizes are not exactly H / stride; as an encoder of maps it pads.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from pixelwise.errors import OptionError
from pixelwise.models.blocks import scaled
from pixelwise.models.encoders.rules import initialize, refuse_valid
from pixelwise.models.interfaces import Encoder, EncoderOptions, Level


class SmallCNN(Encoder):
    """Both maps before they are pooled, at strides 1 and 2, and the pooled second one at stride 4."""

    counts_places = True

    def __init__(self, bands: int, options: EncoderOptions) -> None:
        super().__init__()
        refuse_valid("small_cnn", options)
        self.width = options.width
        self.lost = 2 if options.padding == "paper" else 0  # rows and columns that a convolution takes away
        first, second = scaled(32, self.width), scaled(64, self.width)
        padding = 1 - self.lost // 2
        self.conv1 = nn.Conv2d(bands, first, 3, padding=padding)
        self.relu1 = nn.ReLU(inplace=True)
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(first, second, 3, padding=padding)
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
        """Dropout, then dense layers of 256, 128 and `classes`, for images of `size`, 28 x 28 if it is None."""
        padded = [edge + -edge % self.multiple for edge in size or (28, 28)]
        height, width = (((edge - self.lost) // 2 - self.lost) // 2 for edge in padded)
        if min(height, width) < 1:
            raise OptionError(
                f"images of {padded[0]} x {padded[1]} are too small for small_cnn",
                remedy="give 12 x 12 or more",
            )
        first, second = scaled(256, self.width), scaled(128, self.width)
        layers = OrderedDict[str, nn.Module](
            flatten=nn.Flatten(),
            dropout=nn.Dropout(0.5),
            fc1=nn.Linear(self.levels[-1].channels * height * width, first),
            relu1=nn.ReLU(inplace=True),
            fc2=nn.Linear(first, second),
            relu2=nn.ReLU(inplace=True),
            fc3=nn.Linear(second, classes),
        )
        return nn.Sequential(layers)

"""ResNet. He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition, 2015.

https://arxiv.org/abs/1512.03385

Layers carry torchvision's names, so that its published weights load strictly. Departures: none; the
classifier (`avgpool`, `fc`) is left out, it belongs to a task and not to the encoder.
"""

from __future__ import annotations

from torch import Tensor, nn

from pixelwise.models.interfaces import Encoder, Level


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions and a shortcut, figure 5 left of the paper."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            shortcut = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, H, W] to [N, outputs, H / stride, W / stride]."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.bn2(self.conv2(x))
        x += shortcut
        total: Tensor = self.relu(x)
        return total


class ResNet(Encoder):
    """Feature maps of a residual network at strides 2, 4, 8, 16 and 32."""

    def __init__(self, depths: tuple[int, int, int, int], *, bands: int = 3) -> None:
        super().__init__()
        widths = (64, 128, 256, 512)
        self.conv1 = nn.Conv2d(bands, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = _stage(64, widths[0], depths[0], stride=1)
        self.layer2 = _stage(widths[0], widths[1], depths[1], stride=2)
        self.layer3 = _stage(widths[1], widths[2], depths[2], stride=2)
        self.layer4 = _stage(widths[2], widths[3], depths[3], stride=2)
        strides = (4, 8, 16, 32)
        self.levels = (Level(64, 2), *(Level(w, s) for w, s in zip(widths, strides, strict=True)))
        _initialize(self)

    def forward(self, images: Tensor) -> list[Tensor]:
        """[N, bands, H, W] to five maps; H and W are multiples of 32."""
        stem = self.relu(self.bn1(self.conv1(images)))
        c2 = self.layer1(self.maxpool(stem))
        c3 = self.layer2(c2)
        c4 = self.layer3(c3)
        c5 = self.layer4(c4)
        return [stem, c2, c3, c4, c5]


def resnet18(bands: int) -> ResNet:
    """The 18-layer network."""
    return ResNet((2, 2, 2, 2), bands=bands)


def resnet34(bands: int) -> ResNet:
    """The 34-layer network."""
    return ResNet((3, 4, 6, 3), bands=bands)


def _stage(inputs: int, outputs: int, depth: int, *, stride: int) -> nn.Sequential:
    first = BasicBlock(inputs, outputs, stride)
    return nn.Sequential(first, *(BasicBlock(outputs, outputs, 1) for _ in range(depth - 1)))


def _initialize(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

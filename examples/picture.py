"""The picture of the README: images of a test split, their truth, and what a model says.

python examples/picture.py demo/run demo/town docs/pictures/town.png
"""

import sys
from pathlib import Path

import pixelwise as pw
from pixelwise.files import write_bytes
from pixelwise.report.figures import Panel, montage
from pixelwise.report.pictures import display_rgb


def main(model: str, data: str, out: str, count: int = 3) -> None:
    """Draw `count` evenly spaced images of the test split."""
    net = pw.load(model)
    panels = []
    for sample in pw.open_dataset(data).test.evenly(count):
        labels = pw.predict(net, sample.image)
        panels.append(Panel(sample.name, display_rgb(sample.image), sample.labels, labels, float("nan")))
    write_bytes(Path(out), montage(panels, net.classes))


if __name__ == "__main__":
    main(*sys.argv[1:4])

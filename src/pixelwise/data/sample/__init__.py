"""The built-in dataset: a generated, georeferenced aerial town with exact labels."""

from pixelwise.data.sample.write import CLASSES, write_sample

__all__ = ["CLASSES", "write_sample"]

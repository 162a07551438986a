"""What a check says of all files of one kind together: notes and warnings."""

from __future__ import annotations

from typing import Literal

Trait = Literal[
    "rotated", "alpha", "mask alpha", "misnamed", "constant", "one class", "mask upright", "white"
]

NOTES: tuple[tuple[Trait, str], ...] = (
    ("rotated", "turned upright by their EXIF tag"),
    ("one class", "masks of one class alone"),
)
WARNINGS: tuple[tuple[Trait, str, str, str], ...] = (
    ("alpha", "image-alpha", "alpha channel not read",
     "if it hides pixels, give them an ignored value in the masks; or save the images without it"),
    ("mask alpha", "mask-alpha", "alpha channel of masks not read",
     "save the masks without it, as one band of class indices"),
    ("misnamed", "file-name", "the content is of another format than the name says",
     "read by its content all the same; rename the file for other programs"),
    ("constant", "image-constant", "images of one colour",
     "look at them: they teach nothing and may be failed exports"),
    ("mask upright", "mask-turned", "orientation tags of image and mask differ, and the masks fit either way",
     "look at some: if a mask is turned against its image, save both without orientation tags"),
    ("white", "image-white", "grey TIFFs in which 0 is white (MinIsWhite), read as stored",
     "if 0 is black in other images, or in those to predict, save these so too"),
)  # fmt: skip

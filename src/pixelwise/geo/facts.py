"""What the header of a raster says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pixelwise.geo.place import Place

MAX_PIXELS = 2**40


@dataclass(frozen=True)
class RasterFacts:
    """What the header of a raster says.

    Attributes:
        name: Path or address.
        height: Rows.
        width: Columns.
        bands: Bands of an image read from it; a last band that says where there is data does not count when it is
            left out.
        dtype: Such as `uint8`.
        nodata: The value that stands for no data in each band, None for none.
        block: Height and width of the blocks that are decoded as one.
        alpha: Whether the last band is tagged as the alpha channel.
        masked: Whether the file has a mask of its own.
        place: Where it lies.
    """

    name: str
    height: int
    width: int
    bands: int
    dtype: str
    nodata: tuple[float | None, ...]
    block: tuple[int, int]
    alpha: bool
    masked: bool
    place: Place

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.height, self.width

    @property
    def window(self) -> int:
        """Bytes of a pixel of an image while it is read: all bands, and what tells where data is missing.

        That is a mask for each band before it is one for all, and the bands again without an alpha channel.
        """
        itemsize = np.dtype(self.dtype).itemsize
        values = self.bands * (itemsize + 4 * (self.dtype == "float64"))  # these become float32
        mask = (
            self.masked
            or self.alpha
            or np.dtype(self.dtype).kind == "f"
            or self.nodata != (None,) * self.bands
        )
        return values + (self.bands + 2) * mask + (self.bands - 1) * itemsize * self.alpha

    def cache(self, height: int, width: int) -> int:
        """Bytes of the decoded blocks that a window of this size may touch."""
        rows, columns = (
            min(-(-side // block) + 1, -(-whole // block)) * block
            for side, block, whole in zip((height, width), self.block, self.size, strict=True)
        )
        return rows * columns * self.bands * np.dtype(self.dtype).itemsize

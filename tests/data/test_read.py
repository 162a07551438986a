from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from pixelwise.data.read import image_size, read_image, read_mask
from pixelwise.errors import DataError, MaskError, UnreadableError

rasterio = pytest.importorskip("rasterio")
pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
RNG = np.random.default_rng(7)


def rgb(height: int = 40, width: int = 50) -> Any:
    return RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)


def png(depth: int, kind: int, rows: bytes, width: int, height: int) -> bytes:
    def chunk(tag: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + tag + data + struct.pack(">I", zlib.crc32(tag + data))

    head = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "a.webp", "a.jpg"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_reads_what_pillow_reads(tmp_path: Path, name: str, mode: str) -> None:
    picture = Image.fromarray(rgb()).convert(mode)
    picture.save(tmp_path / name, lossless=True)
    with Image.open(tmp_path / name) as reread:
        expected = np.asarray(reread.convert("RGB" if name == "a.webp" else mode))
    image = read_image(tmp_path / name)
    assert image.dtype == np.uint8
    assert np.array_equal(image.squeeze(), expected)
    assert image_size(tmp_path / name) == (*image.shape, "uint8")


@pytest.mark.parametrize("bands", [1, 3])
def test_sixteen_bit_png_keeps_its_bits(tmp_path: Path, bands: int) -> None:
    values = RNG.integers(0, 65536, (20, 30, bands), dtype=np.uint16)
    values[0, 0] = 40000
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(values.squeeze()))
    image = read_image(tmp_path / "a.png")
    with rasterio.open(tmp_path / "a.png") as source:
        assert np.array_equal(image, np.moveaxis(source.read(), 0, 2))
    assert np.array_equal(image, values)
    assert image_size(tmp_path / "a.png") == (20, 30, bands, "uint16")


def test_sixteen_bit_grey_with_alpha_is_one_band(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(16, 4, b"\0" + struct.pack(">6H", 1000, 1, 2000, 2, 40000, 3), 3, 1))
    assert read_image(tmp_path / "a.png").tolist() == [[[1000], [2000], [40000]]]
    assert image_size(tmp_path / "a.png") == (1, 3, 1, "uint16")


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("bands", [1, 2, 5])
@pytest.mark.parametrize("layout", ["strips", "tiles", "planes"])
def test_tiff_of_any_bands_reads_as_rasterio_does(
    tmp_path: Path, dtype: str, bands: int, layout: str
) -> None:
    values = (RNG.random((33, 31, bands)) * 200).astype(dtype)
    options: dict[str, Any] = {}
    stored = values.squeeze()
    if bands > 1:
        options["planarconfig"] = "separate" if layout == "planes" else "contig"
        stored = np.moveaxis(values, 2, 0) if layout == "planes" else values
    if layout == "tiles":
        options |= {"tile": (16, 16), "compression": "deflate"}
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="minisblack", metadata=None, **options)
    image = read_image(tmp_path / "a.tif")
    with rasterio.open(tmp_path / "a.tif") as source:
        assert np.array_equal(image, np.moveaxis(source.read(), 0, 2))
    assert image_size(tmp_path / "a.tif") == (33, 31, bands, dtype)


def test_big_endian_tiff(tmp_path: Path) -> None:
    values = RNG.integers(0, 65536, (5, 6), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", values, byteorder=">")
    image = read_image(tmp_path / "a.tif")
    assert image.dtype == np.dtype("uint16") and image.dtype.isnative
    assert np.array_equal(image[:, :, 0], values)


@pytest.mark.parametrize("dtype", ["int16", "float64", "uint32"])
def test_other_numbers_become_float32(tmp_path: Path, dtype: str) -> None:
    values = np.array([[1, 2], [3, 40000]]).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", values)
    image = read_image(tmp_path / "a.tif")
    assert image.dtype == np.float32
    assert np.array_equal(image[:, :, 0], values.astype(np.float32))
    assert image_size(tmp_path / "a.tif").dtype == "float32"


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif"])
def test_orientation_is_applied(tmp_path: Path, orientation: int, name: str) -> None:
    picture = Image.fromarray(rgb(11, 7))
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"exif": exif} if name != "a.tif" else {"tiffinfo": {274: orientation}}
    picture.save(tmp_path / name, **options)
    with Image.open(tmp_path / name) as reread:
        expected = np.asarray(ImageOps.exif_transpose(reread))
    image = read_image(tmp_path / name)
    assert np.array_equal(image, expected)
    assert image_size(tmp_path / name) == (*image.shape, "uint8")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_a_mask(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    values = np.arange(12, dtype=np.uint8).reshape(3, 4)
    Image.fromarray(values).save(tmp_path / "m.png", exif=exif)
    with Image.open(tmp_path / "m.png") as reread:
        assert np.array_equal(
            read_mask(tmp_path / "m.png").values, np.asarray(ImageOps.exif_transpose(reread))
        )


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "CMYK", "1"])
def test_odd_modes(tmp_path: Path, mode: str) -> None:
    picture = Image.fromarray(rgb()).convert(mode)
    name = "a.jpg" if mode == "CMYK" else "a.png"
    picture.save(tmp_path / name)
    with Image.open(tmp_path / name) as reread:
        expected = np.asarray(reread.convert("L" if mode in ("LA", "1") else "RGB"))
    assert np.array_equal(read_image(tmp_path / name).squeeze(), expected)


@pytest.mark.parametrize(("depth", "row", "expected"), [
    (1, 0b10100000, [1, 0, 1, 0]), (2, 0b00011011, [0, 1, 2, 3]), (4, None, [0, 1, 2, 15]),
])  # fmt: skip
def test_grey_masks_of_few_bits_are_not_stretched(
    tmp_path: Path, depth: int, row: int | None, expected: list[int]
) -> None:
    rows = bytes([0, 0x01, 0x2F]) if row is None else bytes([0, row])
    (tmp_path / "m.png").write_bytes(png(depth, 0, rows, 4, 1))
    assert read_mask(tmp_path / "m.png").values.tolist() == [expected]


@pytest.mark.parametrize("suffix", ["png", "tif", "gif"])
def test_palette_masks_keep_raw_indices(tmp_path: Path, suffix: str) -> None:
    values = np.array([[0, 1], [2, 5]], np.uint8)
    picture = Image.fromarray(values).convert("P")
    picture.putpalette([channel for i in range(256) for channel in (255 - i, i, 7)])
    picture.save(tmp_path / f"m.{suffix}", optimize=False)
    mask = read_mask(tmp_path / f"m.{suffix}")
    assert mask.palette is not None
    if suffix != "gif":  # GIF writers renumber the palette
        assert np.array_equal(mask.values, values)
        assert mask.palette[5] == "#fa0507"
    colors = [[mask.palette[value] for value in row] for row in mask.values.tolist()]
    assert colors == [["#ff0007", "#fe0107"], ["#fd0207", "#fa0507"]]


def test_color_mask_without_its_alpha(tmp_path: Path) -> None:
    colors = rgb(4, 5)
    Image.fromarray(np.dstack([colors, np.zeros((4, 5), np.uint8)])).save(tmp_path / "m.png")
    assert np.array_equal(read_mask(tmp_path / "m.png").values, colors)


def test_float_masks(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "whole.tif", np.array([[0.0, 1.0]], np.float32))
    assert read_mask(tmp_path / "whole.tif").values.tolist() == [[0, 1]]
    tifffile.imwrite(tmp_path / "half.tif", np.array([[0.0, 1.0], [0.5, np.nan]], np.float32))
    with pytest.raises(MaskError, match=r"value 0\.5 .* 2 pixels .*row 1, column 0"):
        read_mask(tmp_path / "half.tif")


def test_negative_and_wide_values_survive(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "m.tif", np.array([[-1, 300]], np.int16))
    assert read_mask(tmp_path / "m.tif").values.tolist() == [[-1, 300]]


@pytest.mark.parametrize("name", ["m.jpg", "m.png", "m.tif", "m.webp"])
def test_lossy_masks_are_refused_whatever_their_name(tmp_path: Path, name: str) -> None:
    if name == "m.tif":
        tifffile.imwrite(tmp_path / name, np.zeros((16, 16), np.uint8), compression="jpeg")
    else:
        form = "WEBP" if name == "m.webp" else "JPEG"
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / name, format=form)
    with pytest.raises(MaskError, match="lossy") as caught:
        read_mask(tmp_path / name)
    assert caught.value.file == tmp_path / name
    assert "export" in caught.value.remedy


@pytest.mark.parametrize("lossless", [True, False])
def test_webp_in_a_tiff_says_whether_it_lost_anything(tmp_path: Path, lossless: bool) -> None:
    colors = rgb(16, 16)
    options = {"level": 50, "lossless": lossless}
    tifffile.imwrite(
        tmp_path / "m.tif", colors, photometric="rgb", compression="webp", compressionargs=options
    )
    if lossless:
        assert np.array_equal(read_mask(tmp_path / "m.tif").values, colors)
    else:
        with pytest.raises(MaskError, match="lossy WebP"):
            read_mask(tmp_path / "m.tif")


def test_content_decides_the_format(tmp_path: Path) -> None:
    array = rgb()
    Image.fromarray(array).save(tmp_path / "a.jpg", format="PNG")
    assert np.array_equal(read_image(tmp_path / "a.jpg"), array)


def test_overviews_are_no_pages(tmp_path: Path) -> None:
    array = rgb(64, 64)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(array, photometric="rgb")
        file.write(array[::2, ::2], photometric="rgb", subfiletype=1)
    assert np.array_equal(read_image(tmp_path / "a.tif"), array)


def test_nan_is_refused_with_its_place(tmp_path: Path) -> None:
    values = np.zeros((4, 5, 2), np.float32)
    values[2, 3, 1] = np.nan
    values[3, 0] = np.inf
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="minisblack", planarconfig="contig")
    with pytest.raises(DataError, match=r"2 pixels are NaN or infinite \(first at row 2, column 3\)"):
        read_image(tmp_path / "a.tif")


def test_nodata_of_a_geotiff_mask(tmp_path: Path) -> None:
    with rasterio.open(tmp_path / "m.tif", "w", driver="GTiff", width=2, height=1, count=1, dtype="uint8",
                       nodata=9,
                       crs="EPSG:3857", transform=rasterio.Affine(2, 0, 7, 0, -2, 9)) as file:  # fmt: skip
        file.write(np.array([[[1, 9]]], np.uint8))
    assert read_mask(tmp_path / "m.tif").nodata == 9


def test_cmyk_tiff_is_refused(tmp_path: Path) -> None:
    Image.fromarray(rgb()).convert("CMYK").save(tmp_path / "a.tif")
    with pytest.raises(UnreadableError, match="CMYK"):
        read_image(tmp_path / "a.tif")

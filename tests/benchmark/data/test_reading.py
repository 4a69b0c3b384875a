"""Every bit, band and page of an image file is used, or the file is refused; orientation is that of a viewer.

The files are written here byte by byte or by Pillow from arrays, which are the expected values.
"""

from pathlib import Path

import numpy as np
import PIL
import pytest
from PIL import Image
from support.image_files import (
    PNG_GREY,
    PNG_GREY_ALPHA,
    PNG_RGB,
    PNG_RGB_ALPHA,
    corners,
    write_png16,
    write_tiff,
)
from support.layouts import labels, pixels, save, write_folder

from quadrat.benchmark.data import check
from quadrat.benchmark.data.dataset import decode
from quadrat.benchmark.data.loaders import reading
from quadrat.benchmark.data.loaders.folder import Folder
from quadrat.benchmark.data.loaders.reading import orientation_of, read_mask_values, read_rgb
from quadrat.benchmark.errors import DataError

RGB = corners(4, 6)
TWELVE_BITS = (RGB.astype(np.uint16) * 16).clip(max=4095)


def bands(num: int, kind: str = "u1") -> np.ndarray:
    """Return an image of `num` bands, all opaque where one of them is alpha."""
    return np.full((4, 6, num), 255, dtype=kind)


@pytest.mark.parametrize("bits", ["png-rgb", "png-grey", "png-rgba", "png-grey-alpha", "tiff-rgb", "tiff-rgba"])
def test_sixteen_bits_a_channel_are_refused_and_not_cut_to_eight(bits: str, tmp_path: Path) -> None:
    path = tmp_path / "x"
    kinds = {"png-rgb": PNG_RGB, "png-grey": PNG_GREY, "png-rgba": PNG_RGB_ALPHA, "png-grey-alpha": PNG_GREY_ALPHA}
    if bits in kinds:
        array = {PNG_RGB: TWELVE_BITS, PNG_GREY: TWELVE_BITS[..., :1]}.get(
            kinds[bits], bands(4 if "rgb" in bits else 2)
        )
        write_png16(path, array, kinds[bits])
    elif bits == "tiff-rgb":
        write_tiff(path, TWELVE_BITS)
    else:
        write_tiff(path, bands(4, "u2"), extra=[2])
    with pytest.raises(DataError, match=r"expected 8 bits a channel, got 16 bits.* nearly black.* by one factor"):
        read_rgb(path)


def test_jpeg_2000_of_sixteen_bits_is_refused_and_of_eight_is_read(tmp_path: Path) -> None:
    Image.fromarray(pixels("a", 40, 50)).save(tmp_path / "8.jp2")
    np.testing.assert_array_equal(read_rgb(tmp_path / "8.jp2"), pixels("a", 40, 50))
    Image.fromarray(np.full((40, 50), 4000, np.uint16)).save(tmp_path / "16.jp2")
    with pytest.raises(DataError, match="got 16 bits"):
        read_rgb(tmp_path / "16.jp2")


@pytest.mark.parametrize(
    ("array", "photometric", "extra", "num"),
    [(bands(4), 2, [0], 4), (bands(5), 2, [0, 0], 5), (bands(2), 1, [0], 2)],
    ids=["near-infrared", "five", "grey-and-one"],
)
def test_a_band_beyond_those_that_are_used_is_refused(
    array: np.ndarray, photometric: int, extra: list[int], num: int, tmp_path: Path
) -> None:
    path = write_tiff(tmp_path / "x.tif", array, photometric=photometric, extra=extra)
    if num == 2 and int(PIL.__version__.partition(".")[0]) < 13:  # which does not open it
        with pytest.raises(DataError, match="cannot be read as an image"):
            read_rgb(path)
        return
    with pytest.raises(DataError, match=rf"got {num} bands .*gdal_translate -b 1 -b 2 -b 3"):
        read_rgb(path)
    with pytest.raises(DataError, match=rf"x.tif: expected a mask of one channel.*{num} bands"):
        read_mask_values(path)


def test_alpha_that_is_full_everywhere_holds_nothing_and_any_other_is_refused(tmp_path: Path) -> None:
    opaque = np.dstack([RGB, np.full((4, 6), 255, np.uint8)])
    Image.fromarray(opaque).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_rgb(tmp_path / "a.png"), RGB)
    np.testing.assert_array_equal(read_mask_values(tmp_path / "a.png"), RGB)
    opaque[2, 3, 3] = 254
    Image.fromarray(opaque).save(tmp_path / "a.png")
    for read in (read_rgb, read_mask_values):
        with pytest.raises(DataError, match="expected opaque pixels, got transparent ones"):
            read(tmp_path / "a.png")


def test_grey_palette_one_bit_and_cmyk_become_rgb(tmp_path: Path) -> None:
    grey = RGB[..., 1]
    for name, picture in (
        ("l", Image.fromarray(grey)),
        ("one", Image.fromarray(grey > 2)),
        ("p", Image.fromarray(grey)),
    ):
        if name == "p":
            picture.putpalette([part for value in range(256) for part in (value, 7, 255 - value)])
        picture.save(tmp_path / f"{name}.png")
    np.testing.assert_array_equal(read_rgb(tmp_path / "l.png"), np.dstack([grey] * 3))
    np.testing.assert_array_equal(read_rgb(tmp_path / "one.png"), np.dstack([255 * (grey > 2)] * 3))
    np.testing.assert_array_equal(read_rgb(tmp_path / "p.png"), np.dstack([grey, np.full_like(grey, 7), 255 - grey]))
    ink = np.zeros((4, 6, 4), np.uint8)
    ink[:, 3:, 0] = 255  # cyan: no red
    white, cyan = [255, 255, 255], [0, 255, 255]
    assert read_rgb(write_tiff(tmp_path / "c.tif", ink, photometric=5)).tolist() == [[white] * 3 + [cyan] * 3] * 4


def test_a_stack_is_refused_for_image_and_mask_with_the_line_that_splits_it(tmp_path: Path) -> None:
    grey = RGB[..., 0]
    path = write_tiff(tmp_path / "train-volume.tif", *[grey] * 30, photometric=1)
    for read in (read_rgb, read_mask_values):
        with pytest.raises(DataError, match=r"got 30 pages.*magick train-volume.tif train-volume-%04d.png"):
            read(path)
    frames = [Image.fromarray(np.full((4, 6), value, np.uint8)) for value in (0, 200)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(DataError, match="got 2 pages"):
        read_rgb(tmp_path / "a.gif")


def test_smaller_copies_of_a_page_are_no_pages(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "x.tif", RGB, RGB[::2, ::2], subfile=[0, 1])
    np.testing.assert_array_equal(read_rgb(path), RGB)


TURNED = {
    1: RGB,
    2: RGB[:, ::-1],
    3: RGB[::-1, ::-1],
    4: RGB[::-1],
    5: RGB.swapaxes(0, 1),
    6: np.rot90(RGB, -1),
    7: RGB.swapaxes(0, 1)[::-1, ::-1],
    8: np.rot90(RGB, 1),
}
"""How a viewer shows RGB by its orientation (EXIF 2.3, tag 274: where row 0 and column 0 of what is stored are)."""


@pytest.mark.parametrize("orientation", TURNED)
def test_images_and_masks_are_read_as_viewers_show_them(orientation: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(RGB).save(tmp_path / "x.png", exif=exif)
    Image.fromarray(RGB).save(tmp_path / "x.webp", exif=exif, lossless=True)
    write_tiff(tmp_path / "x.tif", RGB, orientation=orientation)
    for name in ("x.png", "x.webp", "x.tif"):
        np.testing.assert_array_equal(read_rgb(tmp_path / name), TURNED[orientation], err_msg=name)
        np.testing.assert_array_equal(read_mask_values(tmp_path / name), TURNED[orientation], err_msg=name)
        assert orientation_of(tmp_path / name) == orientation
    Image.fromarray(RGB).save(tmp_path / "x.jpg", exif=exif)
    assert read_rgb(tmp_path / "x.jpg").shape == TURNED[orientation].shape
    assert orientation_of(tmp_path / "x.jpg") == orientation


def test_an_image_turned_by_180_degrees_is_read_upright_and_the_check_notes_it(tmp_path: Path) -> None:
    root = write_folder(tmp_path)
    exif = Image.Exif()
    exif[274] = 3
    Image.fromarray(pixels("a", 20, 30)).save(root / "images" / "train" / "a.jpg", exif=exif, quality=100)
    (root / "images" / "train" / "a.jpg").rename(root / "images" / "train" / "a.png")
    Image.fromarray(pixels("a", 20, 30)).save(root / "images" / "train" / "a.png", exif=exif)
    item = Folder(root=root).items("train")[0]
    np.testing.assert_array_equal(decode(item, 3).image, pixels("a", 20, 30)[::-1, ::-1])
    report = check(Folder(root=root))
    assert report.problems == ()
    assert report.notes == (
        "train/a notes EXIF orientation 3 and is read as viewers show it: its mask must have been drawn so.",
    )


def test_a_mask_of_the_image_as_it_is_stored_is_told_of_the_orientation(tmp_path: Path) -> None:
    root = write_folder(tmp_path)
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(pixels("a", 20, 30)).save(root / "images" / "train" / "a.jpg", exif=exif)
    item = Folder(root=root).items("train")[0]
    with pytest.raises(
        DataError, match=r"mask is 20 x 30 .* image is 30 x 20. .*EXIF orientation 6.*exiftool -Orientation= FILE"
    ):
        decode(item, 3)
    save(item.mask, labels("a", 30, 20, (0, 1, 2)))
    assert decode(item, 3).image.shape == (30, 20, 3)


# ------------------------------------------------------------------------------------------------ masks

MASK = labels("m", 8, 12, (0, 1, 2, 255))


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "gif", "pgm", "webp"])
def test_a_mask_is_read_without_loss_from_any_format_that_has_none(suffix: str, tmp_path: Path) -> None:
    lossless = {"lossless": True} if suffix == "webp" else {}
    Image.fromarray(MASK).save(tmp_path / f"m.{suffix}", **lossless)
    np.testing.assert_array_equal(read_mask_values(tmp_path / f"m.{suffix}"), MASK)


@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "tif", "jp2"])
def test_a_mask_that_is_compressed_with_loss_is_refused_whatever_its_suffix(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"m.{kind}"
    options = {"png": {"format": "JPEG"}, "tif": {"compression": "jpeg"}}.get(kind, {})
    Image.fromarray(MASK).save(path, **options)
    with pytest.raises(
        DataError, match=r"is a (JPEG|WebP|TIFF with JPEG compression|JPEG 2000) file: compression with"
    ):
        read_mask_values(path)


def test_a_mask_in_a_lossy_format_is_named_and_not_called_missing(tmp_path: Path) -> None:
    root = write_folder(tmp_path)
    (root / "masks" / "train" / "a.png").unlink()
    Image.fromarray(MASK).save(root / "masks" / "train" / "a.jpg")
    (problem,) = check(Folder(root=root)).problems
    assert "masks/train/a.jpg is a JPEG file" in problem and "missing" not in problem


def test_a_preview_beside_a_mask_is_no_second_mask(tmp_path: Path) -> None:
    root = write_folder(tmp_path)
    Image.fromarray(pixels("a", 20, 30)).save(root / "masks" / "train" / "a.jpg")
    assert Folder(root=root).items("train")[0].mask.name == "a.png"


def test_grey_stored_as_rgb_is_grey(tmp_path: Path) -> None:
    Image.fromarray(np.dstack([MASK] * 3)).save(tmp_path / "rgb.png")
    Image.fromarray(np.dstack([MASK] * 3 + [np.full_like(MASK, 255)])).save(tmp_path / "rgba.png")
    for name in ("rgb.png", "rgba.png"):
        np.testing.assert_array_equal(read_mask_values(tmp_path / name), MASK)


def test_an_image_beyond_the_limit_of_pillow_is_not_called_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(RGB).save(tmp_path / "x.png")
    monkeypatch.setattr(reading.Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(DataError, match=r"x.png has more pixels than Pillow reads, 20: cut image and mask into tiles"):
        read_rgb(tmp_path / "x.png")

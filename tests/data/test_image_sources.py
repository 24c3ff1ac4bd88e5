"""Pictures in any form that people have: all become the same RGB, or a sentence."""

import io

import numpy as np
import pytest
from PIL import Image

from tagpose.data.images import load_image

RGB = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3) * 2
GREY = RGB[..., 0]


def saved(image, kind="png", **options):
    """The bytes of a file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def test_a_path_bytes_a_picture_and_an_array_are_one_picture(tmp_path):
    image = Image.fromarray(RGB)
    file = tmp_path / "a.png"
    image.save(file)
    for source in (file, str(file), file.read_bytes(), image, RGB):
        assert np.array_equal(load_image(source), RGB)


@pytest.mark.parametrize(
    "source",
    [
        GREY,
        GREY[..., None],
        GREY.astype(np.uint16) * 257,
        saved(Image.fromarray(GREY)),
        saved(Image.fromarray(GREY).convert("P")),
        saved(Image.fromarray(GREY).convert("LA")),
        saved(Image.fromarray(GREY.astype(np.uint16) * 257)),
        saved(Image.fromarray(GREY.astype(np.uint16) * 257), "tiff"),
    ],
    ids=["array", "channel", "array16", "L", "P", "LA", "png16", "tiff16"],
)
def test_grey_is_the_same_grey_in_all_its_forms(source):
    assert np.array_equal(load_image(source), np.repeat(GREY[..., None], 3, axis=2))


def test_32_bits_are_spread_from_their_darkest_to_their_lightest():
    depth = np.linspace(-3, 9, 35, dtype=np.float32).reshape(5, 7)
    seen = load_image(saved(Image.fromarray(depth), "tiff"))
    assert (seen.min(), seen.max()) == (0, 255)
    assert load_image(Image.fromarray(np.full((2, 2), 5, np.int32))).max() == 0


def test_cmyk_keeps_its_colours():
    colours = np.array([[[200, 30, 40], [20, 180, 60], [255, 255, 255]]], np.uint8)
    image = Image.fromarray(colours.repeat(16, 0).repeat(16, 1)).convert("CMYK")
    seen = load_image(saved(image, "jpeg", quality=100, subsampling=0))
    assert np.abs(seen[8, 8::16].astype(int) - colours[0]).max() <= 4


def test_what_is_transparent_is_white():
    clear = np.dstack([RGB, np.full((5, 7), 0, np.uint8)])
    clear[0, 0, 3] = 255
    palette = Image.fromarray(GREY).convert("P")
    for source in (clear, saved(Image.fromarray(clear))):
        seen = load_image(source)
        assert np.array_equal(seen[0, 0], RGB[0, 0])
        assert (seen[1:] == 255).all()
    seen = load_image(saved(palette, transparency=int(np.asarray(palette)[2, 2])))
    assert (seen[2, 2] == 255).all()


def test_a_photograph_is_turned_as_its_camera_was_held():
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    turned = load_image(saved(Image.fromarray(RGB), exif=exif))
    assert np.array_equal(turned, np.rot90(RGB, -1))


def test_one_pixel_is_a_picture():
    assert load_image(np.zeros((1, 1), np.uint8)).shape == (1, 1, 3)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (b"", "given as 0 bytes cannot be read as a picture"),
        (b"no picture", "cannot be read as a picture"),
        (saved(Image.fromarray(RGB))[:45], "cannot be read as a picture"),
        (np.zeros((5, 7, 2), np.uint8), r"array \[5, 7, 2\] of uint8 is no picture"),
        (np.zeros((5, 7, 3)), "of float64 is no picture"),
        (np.zeros((0, 7, 3), np.uint8), "is no picture"),
        (7, "int is no picture"),
    ],
)
def test_what_is_no_picture_is_one_sentence(source, says):
    with pytest.raises(ValueError, match=says):
        load_image(source)


def test_a_file_that_is_missing_or_broken_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"b\.png is missing"):
        load_image(tmp_path / "b.png")
    (tmp_path / "c.jpg").write_text("text")
    with pytest.raises(ValueError, match=r"c\.jpg cannot be read as a picture"):
        load_image(tmp_path / "c.jpg")

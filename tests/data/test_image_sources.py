"""Images from any source and in any pixel format load as RGB, or are rejected."""

import io

import numpy as np
import pytest
from PIL import Image

from tagpose.data.images import load_image

RGB = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3) * 2
GRAY = RGB[..., 0]


def encode(image, image_format="png", **options):
    """Return the bytes of an image file."""
    file = io.BytesIO()
    image.save(file, image_format, **options)
    return file.getvalue()


def test_paths_bytes_pillow_images_and_arrays_load_equally(tmp_path):
    image = Image.fromarray(RGB)
    file = tmp_path / "a.png"
    image.save(file)
    for source in (file, str(file), file.read_bytes(), image, RGB):
        assert np.array_equal(load_image(source), RGB)


@pytest.mark.parametrize(
    "source",
    [
        GRAY,
        GRAY[..., None],
        GRAY.astype(np.uint16) * 257,
        encode(Image.fromarray(GRAY)),
        encode(Image.fromarray(GRAY).convert("P")),
        encode(Image.fromarray(GRAY).convert("LA")),
        encode(Image.fromarray(GRAY.astype(np.uint16) * 257)),
        encode(Image.fromarray(GRAY.astype(np.uint16) * 257), "tiff"),
    ],
    ids=["array", "channel", "array16", "L", "P", "LA", "png16", "tiff16"],
)
def test_grayscale_formats_load_as_the_same_rgb(source):
    assert np.array_equal(load_image(source), np.repeat(GRAY[..., None], 3, axis=2))


def test_values_without_a_depth_are_stretched_from_minimum_to_maximum():
    depth = np.linspace(-3, 9, 35, dtype=np.float32).reshape(5, 7)
    for values in (depth, depth.astype(np.int32), np.int32(10**6 * (3 + depth))):
        loaded = load_image(encode(Image.fromarray(values), "tiff"))
        assert (loaded.min(), loaded.max()) == (0, 255)
    assert load_image(Image.fromarray(np.full((2, 2), -5, np.int32))).max() == 0


def test_cmyk_keeps_its_colors():
    colors = np.array([[[200, 30, 40], [20, 180, 60], [255, 255, 255]]], np.uint8)
    image = Image.fromarray(colors.repeat(16, 0).repeat(16, 1)).convert("CMYK")
    loaded = load_image(encode(image, "jpeg", quality=100, subsampling=0))
    assert np.abs(loaded[8, 8::16].astype(int) - colors[0]).max() <= 4


def test_transparent_pixels_become_white():
    rgba = np.dstack([RGB, np.full((5, 7), 0, np.uint8)])
    rgba[0, 0, 3] = 255
    palette = Image.fromarray(GRAY).convert("P")
    for source in (rgba, encode(Image.fromarray(rgba))):
        loaded = load_image(source)
        assert np.array_equal(loaded[0, 0], RGB[0, 0])
        assert (loaded[1:] == 255).all()
    loaded = load_image(encode(palette, transparency=int(np.asarray(palette)[2, 2])))
    assert (loaded[2, 2] == 255).all()


def test_exif_rotation_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: rotate by a quarter turn clockwise
    rotated = load_image(encode(Image.fromarray(RGB), exif=exif))
    assert np.array_equal(rotated, np.rot90(RGB, -1))


def test_an_image_may_have_a_single_pixel():
    assert load_image(np.zeros((1, 1), np.uint8)).shape == (1, 1, 3)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (b"", "given as 0 bytes cannot be read as an image"),
        (b"not an image", "cannot be read as an image"),
        (encode(Image.fromarray(RGB))[:45], "cannot be read as an image"),
        (np.zeros((5, 7, 2), np.uint8), r"array \[5, 7, 2\] of uint8 is not an image"),
        (np.zeros((5, 7, 3)), "of float64 is not an image"),
        (np.zeros((0, 7, 3), np.uint8), "is not an image"),
        (7, "int is not an image"),
    ],
)
def test_a_source_that_is_not_an_image_is_rejected(source, message):
    with pytest.raises(ValueError, match=message):
        load_image(source)


def test_a_missing_or_invalid_file_is_reported_with_its_name(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"b\.png is missing"):
        load_image(tmp_path / "b.png")
    (tmp_path / "c.jpg").write_text("text")
    with pytest.raises(ValueError, match=r"c\.jpg cannot be read as an image"):
        load_image(tmp_path / "c.jpg")

"""Annotated images are read as stored, in any format; invalid files are rejected."""

import numpy as np
import pytest
from PIL import Image

from tagpose.data.image_files import list_images
from tagpose.data.images import read_annotated_image

COLORED = np.dstack([np.full((6, 9), value, np.uint8) for value in (204, 102, 51)])


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "CMYK"])
def test_images_of_all_modes_are_read_as_rgb(tmp_path, mode):
    file = tmp_path / f"a.{'tif' if mode == 'CMYK' else 'png'}"
    image = (
        Image.fromarray(np.full((6, 9), 300, np.uint16))
        if mode == "I;16"
        else Image.fromarray(COLORED).convert(mode)
    )
    image.save(file)
    read = read_annotated_image(file)
    assert (read.shape, read.dtype) == ((6, 9, 3), np.uint8)
    if mode in ("P", "RGB", "RGBA", "CMYK"):
        np.testing.assert_allclose(read, COLORED, atol=1)
    else:
        np.testing.assert_array_equal(read, read[..., :1].repeat(3, -1))


def test_exif_rotation_is_not_applied_without_an_annotated_size(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: rotate by a quarter turn clockwise
    Image.fromarray(COLORED).save(tmp_path / "a.jpg", exif=exif)
    assert read_annotated_image(tmp_path / "a.jpg").shape == (6, 9, 3)


@pytest.mark.parametrize("extension", ["jpg", "png"])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_truncated_image_is_rejected(tmp_path, extension, share):
    file = tmp_path / f"a.{extension}"
    Image.effect_noise((64, 64), 50).convert("RGB").save(file)
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r"cannot be read as an image .*; download or export it"):
        read_annotated_image(file)


def test_an_image_too_large_for_memory_is_rejected_by_its_header(tmp_path, monkeypatch):
    Image.fromarray(COLORED).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    with pytest.raises(ValueError, match=r"a\.png cannot be read as an image .*bomb"):
        read_annotated_image(tmp_path / "a.png")


def test_a_text_file_and_a_missing_file_are_rejected(tmp_path):
    (tmp_path / "a.jpg").write_text("<html>404</html>")
    with pytest.raises(ValueError, match=r"a\.jpg cannot be read as an image"):
        read_annotated_image(tmp_path / "a.jpg")
    with pytest.raises(FileNotFoundError, match=r"b\.jpg is missing"):
        read_annotated_image(tmp_path / "b.jpg")


def test_a_folder_lists_the_images_of_all_formats_but_not_hidden_files(tmp_path):
    extensions = ("avif", "bmp", "gif", "jfif", "jp2", "JPG", "png", "ppm", "tga", "tif", "webp")
    for extension in extensions:
        Image.fromarray(COLORED).save(tmp_path / f"a.{extension}")
    for name in ("a.txt", "._a.png", ".a.png"):  # macOS writes the second on foreign disks
        (tmp_path / name).touch()
    files = list_images(tmp_path)
    assert files == list_images(tmp_path / "*")
    assert {file.suffix[1:] for file in files} == set(extensions)
    assert {read_annotated_image(file).shape for file in files} == {(6, 9, 3)}

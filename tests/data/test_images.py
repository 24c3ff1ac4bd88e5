"""Pictures are read as stored, whatever their kind; what is no whole picture is refused."""

import numpy as np
import pytest
from PIL import Image

from tagpose.data.image_files import list_images
from tagpose.data.images import read_annotated_image

COLOURED = np.dstack([np.full((6, 9), value, np.uint8) for value in (204, 102, 51)])


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "CMYK"])
def test_a_picture_of_any_kind_is_rgb(tmp_path, mode):
    file = tmp_path / f"a.{'tif' if mode == 'CMYK' else 'png'}"
    picture = (
        Image.fromarray(np.full((6, 9), 300, np.uint16))
        if mode == "I;16"
        else Image.fromarray(COLOURED).convert(mode)
    )
    picture.save(file)
    read = read_annotated_image(file)
    assert (read.shape, read.dtype) == ((6, 9, 3), np.uint8)
    if mode in ("P", "RGB", "RGBA", "CMYK"):
        np.testing.assert_allclose(read, COLOURED, atol=1)
    else:
        np.testing.assert_array_equal(read, read[..., :1].repeat(3, -1))


def test_a_rotation_that_a_camera_noted_is_not_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: to be turned by a quarter
    Image.fromarray(COLOURED).save(tmp_path / "a.jpg", exif=exif)
    assert read_annotated_image(tmp_path / "a.jpg").shape == (6, 9, 3)


@pytest.mark.parametrize("ending", ["jpg", "png"])
@pytest.mark.parametrize("kept", [0.5, 0.9])
def test_a_picture_that_ends_too_early_is_refused(tmp_path, ending, kept):
    file = tmp_path / f"a.{ending}"
    Image.effect_noise((64, 64), 50).convert("RGB").save(file)
    content = file.read_bytes()
    file.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(ValueError, match=r"cannot be read as a picture .*; fetch or export it"):
        read_annotated_image(file)


def test_a_picture_too_large_for_memory_is_refused_by_its_header(tmp_path, monkeypatch):
    Image.fromarray(COLOURED).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    with pytest.raises(ValueError, match=r"a\.png cannot be read as a picture .*bomb"):
        read_annotated_image(tmp_path / "a.png")


def test_what_is_no_picture_is_refused(tmp_path):
    (tmp_path / "a.jpg").write_text("<html>404</html>")
    with pytest.raises(ValueError, match=r"a\.jpg cannot be read as a picture"):
        read_annotated_image(tmp_path / "a.jpg")
    with pytest.raises(FileNotFoundError, match=r"b\.jpg is missing"):
        read_annotated_image(tmp_path / "b.jpg")


def test_a_folder_has_the_pictures_of_all_kinds_that_can_be_read(tmp_path):
    endings = ("avif", "bmp", "gif", "jfif", "jp2", "JPG", "png", "ppm", "tga", "tif", "webp")
    for ending in endings:
        Image.fromarray(COLOURED).save(tmp_path / f"a.{ending}")
    for name in ("a.txt", "._a.png", ".a.png"):  # macOS writes the second on foreign disks
        (tmp_path / name).touch()
    files = list_images(tmp_path)
    assert files == list_images(tmp_path / "*")
    assert {file.suffix[1:] for file in files} == set(endings)
    assert {read_annotated_image(file).shape for file in files} == {(6, 9, 3)}

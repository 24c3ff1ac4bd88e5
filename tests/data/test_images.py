"""Images of all formats are read, with several frames or reduced; invalid files are rejected."""

import io
import struct
import subprocess
import sys
import warnings
from contextlib import suppress

import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageFilter

from tagpose.data.image_files import list_images
from tagpose.data.images import decode_image, load_image, read_annotated_image
from tagpose.geometry import transform_points
from tagpose.video.inputs import find_inputs

COLORED = np.dstack([np.full((6, 9), value, np.uint8) for value in (204, 102, 51)])
LARGE = np.dstack([np.full((64, 96), value, np.uint8) for value in (204, 102, 51)])


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


@pytest.mark.parametrize("kind", range(14))  # byte, text, integers, fractions ...
def test_a_tiff_with_a_field_of_another_type_is_read_or_rejected(tmp_path, kind):
    file = tmp_path / "x.tif"
    Image.effect_noise((40, 30), 60).convert("RGB").save(file)
    content = file.read_bytes()
    (first,) = struct.unpack_from("<I", content, 4)
    (fields,) = struct.unpack_from("<H", content, first)
    for field in range(first + 2, first + 2 + 12 * fields, 12):  # number, type, count, value
        changed = bytearray(content)
        struct.pack_into("<H", changed, field + 2, kind)
        file.write_bytes(changed)
        with warnings.catch_warnings(action="ignore"), suppress(ValueError):
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


@pytest.mark.parametrize("name", ["a.heic", "a.HIF", "a.jpg"])
def test_heic_is_read_whatever_its_name(tmp_path, name):
    pillow_heif.from_pillow(Image.fromarray(LARGE)).save(tmp_path / "a.heic")
    file = (tmp_path / "a.heic").rename(tmp_path / name)
    for source in (file, file.read_bytes()):
        np.testing.assert_allclose(load_image(source), LARGE, atol=3)


def test_heic_without_its_package_is_an_error_that_names_the_extra(tmp_path):
    pillow_heif.from_pillow(Image.fromarray(LARGE)).save(tmp_path / "a.heic")
    code = (
        "import sys; sys.modules['pi_heif'] = None\n"
        "from tagpose.data.images import load_image\n"
        "try: load_image('a.heic')\n"
        "except ValueError as error: print(error)"
    )
    output = subprocess.check_output([sys.executable, "-c", code], cwd=tmp_path, text=True)
    assert output == (
        "a.heic is an HEIC image, which needs pi-heif; install it with "
        'pip install "tagpose[heic]"\n'
    )


@pytest.mark.parametrize("extension", ["tif", "gif", "webp", "mpo", "png"])
def test_the_number_of_frames_is_reported(tmp_path, extension):
    frames = [Image.fromarray(LARGE // n) for n in (1, 2, 3)]
    file = tmp_path / f"a.{extension}"
    frames[0].save(file, save_all=True, append_images=frames[1:])
    decoded = decode_image(file)
    assert decoded.num_frames == 3
    np.testing.assert_allclose(decoded.pixels, LARGE, atol=12)
    frames[0].save(file)
    assert decode_image(file).num_frames == 1


def blob(width, height, orientation):
    """Return a JPEG with a bright spot, and the position of its center in the upright image."""
    x, y = 0.7 * width, 0.4 * height
    columns, rows = np.arange(width), np.arange(height)[:, None]
    spot = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 30**2))
    upright = Image.fromarray(np.rint(255 * spot).astype(np.uint8)).convert("RGB")
    back = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(back[orientation]) if orientation > 1 else upright
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    stored.save(file, "jpeg", quality=97, exif=exif)
    return file.getvalue(), np.array([x, y])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("min_side", "factor"), [(500, 1), (300, 2), (200, 4), (120, 8)])
def test_a_spot_is_found_in_reduced_pixels_where_the_affine_maps_it(orientation, min_side, factor):
    content, center = blob(1205, 971, orientation)
    decoded = decode_image(content, min_side=min_side)
    assert decoded.size == (1205, 971)
    assert decoded.pixels.shape[1] == -(-1205 // factor)
    weights = decoded.pixels[..., 0].astype(float).clip(8) - 8
    rows, columns = np.indices(weights.shape)
    found = np.array([(weights * axis).sum() for axis in (columns, rows)]) / weights.sum()
    assert transform_points(decoded.affine, center) == pytest.approx(found, abs=0.05)


def test_only_jpeg_is_reduced(tmp_path):
    image = Image.effect_noise((640, 480), 50).filter(ImageFilter.GaussianBlur(3)).convert("RGB")
    image.save(tmp_path / "a.png")
    assert decode_image(tmp_path / "a.png", min_side=64).pixels.shape == (480, 640, 3)


def test_an_image_above_the_limit_is_an_error_that_states_it(tmp_path):
    Image.fromarray(LARGE).save(tmp_path / "a.png")
    assert decode_image(tmp_path / "a.png", max_pixels=96 * 64).size == (96, 64)
    with pytest.raises(ValueError, match=r"a\.png has 96 x 64 pixels; resize it to at most 0\.006"):
        decode_image(tmp_path / "a.png", max_pixels=6000)


def test_skipped_files_and_folders_are_counted(tmp_path):
    extensions = ("apng", "ico", "mpo", "psd", "heic", "HIF", "jpg", "dng", "txt", "txt")
    for number, extension in enumerate(extensions):
        (tmp_path / f"a{number}.{extension}").touch()
    (tmp_path / "more.png").mkdir()
    (tmp_path / "README").touch()
    inputs = find_inputs(str(tmp_path))
    assert [file.suffix for file in inputs.pictures] == [f".{e}" for e in extensions[:7]]
    assert inputs.notes == (
        "skipped 4 files of unsupported types: 2 .txt, 1 README, 1 .dng",
        f"skipped 1 subfolders; images='{tmp_path}/**/*' includes them",
    )
    assert find_inputs(f"{tmp_path}/**/*").notes == inputs.notes[:1]
    with pytest.raises(FileNotFoundError, match=r"no images found at .*/\*\.txt \(skipped 2 files"):
        find_inputs(f"{tmp_path}/*.txt")

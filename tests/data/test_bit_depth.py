"""Images with more than 8 bits per value look alike in all formats, whatever depth they use."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from tagpose.data.images import load_image

RNG = np.random.default_rng(0)
COLOR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # of PNG by the number of channels


def png16(values, *, transparent=None):
    """Return a 16-bit PNG of values [H, W, C] uint16, which Pillow cannot write itself."""
    height, width, channels = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, COLOR_TYPES[channels], 0, 0, 0)
    chunks = [(b"IHDR", header)]
    if transparent is not None:
        chunks.append((b"tRNS", np.array(transparent, ">u2").tobytes()))
    chunks += [(b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def tiff16(values, compression):
    """Return a 16-bit TIFF of values [H, W, C] uint16."""
    order = {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[values.shape[2]]
    options = [cv2.IMWRITE_TIFF_COMPRESSION, compression]
    return cv2.imencode(".tif", np.ascontiguousarray(values[..., order]), options)[1].tobytes()


def pgm(values, maximum):
    height, width, _ = values.shape
    return b"P5 %d %d %d\n" % (width, height, maximum) + values.astype(">u2").tobytes()


def draw(depth, channels):
    """Return values [6, 9, channels] of a depth, the highest one among them."""
    values = RNG.integers(0, 2**depth, (6, 9, channels)).astype(np.uint16)
    values[0, 0] = 2**depth - 1
    return values


@pytest.mark.parametrize("depth", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", ["array", "png", "tiff", "tiff_lzw", "tiff_deflate"])
def test_the_highest_value_determines_the_depth(kind, channels, depth):
    values = draw(depth, channels)
    source = {
        "array": lambda: values,
        "png": lambda: png16(values),
        "tiff": lambda: tiff16(values, 1),
        "tiff_lzw": lambda: tiff16(values, 5),
        "tiff_deflate": lambda: tiff16(values, 8),
    }[kind]()
    expected = np.rint(values * (255 / (2**depth - 1))).astype(np.uint8)
    np.testing.assert_array_equal(load_image(source), np.broadcast_to(expected, (6, 9, 3)))


def test_12_bit_data_is_alike_in_pgm_and_png():
    values = draw(12, 1)
    difference = load_image(pgm(values, 4095)).astype(int) - load_image(png16(values))
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize("depth", [12, 16])
@pytest.mark.parametrize("channels", [2, 4])
def test_an_alpha_channel_of_16_bits_has_its_own_depth(channels, depth):
    values = draw(depth, channels)
    values[..., -1] = 65535
    values[3:, :, -1] = 0
    loaded = load_image(png16(values))
    expected = np.rint(values[:3, :, :-1] * (255 / (2**depth - 1)))
    np.testing.assert_array_equal(loaded[:3], np.broadcast_to(expected, (3, 9, 3)))
    assert (loaded[3:] == 255).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_a_transparent_value_of_16_bits_becomes_white(channels):
    values = draw(16, channels)
    values[2, 2] = np.arange(3)[:channels] + 700
    values[2, 3] = values[2, 2] + 1  # equal in its high byte
    loaded = load_image(png16(values, transparent=values[2, 2]))
    assert (loaded[2, 2] == 255).all()
    assert (loaded[2, 3] < 10).all()


def test_16_bit_colors_are_rotated_as_exif_states():
    values = draw(12, 3)
    with Image.open(io.BytesIO(tiff16(values, 1))) as image:
        exif = image.getexif()
        assert 0x0112 not in exif or exif[0x0112] == 1
    content = bytearray(tiff16(values, 1))
    with_tag = insert_orientation(bytes(content), 6)
    np.testing.assert_array_equal(load_image(with_tag), np.rot90(load_image(bytes(content)), -1))


def insert_orientation(tiff, orientation):
    """Return a little-endian TIFF with an orientation, in a directory appended to the file."""
    assert tiff[:2] == b"II"
    (offset,) = struct.unpack_from("<I", tiff, 4)
    (count,) = struct.unpack_from("<H", tiff, offset)
    entries = [tiff[offset + 2 + 12 * n :][:12] for n in range(count)]
    entries = [entry for entry in entries if struct.unpack_from("<H", entry)[0] != 0x0112]
    entries.append(struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0))
    entries.sort(key=lambda entry: struct.unpack_from("<H", entry)[0])
    directory = struct.pack("<H", len(entries)) + b"".join(entries) + struct.pack("<I", 0)
    tiff += b"\0" * (len(tiff) % 2)
    return tiff[:4] + struct.pack("<I", len(tiff)) + tiff[8:] + directory

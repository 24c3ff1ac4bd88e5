"""Conversion of video frames to RGB, and the color tags of written videos."""

from fractions import Fraction
from typing import Final

import av
import numpy as np
from av.video.reformatter import Colorspace

from tagpose.video.frames import UNSPECIFIED_COLOR, ColorTags, Video

_BT709, _SMPTE170M = 1, 6  # color tags of ISO/IEC 23091-2
_MAX_SD_SIZE: Final = (1280, 576)  # players assume BT.709 (HD) for larger frames without tags
_MAX_PIXEL_ASPECT: Final = 4  # higher values mean a broken header


class FrameConverter:
    """Converter from decoded frames to upright RGB images with square pixels."""

    def __init__(self, stream: av.VideoStream, video: Video) -> None:
        aspect = stream.sample_aspect_ratio or Fraction(1)
        usable = 1 / _MAX_PIXEL_ASPECT <= aspect <= _MAX_PIXEL_ASPECT
        self._aspect = aspect if usable else Fraction(1)
        self._size: tuple[int, int] | None = None
        self._notes = video.notes

    def __call__(self, frame: av.VideoFrame, time: float) -> np.ndarray:
        """Return the image [H, W, 3] uint8 RGB of a frame."""
        width, height = round(frame.width * self._aspect), frame.height
        pixels = frame.to_ndarray(
            format="rgb24", width=width, height=height, src_colorspace=source_matrix(frame)
        )
        image = np.ascontiguousarray(np.rot90(pixels, frame.rotation // 90))
        self._add_notes(frame, image, time)
        return image

    def _add_notes(self, frame: av.VideoFrame, image: np.ndarray, time: float) -> None:
        """Note non-square pixels, once, and every change of size."""
        size = image.shape[1], image.shape[0]
        if self._size is None and self._aspect != 1:
            self._notes.append(
                f"the pixel aspect ratio is {self._aspect.numerator}:{self._aspect.denominator}; "
                f"frames of {frame.width} x {frame.height} are resized to {size[0]} x {size[1]}"
            )
        if self._size is not None and size != self._size:
            self._notes.append(
                f"the frame size changes from {self._size[0]} x {self._size[1]} to {size[0]} x "
                f"{size[1]} pixels after {time:.1f} s"
            )
        self._size = size


def source_matrix(frame: av.VideoFrame) -> Colorspace | None:
    """Return the matrix for decoding a frame, or None to use the tagged one."""
    untagged = int(frame.colorspace) == UNSPECIFIED_COLOR
    return Colorspace.ITU709 if untagged and is_hd(frame.width, frame.height) else None


def tag_encoder_colors(context: av.VideoCodecContext, tags: ColorTags) -> Colorspace:
    """Set the color tags of an encoder.

    Args:
        context: encoder with known width and height.
        tags: tags of the source; unspecified ones are set to those of HD or SD.

    Returns:
        The matrix for converting frames to YUV.
    """
    hd = is_hd(context.width, context.height)
    default = _BT709 if hd else _SMPTE170M
    context.colorspace = default
    context.color_primaries = default if tags.primaries == UNSPECIFIED_COLOR else tags.primaries
    context.color_trc = default if tags.transfer == UNSPECIFIED_COLOR else tags.transfer
    context.color_range = 1  # limited, as players expect
    return Colorspace.ITU709 if hd else Colorspace.ITU601


def is_hd(width: int, height: int) -> bool:
    """Return whether untagged frames of this size are encoded with BT.709."""
    return width >= _MAX_SD_SIZE[0] or height > _MAX_SD_SIZE[1]

"""Color matrices of decoded frames, and color tags of encoded videos."""

from typing import Final, NamedTuple

import av
from av.video.reformatter import Colorspace

_UNSPECIFIED: Final = 2  # in every list of ISO/IEC 23091-2
_BT709, _SMPTE170M = 1, 6
_MAX_SD_SIZE: Final = (1280, 576)  # players assume BT.709 (HD) for larger frames without tags


class ColorTags(NamedTuple):
    """Primaries and transfer function of a video as code points of ISO/IEC 23091-2."""

    primaries: int = _UNSPECIFIED
    transfer: int = _UNSPECIFIED


def is_hd(width: int, height: int) -> bool:
    """Return whether untagged frames of this size are encoded with BT.709."""
    return width >= _MAX_SD_SIZE[0] or height > _MAX_SD_SIZE[1]


def source_matrix(frame: av.VideoFrame) -> Colorspace | None:
    """Return the matrix for decoding a frame, or None to use the tagged one."""
    untagged = int(frame.colorspace) == _UNSPECIFIED
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
    context.color_primaries = default if tags.primaries == _UNSPECIFIED else tags.primaries
    context.color_trc = default if tags.transfer == _UNSPECIFIED else tags.transfer
    context.color_range = 1  # limited, as players expect
    return Colorspace.ITU709 if hd else Colorspace.ITU601

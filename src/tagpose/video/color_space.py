"""Color matrices of videos: which one an untagged frame has, and which tags a written one gets."""

from typing import Final, NamedTuple

import av
from av.video.reformatter import Colorspace

_UNSPECIFIED: Final = 2  # in every list of ISO/IEC 23091-2
_BT709, _SMPTE170M = 1, 6
_MAX_SD_SIZE: Final = (1280, 576)  # larger frames are HD: BT.709, which players assume as well


class ColorTags(NamedTuple):
    """Primaries and transfer function of a video, as numbers of ISO/IEC 23091-2."""

    primaries: int = _UNSPECIFIED
    transfer: int = _UNSPECIFIED


def is_hd(width: int, height: int) -> bool:
    """Return whether a frame of that size is encoded with BT.709 unless it is tagged."""
    return width >= _MAX_SD_SIZE[0] or height > _MAX_SD_SIZE[1]


def source_matrix(frame: av.VideoFrame) -> Colorspace | None:
    """Return the matrix to decode a frame with; None for the one that it is tagged with."""
    untagged = int(frame.colorspace) == _UNSPECIFIED
    return Colorspace.ITU709 if untagged and is_hd(frame.width, frame.height) else None


def tag_encoder_colors(context: av.VideoCodecContext, tags: ColorTags) -> Colorspace:
    """Tag an encoder of a known size with its colors.

    Args:
        context: encoder.
        tags: of the source; where they are unspecified, those of HD or SD.

    Returns:
        The matrix to convert its frames with.
    """
    hd = is_hd(context.width, context.height)
    usual = _BT709 if hd else _SMPTE170M
    context.colorspace = usual
    context.color_primaries = usual if tags.primaries == _UNSPECIFIED else tags.primaries
    context.color_trc = usual if tags.transfer == _UNSPECIFIED else tags.transfer
    context.color_range = 1  # limited, as players expect
    return Colorspace.ITU709 if hd else Colorspace.ITU601

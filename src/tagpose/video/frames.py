"""Frames of a video, and what is known of it before they are read."""

from collections.abc import Iterator
from fractions import Fraction
from typing import Final, NamedTuple

import numpy as np

from tagpose.video.audio import AudioTrack
from tagpose.video.color_space import ColorTags

DEFAULT_RATE: Final = Fraction(30)  # frames per second where neither a file nor a camera has a rate


class Frame(NamedTuple):
    """One frame of a video."""

    image: np.ndarray  # [H, W, 3] uint8 RGB, upright, of square pixels
    time: float  # seconds since the first frame, later than the frame before
    duration: float | None = None  # seconds; None where it is unknown


class Video:
    """An opened video.

    Args:
        rate: average number of frames per second; None for the default of 30.
        count: number of frames in the header; 0 where it has none.
        colors: tags of its colors.
        audio: audio stream to copy; None where there is none, or where none was requested.

    Attributes:
        frames: to be read once, in order.
        notes: how frames differ from those stored, one sentence each.
        problems: which parts could not be read so far, one sentence each.
    """

    def __init__(
        self,
        rate: Fraction | None = None,
        *,
        count: int = 0,
        colors: ColorTags | None = None,
        audio: AudioTrack | None = None,
    ) -> None:
        self.rate, self.count, self.audio = rate or DEFAULT_RATE, count, audio
        self.colors = colors or ColorTags()
        self.frames: Iterator[Frame] = iter(())
        self.notes: list[str] = []
        self.problems: list[str] = []

"""Frames of a video, and the properties of an open video."""

from collections.abc import Iterator
from fractions import Fraction
from typing import Final, NamedTuple

import numpy as np

from tagpose.inference.results import PoseResult
from tagpose.video.audio import AudioTrack

DEFAULT_RATE: Final = Fraction(30)  # frames per second of sources without a rate
UNSPECIFIED_COLOR: Final = 2  # color tag, in every list of ISO/IEC 23091-2


class Frame(NamedTuple):
    """One frame of a video."""

    image: np.ndarray  # [H, W, 3] uint8 RGB, upright, with square pixels
    time: float  # seconds since the first frame, strictly increasing
    duration: float | None = None  # seconds; None if unknown


class FrameResult(NamedTuple):
    """Frame of a video with the people in it."""

    number: int  # from 0
    time: float  # seconds since the first frame
    image: np.ndarray  # [H, W, 3] uint8 RGB
    result: PoseResult  # with tracks
    duration: float | None = None  # seconds; None if unknown


class ColorTags(NamedTuple):
    """Primaries and transfer function of a video as code points of ISO/IEC 23091-2."""

    primaries: int = UNSPECIFIED_COLOR
    transfer: int = UNSPECIFIED_COLOR


class Video:
    """Open video.

    Args:
        rate: average number of frames per second; None uses 30.
        count: number of frames according to the header; 0 if unknown.
        duration: duration in seconds according to the header; 0 if unknown.
        colors: color tags.
        audio: audio stream to copy; None if there is none or audio was not requested.

    Attributes:
        frames: iterator over the frames, which can be read once.
        notes: differences between the frames and the file, one sentence each.
        problems: parts that could not be read so far, one sentence each.
    """

    def __init__(
        self,
        rate: Fraction | None = None,
        *,
        count: int = 0,
        duration: float = 0.0,
        colors: ColorTags | None = None,
        audio: AudioTrack | None = None,
    ) -> None:
        self.rate, self.audio = rate or DEFAULT_RATE, audio
        self.count, self.duration = count, duration
        self.colors = colors or ColorTags()
        self.frames: Iterator[Frame] = iter(())
        self.notes: list[str] = []
        self.problems: list[str] = []

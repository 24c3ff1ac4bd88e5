"""Frames of animated GIF, WebP, PNG and AVIF images."""

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Final

from PIL import Image, ImageSequence

from tagpose.data.sources import UNREADABLE, rgb
from tagpose.video.frames import Frame, Video

_SHORTEST, _INSTEAD = 0.011, 0.1  # seconds; browsers show shorter frames that long
_MAX_DENOMINATOR: Final = 1000  # of a rate


@contextmanager
def open_animation(file: Path) -> Iterator[Video]:
    """Open an animated image; transparent pixels are white.

    Raises:
        ValueError: it cannot be read.
    """
    try:
        opened = Image.open(file)
    except UNREADABLE as error:
        raise ValueError(f"{file} cannot be read as an animated image ({error})") from error
    with opened as image:
        count = int(getattr(image, "n_frames", 1))
        rate = 1 / Fraction(_duration(image)).limit_denominator(_MAX_DENOMINATOR)
        video = Video(rate, count=count)
        video.frames = _frames(image, video)
        yield video


def _frames(image: Image.Image, video: Video) -> Iterator[Frame]:
    """Yield the frames as a browser shows them; a broken one ends them."""
    time = 0.0
    try:
        for number, shown in enumerate(ImageSequence.Iterator(image)):
            if number == 0 and image.info.get("default_image"):
                continue  # a PNG's, for programs that do not know animations
            pixels, duration = rgb(shown), _duration(shown)
            yield Frame(pixels, time, duration)
            time += duration
    except UNREADABLE as error:
        video.problems.append(f"it cannot be read after {time:.1f} s ({error})")


def _duration(image: Image.Image) -> float:
    """Return the seconds for which the current frame is shown."""
    image.load()  # WebP and PNG only have the duration afterwards
    seconds = float(image.info.get("duration") or 0) / 1000
    return seconds if seconds >= _SHORTEST else _INSTEAD

"""Opens videos: files, network streams, cameras and animated images."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from fractions import Fraction
from pathlib import Path
from time import monotonic
from typing import Final

import cv2
from PIL import Image, ImageSequence

from tagpose.data.image_files import is_camera
from tagpose.data.images import IMAGE_ERRORS, to_rgb
from tagpose.video.container import open_container
from tagpose.video.frames import Frame, Video
from tagpose.video.inputs import is_animated, is_url


# MERGED: """Frames of animated GIF, WebP, PNG and AVIF images."""
def open_video(source: str, *, audio: bool = False) -> AbstractContextManager[Video]:
    """Open a video file, an animated image, a network stream, or the camera of that number.

    Args:
        source: a path, an address that FFmpeg can open, or a decimal number.
        audio: whether the audio packets are read as well, to be copied by `write_video`.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: it cannot be opened, or has no video.
    """
    if is_camera(source):
        return open_camera(int(source))
    if not is_url(source):
        if not Path(source).is_file():
            raise FileNotFoundError(f"{source} is missing")
        if is_animated(Path(source)):
            return open_animation(Path(source))
    return open_container(source, audio=audio)


@contextmanager
def open_camera(number: int) -> Iterator[Video]:
    """Open a camera of this machine; its frames end when it stops.

    Raises:
        ValueError: there is no such camera.
    """
    camera = cv2.VideoCapture(number)
    try:
        if not camera.isOpened():
            raise ValueError(f"camera {number} cannot be opened; is one plugged in, and free?")
        rate = camera.get(cv2.CAP_PROP_FPS)
        video = Video(Fraction(rate).limit_denominator(1000) if rate > 0 else None)
        video.frames = _camera_frames(camera)
        yield video
    finally:
        camera.release()


def _camera_frames(camera: cv2.VideoCapture) -> Iterator[Frame]:
    """Yield frames of a camera until it stops; it drops frames that are not read in time."""
    start = monotonic()
    while True:
        read, image = camera.read()
        if not read:
            return
        yield Frame(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), monotonic() - start)


_MIN_FRAME_SECONDS, _BROWSER_FRAME_SECONDS = (
    0.011,
    0.1,
)  # seconds; browsers show shorter frames that long
_MAX_DENOMINATOR: Final = 1000  # of a rate


@contextmanager
def open_animation(file: Path) -> Iterator[Video]:
    """Open an animated image; transparent pixels are white.

    Raises:
        ValueError: it cannot be read.
    """
    try:
        opened = Image.open(file)
    except IMAGE_ERRORS as error:
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
            pixels, duration = to_rgb(shown), _duration(shown)
            yield Frame(pixels, time, duration)
            time += duration
    except IMAGE_ERRORS as error:
        video.problems.append(f"it cannot be read after {time:.1f} s ({error})")


def _duration(image: Image.Image) -> float:
    """Return the seconds for which the current frame is shown."""
    image.load()  # WebP and PNG only have the duration afterwards
    seconds = float(image.info.get("duration") or 0) / 1000
    return seconds if seconds >= _MIN_FRAME_SECONDS else _BROWSER_FRAME_SECONDS

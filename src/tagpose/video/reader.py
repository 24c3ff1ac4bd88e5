"""Readers for video files, network streams, cameras and animated images."""

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

_MIN_FRAME_SECONDS: Final = 0.011
_BROWSER_FRAME_SECONDS: Final = 0.1  # used by browsers for frames with shorter durations
_MAX_DENOMINATOR: Final = 1000  # of a frame rate


def open_video(source: str, *, audio: bool = False) -> AbstractContextManager[Video]:
    """Open a video file, an animated image (GIF, WebP, PNG, AVIF), a network stream or a camera.

    Args:
        source: path, URL that FFmpeg can open, or camera number.
        audio: whether to read audio packets as well, so that `write_video` can copy them.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: the source cannot be opened or has no video stream.
    """
    if is_camera(source):
        return open_camera(int(source))
    if not is_url(source):
        if not Path(source).is_file():
            raise FileNotFoundError(f"{source} is missing; check the path of the video")
        if is_animated(Path(source)):
            return open_animation(Path(source))
    return open_container(source, audio=audio)


@contextmanager
def open_camera(number: int) -> Iterator[Video]:
    """Open a camera of this machine; its frames end when it is disconnected.

    Raises:
        ValueError: the camera cannot be opened.
    """
    camera = cv2.VideoCapture(number)
    try:
        if not camera.isOpened():
            raise ValueError(
                f"camera {number} cannot be opened; check that it is connected and not in use"
            )
        rate = camera.get(cv2.CAP_PROP_FPS)
        video = Video(Fraction(rate).limit_denominator(_MAX_DENOMINATOR) if rate > 0 else None)
        video.frames = _camera_frames(camera)
        yield video
    finally:
        camera.release()


def _camera_frames(camera: cv2.VideoCapture) -> Iterator[Frame]:
    """Yield frames until the camera is disconnected; it drops frames that are not read in time."""
    start = monotonic()
    while True:
        success, image = camera.read()
        if not success:
            return
        yield Frame(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), monotonic() - start)


@contextmanager
def open_animation(file: Path) -> Iterator[Video]:
    """Open an animated image; transparent pixels become white.

    Raises:
        ValueError: the file cannot be read.
    """
    try:
        opened = Image.open(file)
    except IMAGE_ERRORS as error:
        raise ValueError(
            f"{file} cannot be read as an animated image ({error}); export it again"
        ) from error
    with opened as image:
        count = int(getattr(image, "n_frames", 1))
        rate = 1 / Fraction(_frame_duration(image)).limit_denominator(_MAX_DENOMINATOR)
        video = Video(rate, count=count)
        video.frames = _animation_frames(image, video)
        yield video


def _animation_frames(image: Image.Image, video: Video) -> Iterator[Frame]:
    """Yield the frames with the durations of browsers, up to the first broken frame."""
    time = 0.0
    try:
        for number, frame in enumerate(ImageSequence.Iterator(image)):
            if number == 0 and image.info.get("default_image"):
                continue  # fallback of a PNG for programs that do not support animations
            pixels, duration = to_rgb(frame), _frame_duration(frame)
            yield Frame(pixels, time, duration)
            time += duration
    except IMAGE_ERRORS as error:
        video.problems.append(f"the animation cannot be read after {time:.1f} s ({error})")


def _frame_duration(image: Image.Image) -> float:
    """Return the duration of the current frame in seconds."""
    image.load()  # WebP and PNG only have the duration afterwards
    seconds = float(image.info.get("duration") or 0) / 1000
    return seconds if seconds >= _MIN_FRAME_SECONDS else _BROWSER_FRAME_SECONDS

"""Opens videos: files, network streams, cameras and animated images."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from fractions import Fraction
from pathlib import Path
from time import monotonic

import cv2

from tagpose.data.images import is_camera
from tagpose.video.animation import open_animation
from tagpose.video.container import open_container
from tagpose.video.frames import Frame, Video
from tagpose.video.inputs import is_address, is_animated


def open_video(source: str, *, sound: bool = False) -> AbstractContextManager[Video]:
    """Open a video file, an animated image, a network stream, or the camera of that number.

    Args:
        source: a path, an address that FFmpeg can open, or a decimal number.
        sound: whether the audio packets are read as well, to be copied by `write_video`.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: it cannot be opened, or has no video.
    """
    if is_camera(source):
        return open_camera(int(source))
    if not is_address(source):
        if not Path(source).is_file():
            raise FileNotFoundError(f"{source} is missing")
        if is_animated(Path(source)):
            return open_animation(Path(source))
    return open_container(source, sound=sound)


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

"""Which paths, patterns and addresses are videos, and which are pictures."""

from glob import glob
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit, urlunsplit

from PIL import Image

from tagpose.data.images import is_camera, list_images
from tagpose.data.sources import UNREADABLE

_VIDEOS: Final = (
    *(".asf", ".avi", ".f4v", ".flv", ".mkv", ".mov", ".mxf", ".ogv", ".vob", ".webm", ".wmv"),
    *(".3gp", ".m2ts", ".m4v", ".mp4", ".mpeg", ".mpg", ".mts", ".ts"),
)
_MAYBE_ANIMATED: Final = (".apng", ".avif", ".gif", ".png", ".webp")
_PICTURES: Final = (".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


class Inputs(NamedTuple):
    """The inputs of a prediction."""

    pictures: list[Path]
    videos: list[str]  # paths, an address, or the number of a camera
    single: bool  # whether one video was named itself, not by its folder or a pattern


def find_inputs(named: str) -> Inputs:
    """Return the pictures and videos that a path, pattern, address or camera number names.

    Raises:
        FileNotFoundError: there is neither a picture nor a video.
        ValueError: it is the address of a picture, or of a kind that no stream has.
    """
    if is_camera(named) or (is_address(named) and _check_address(named)):
        return Inputs([], [named], single=True)
    path = Path(named)
    if path.is_file():
        video = is_video(path)
        return Inputs([] if video else [path], [named] if video else [], single=video)
    inside = path.iterdir() if path.is_dir() else map(Path, glob(named, recursive=True))  # noqa: PTH207 -- any pattern
    videos = sorted(file for file in inside if file.is_file() and is_video(file))
    try:
        pictures = [file for file in list_images(named) if file not in set(videos)]
    except FileNotFoundError:
        if not videos:
            raise
        pictures = []
    return Inputs(pictures, list(map(str, videos)), single=False)


def is_video(file: Path) -> bool:
    """Return whether a file is a video by its ending, or an animated image by its content."""
    return file.suffix.lower() in _VIDEOS or is_animated(file)


def is_animated(file: Path) -> bool:
    """Return whether a file is an image of several frames that are shown one after the other."""
    if file.suffix.lower() not in _MAYBE_ANIMATED:
        return False
    try:
        with Image.open(file) as image:
            return getattr(image, "is_animated", False)
    except UNREADABLE:
        return False  # reported by whatever reads it as a picture


def is_address(named: str) -> bool:
    """Return whether a string is an address such as rtsp://camera/1, and no file."""
    return "://" in named


def without_password(source: str) -> str:
    """Return a source without the user and password that an address may have, for messages."""
    if not is_address(source):
        return source
    parts = urlsplit(source)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def output_name(source: str) -> str:
    """Return the name, without an ending, of the files that are written for a video."""
    if is_address(source):
        parts = urlsplit(source)
        return Path(parts.path).stem or parts.hostname or "stream"
    return Path(source).stem


def _check_address(named: str) -> bool:
    """Refuse the address of a picture; return True for others."""
    if Path(urlsplit(named).path).suffix.lower() in _PICTURES:
        raise ValueError(f"images={named} is an address of a picture; fetch it, and name the file")
    return True

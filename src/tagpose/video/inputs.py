"""Which paths, patterns and addresses are videos, and which are pictures."""

from glob import glob
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit, urlunsplit

from PIL import Image

from tagpose.data.image_files import is_camera, list_images
from tagpose.data.images import IMAGE_ERRORS

_VIDEO_SUFFIXES: Final = (
    *(".asf", ".avi", ".f4v", ".flv", ".mkv", ".mov", ".mxf", ".ogv", ".vob", ".webm", ".wmv"),
    *(".3gp", ".m2ts", ".m4v", ".mp4", ".mpeg", ".mpg", ".mts", ".ts"),
)
_ANIMATION_SUFFIXES: Final = (".apng", ".avif", ".gif", ".png", ".webp")
_IMAGE_SUFFIXES: Final = (
    ".avif",
    ".bmp",
    ".gif",
    ".jpeg",
    ".jpg",
    ".png",
    ".tif",
    ".tiff",
    ".webp",
)


class Inputs(NamedTuple):
    """The inputs of a prediction."""

    pictures: list[Path]
    videos: list[str]  # paths, an address, or the number of a camera
    single: bool  # whether one video was named itself, not by its folder or a pattern


def find_inputs(source: str) -> Inputs:
    """Return the pictures and videos that a path, pattern, address or camera number names.

    Raises:
        FileNotFoundError: there is neither a picture nor a video.
        ValueError: it is the address of a picture, or of a kind that no stream has.
    """
    if is_camera(source) or (is_url(source) and _check_stream_url(source)):
        return Inputs([], [source], single=True)
    path = Path(source)
    if path.is_file():
        video = is_video(path)
        return Inputs([] if video else [path], [source] if video else [], single=video)
    inside = path.iterdir() if path.is_dir() else map(Path, glob(source, recursive=True))  # noqa: PTH207 -- any pattern
    videos = sorted(file for file in inside if file.is_file() and is_video(file))
    try:
        pictures = [file for file in list_images(source) if file not in set(videos)]
    except FileNotFoundError:
        if not videos:
            raise
        pictures = []
    return Inputs(pictures, list(map(str, videos)), single=False)


def is_video(file: Path) -> bool:
    """Return whether a file is a video by its ending, or an animated image by its content."""
    return file.suffix.lower() in _VIDEO_SUFFIXES or is_animated(file)


def is_animated(file: Path) -> bool:
    """Return whether a file is an image of several frames that are shown one after the other."""
    if file.suffix.lower() not in _ANIMATION_SUFFIXES:
        return False
    try:
        with Image.open(file) as image:
            return getattr(image, "is_animated", False)
    except IMAGE_ERRORS:
        return False  # reported by whatever reads it as a picture


def is_url(source: str) -> bool:
    """Return whether a string is an address such as rtsp://camera/1, and no file."""
    return "://" in source


def redact_password(source: str) -> str:
    """Return a source without the user and password that an address may have, for messages."""
    if not is_url(source):
        return source
    parts = urlsplit(source)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def output_stem(source: str) -> str:
    """Return the name, without an ending, of the files that are written for a video."""
    if is_url(source):
        parts = urlsplit(source)
        return Path(parts.path).stem or parts.hostname or "stream"
    return Path(source).stem


def _check_stream_url(source: str) -> bool:
    """Refuse the address of a picture; return True for others."""
    if Path(urlsplit(source).path).suffix.lower() in _IMAGE_SUFFIXES:
        raise ValueError(f"images={source} is an address of a picture; fetch it, and name the file")
    return True

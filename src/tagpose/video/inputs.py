"""Inputs of a prediction: paths, patterns and URLs of images and videos, and cameras."""

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
    """Images and videos to predict."""

    pictures: list[Path]
    videos: list[str]  # paths, a URL, or a camera number
    single: bool  # whether the source is one video rather than a folder or pattern


def find_inputs(source: str) -> Inputs:
    """Return the images and videos of a path, glob pattern, URL or camera number.

    Raises:
        FileNotFoundError: there are neither images nor videos.
        ValueError: the source is the URL of an image.
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
    """Return whether a file has the suffix of a video, or is an animated image."""
    return file.suffix.lower() in _VIDEO_SUFFIXES or is_animated(file)


def is_animated(file: Path) -> bool:
    """Return whether a file is an animated image."""
    if file.suffix.lower() not in _ANIMATION_SUFFIXES:
        return False
    try:
        with Image.open(file) as image:
            return getattr(image, "is_animated", False)
    except IMAGE_ERRORS:
        return False  # the error is raised when the file is read as an image


def is_url(source: str) -> bool:
    """Return whether a source is a URL, such as rtsp://camera/1, rather than a file."""
    return "://" in source


def redact_password(source: str) -> str:
    """Return a source without the user name and password of a URL, for messages."""
    if not is_url(source):
        return source
    parts = urlsplit(source)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def output_stem(source: str) -> str:
    """Return the stem of the output files of a video."""
    if is_url(source):
        parts = urlsplit(source)
        return Path(parts.path).stem or parts.hostname or "stream"
    return Path(source).stem


def _check_stream_url(source: str) -> bool:
    """Return True for URLs that may be streams, and reject URLs of images."""
    if Path(urlsplit(source).path).suffix.lower() in _IMAGE_SUFFIXES:
        raise ValueError(
            f"images={source} is the URL of an image, but only videos are streamed; download the "
            "image and pass its path"
        )
    return True

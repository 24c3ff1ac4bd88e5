"""Inputs of a prediction: paths, patterns and URLs of images and videos, and cameras."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit, urlunsplit

from tagpose.data.image_files import IMAGE_EXTENSIONS, is_camera, is_image_name, list_paths
from tagpose.data.images import IMAGE_ERRORS, open_image

_VIDEO_SUFFIXES: Final = (
    *(".asf", ".avi", ".f4v", ".flv", ".mkv", ".mov", ".mxf", ".ogv", ".vob", ".webm", ".wmv"),
    *(".3gp", ".m2ts", ".m4v", ".mp4", ".mpeg", ".mpg", ".mts", ".ts"),
)
_MAX_KINDS: Final = 8  # suffixes that a note lists
_ANIMATION_SUFFIXES: Final = (".apng", ".avif", ".avifs", ".gif", ".png", ".webp")


class Inputs(NamedTuple):
    """Images and videos to predict."""

    pictures: list[Path]
    videos: list[str]  # paths, a URL, or a camera number
    single: bool  # whether the source is one video rather than a folder or pattern
    notes: tuple[str, ...] = ()  # sentences on files and folders that are skipped


def find_inputs(source: str) -> Inputs:
    """Return the images and videos of a path, glob pattern, URL or camera number.

    Hidden files of a folder are left out without a note, as by `list_paths`.

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
    inside = list_paths(source)
    videos = {file for file in inside if file.is_file() and is_video(file)}
    images = [file for file in inside if is_image_name(file) and file not in videos]
    notes = _describe_skipped(source, [path for path in inside if path not in {*videos, *images}])
    if not images and not videos:
        found = "".join(f" ({note})" for note in notes)
        raise FileNotFoundError(
            f"no images found at {source}{found}; set images= to an image file, a folder or a "
            "pattern"
        )
    return Inputs(images, sorted(map(str, videos)), single=False, notes=notes)


def _describe_skipped(source: str, skipped: Sequence[Path]) -> tuple[str, ...]:
    """Return a sentence on files that are not images or videos, and one on subfolders."""
    folders = [] if "**" in source else [path for path in skipped if path.is_dir()]
    suffixes = Counter(path.suffix or path.name for path in skipped if path.is_file())
    notes = []
    if suffixes:
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in suffixes.most_common(_MAX_KINDS))
        others = ", ..." if len(suffixes) > _MAX_KINDS else ""
        notes.append(f"skipped {suffixes.total()} files of unsupported types: {kinds}{others}")
    if folders:
        pattern = Path(source) / "**/*" if Path(source).is_dir() else "FOLDER/**/*"
        notes.append(f"skipped {len(folders)} subfolders; images='{pattern}' includes them")
    return tuple(notes)


def is_video(file: Path) -> bool:
    """Return whether a file has the suffix of a video, or is an animated image."""
    return file.suffix.lower() in _VIDEO_SUFFIXES or is_animated(file)


def is_animated(file: Path) -> bool:
    """Return whether a file is an animated image."""
    if file.suffix.lower() not in _ANIMATION_SUFFIXES:
        return False
    try:
        with open_image(file) as image:
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
    if Path(urlsplit(source).path).suffix.lower() in IMAGE_EXTENSIONS:
        raise ValueError(
            f"images={source} is the URL of an image, but only videos are streamed; download the "
            "image and pass its path"
        )
    return True

"""Summary of a finished video, by which a resumed prediction recognises it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tagpose.io import write_json
from tagpose.video.inputs import is_url, redact_password

if TYPE_CHECKING:  # they need the extra `video`, and programs say so later
    from tagpose.video.frames import Video
    from tagpose.video.smoothing import FrameResult

_NAME: Final = "video.json"


def write_summary(
    folder: Path,
    source: str,
    video: "Video",
    settings: Mapping[str, Any],
    last: "FrameResult",
) -> None:
    """Write video.json after everything else of a video.

    Args:
        folder: of the video's results.
        source: of the video.
        video: after its frames were read.
        settings: that the results depend on, plain values.
        last: its last frame.
    """
    about = {"frames": last.number + 1, "last_time": round(last.time, 4)}
    found = {"notes": video.notes, "problems": video.problems}
    write_json(folder / _NAME, {**_identity(source, settings), **about, **found})


def is_finished(folder: Path, source: str, settings: Mapping[str, Any]) -> bool:
    """Return whether the same file was finished in a folder with the same settings."""
    try:
        summary = json.loads((folder / _NAME).read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return False
    # through JSON, as tuples become lists
    wanted = json.loads(json.dumps(_identity(source, settings)))
    return all(summary.get(key) == value for key, value in wanted.items())


def remove_summary(folder: Path) -> None:
    """Remove the summary before a video is predicted again."""
    (folder / _NAME).unlink(missing_ok=True)


def _identity(source: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what must be equal: the file as it is, and the settings."""
    about: dict[str, Any] = {"video": redact_password(source), "settings": dict(settings)}
    file = Path(source)
    if not is_url(source) and file.is_file():
        status = file.stat()
        about |= {"bytes": status.st_size, "modified": status.st_mtime_ns}
    return about

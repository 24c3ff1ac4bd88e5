"""Summary that marks a video as finished, so that `resume=true` skips it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tagpose.io import write_json
from tagpose.video.inputs import is_url, redact_password

if TYPE_CHECKING:  # these modules need the extra `video`, which programs check later
    from tagpose.video.frames import FrameResult, Video

_NAME: Final = "video.json"


def write_summary(
    folder: Path,
    source: str,
    video: "Video",
    settings: Mapping[str, Any],
    last: "FrameResult",
) -> None:
    """Write video.json, the last of a video's result files.

    Args:
        folder: folder of the video's results.
        source: path, URL or camera number of the video.
        video: video whose frames have been read.
        settings: JSON-serializable settings that the results depend on.
        last: result of the last frame.
    """
    length = {"frames": last.number + 1, "last_time": round(last.time, 4)}
    messages = {"notes": video.notes, "problems": video.problems}
    write_json(folder / _NAME, {**_identity(source, settings), **length, **messages})


def is_finished(folder: Path, source: str, settings: Mapping[str, Any]) -> bool:
    """Return whether the folder has a summary of the same file with the same settings."""
    try:
        summary = json.loads((folder / _NAME).read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return False
    # The round trip through JSON converts tuples to lists.
    expected = json.loads(json.dumps(_identity(source, settings)))
    return all(summary.get(key) == value for key, value in expected.items())


def remove_summary(folder: Path) -> None:
    """Remove the summary, before a video is predicted again."""
    (folder / _NAME).unlink(missing_ok=True)


def _identity(source: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings, size and modification time, which must be unchanged to skip a video."""
    identity: dict[str, Any] = {"video": redact_password(source), "settings": dict(settings)}
    file = Path(source)
    if not is_url(source) and file.is_file():
        status = file.stat()
        identity |= {"bytes": status.st_size, "modified": status.st_mtime_ns}
    return identity

"""Output files of a predicted video: result files, and the video with drawn poses."""

from collections.abc import Iterator
from contextlib import nullcontext
from itertools import chain
from pathlib import Path

from tagpose.inference.image_outputs import OutputOptions
from tagpose.video.frames import FrameResult, Video
from tagpose.video.inputs import output_stem, redact_password
from tagpose.video.writer import write_video_like


def write_video_outputs(
    frames: Iterator[FrameResult], video: Video, source: str, folder: Path, options: OutputOptions
) -> FrameResult:
    """Write the results of a video, and the video with drawn poses, and return the last frame.

    After an error, the frames before it are written, then it is raised.

    Args:
        frames: results of the frames.
        video: open video.
        source: path or address of the video, which names the output.
        folder: output folder.
        options: formats, filter and style.

    Raises:
        ValueError: there are no frames.
    """
    first = next(frames, None)  # before any file is opened: an empty video leaves none
    if first is None:
        name = redact_password(source)
        raise ValueError("; ".join([f"{name} has no frames that can be read", *video.problems]))
    failure, file = None, folder / f"{output_stem(source)}.mp4"
    with options.open_results(folder, rate=float(video.rate)) as write_result:
        drawing = write_video_like(file, video) if "pictures" in options.formats else nullcontext()
        with drawing as writer:
            try:
                for current in chain([first], frames):
                    position = {"frame": current.number, "time": round(current.time, 4)}
                    write_result(current.number, position, current.result)
                    if writer:
                        image = options.draw(current.image, current.result)
                        writer.add(image, current.time, current.duration)
            except (Exception, KeyboardInterrupt) as error:
                failure = error
    if failure:
        raise failure
    return current

"""Writer of H.264 videos, which browsers can play, and of the other output files of a video."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Final

import av
import cv2
import numpy as np
from av.codec.context import Flags

from tagpose.inference.image_outputs import OutputOptions
from tagpose.io import atomic_write
from tagpose.video.audio import AudioTrack
from tagpose.video.color_conversion import tag_encoder_colors
from tagpose.video.frames import ColorTags, FrameResult, Video
from tagpose.video.inputs import output_stem, redact_password
from tagpose.video.timestamps import TICK

# Without B-frames, the last packet is the last frame. The MP4 muxer computes the total duration
# from the last packet, so it is exact.
_ENCODER_OPTIONS: Final = {"crf": "20", "bf": "0"}


class VideoWriter:
    """Encode frames and copy audio into an open container.

    Args:
        container: output container.
        rate: average number of frames per second.
        colors: color tags.
        audio: audio stream to copy, or None.

    Attributes:
        notes: changes to frames and audio, one sentence each.
    """

    def __init__(
        self,
        container: av.container.OutputContainer,
        rate: Fraction,
        colors: ColorTags,
        audio: AudioTrack | None,
    ) -> None:
        self._container, self._interval, self._colors = container, float(1 / rate), colors
        self._stream = container.add_stream("libx264", rate=rate, options=_ENCODER_OPTIONS)
        self._stream.pix_fmt = "yuv420p"
        self._context = self._stream.codec_context
        # The encoder needs the same clock; otherwise times are rounded to multiples of 1 / rate.
        self._stream.time_base = self._context.time_base = TICK
        self._context.flags |= Flags.frame_duration
        self.notes: list[str] = []
        self._audio, self._audio_output = audio, self._add_audio(audio)
        self._resized = 0

    @property
    def empty(self) -> bool:
        """Whether no frames have been added."""
        return not self._context.is_open

    def add(self, image: np.ndarray, time: float, duration: float | None = None) -> None:
        """Add a frame.

        Args:
            image: frame [H, W, 3] uint8 RGB; it is letterboxed to the size of the first frame.
            time: time in seconds, strictly increasing.
            duration: duration in seconds, which matters for the last frame; by default 1 / rate.
        """
        # Chroma has half the resolution, so width and height must be even.
        even = np.pad(image, ((0, image.shape[0] % 2), (0, image.shape[1] % 2), (0, 0)), "edge")
        if self.empty:
            self._context.height, self._context.width = even.shape[:2]
            self._matrix = tag_encoder_colors(self._context, self._colors)
        size = self._context.width, self._context.height
        if even.shape[1::-1] != size:
            even = _letterbox(image, size)
            self._resized += 1
        frame = av.VideoFrame.from_ndarray(even, format="rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace=self._matrix)
        frame.time_base, frame.pts = TICK, round(time / TICK)
        frame.duration = round((duration or self._interval) / TICK)
        self._container.mux(self._stream.encode(frame))
        self._copy_audio(time + (duration or self._interval))

    def finish(self) -> None:
        """Flush the encoder and collect the notes."""
        self._container.mux(self._stream.encode())
        width, height = self._context.width, self._context.height
        if self._resized:
            self.notes.append(
                f"{self._resized} frames of a different size are letterboxed to {width} x {height} "
                "pixels in the output video"
            )
        if self._audio and self._audio.dropped:
            self.notes.append(
                f"{self._audio.dropped} audio packets without increasing times are dropped"
            )
        if self._audio and self._audio.ended_at is not None:
            self.notes.append(
                f"the audio is dropped after {self._audio.ended_at:.1f} s, where its clock restarts"
            )

    def _add_audio(self, audio: AudioTrack | None) -> av.AudioStream | None:
        """Add a stream for the audio if the container supports its codec."""
        if audio is None:
            return None
        codec = audio.stream.codec_context.name
        if audio.stream.codec_context.codec.canonical_name in self._container.supported_codecs:
            return self._container.add_stream_from_template(audio.stream)
        container_format = self._container.format.name.upper()
        self.notes.append(
            f"the audio is dropped because {container_format} does not support {codec}"
        )
        return None

    def _copy_audio(self, until: float) -> None:
        """Copy the audio up to a time in seconds."""
        if self._audio is None:
            return
        for packet in self._audio.until(until):
            if self._audio_output is not None:
                packet.stream = self._audio_output
                self._container.mux(packet)


@contextmanager
def write_video(
    file: Path,
    rate: Fraction,
    *,
    colors: ColorTags | None = None,
    audio: AudioTrack | None = None,
) -> Iterator[VideoWriter]:
    """Open a writer for a video file, which is written atomically.

    Args:
        file: path; the suffix, such as .mp4, determines the container.
        rate: average number of frames per second; the times of frames may be irregular.
        colors: color tags; by default those of HD or SD.
        audio: audio stream to copy.

    Raises:
        ValueError: no frames were added.
    """
    with atomic_write(file) as partial, av.open(str(partial), "w") as container:
        writer = VideoWriter(container, rate, colors or ColorTags(), audio)
        yield writer
        if writer.empty:
            raise ValueError(
                f"{file} was not written because no frame could be read; check the input video"
            )
        writer.finish()


@contextmanager
def write_video_like(file: Path, video: Video) -> Iterator[VideoWriter]:
    """Open a writer with the rate, colors and audio of a video, and add its notes to the video."""
    with write_video(file, video.rate, colors=video.colors, audio=video.audio) as writer:
        yield writer
    video.notes.extend(writer.notes)


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


def _letterbox(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize an image [H, W, 3] to a width and height, with black bars that keep the aspect."""
    scale = min(size[0] / image.shape[1], size[1] / image.shape[0])
    width, height = (max(1, round(length * scale)) for length in image.shape[1::-1])
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    canvas = np.zeros((size[1], size[0], 3), np.uint8)
    top, left = (size[1] - height) // 2, (size[0] - width) // 2
    canvas[top : top + height, left : left + width] = cv2.resize(
        image, (width, height), interpolation=interpolation
    )
    return canvas

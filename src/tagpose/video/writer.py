"""Writes videos in H.264, which browsers play."""

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
import cv2
import numpy as np
from av.codec.context import Flags

from tagpose.io import atomic_write
from tagpose.video.audio import AudioTrack
from tagpose.video.color_space import ColorTags, tag_encoder_colors
from tagpose.video.frames import Video
from tagpose.video.timestamps import TICK

# Without B-frames the last packet is the last frame, and MP4 has the exact duration: its muxer adds
# the duration of the last packet to the time of the one before.
_ENCODER_OPTIONS: Final = {"crf": "20", "bf": "0"}


class VideoWriter:
    """Encodes frames into an opened container.

    Args:
        container: to write to.
        rate: average number of frames per second.
        colors: tags of the colors.
        audio: audio stream to copy; None for none.

    Attributes:
        notes: how the frames and the audio were changed, one sentence each.
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
        # the encoder's clock, too, else times between multiples of 1 / rate collide
        self._stream.time_base = self._context.time_base = TICK
        self._context.flags |= Flags.frame_duration
        self.notes: list[str] = []
        self._audio, self._audio_output = audio, self._add_audio(audio)
        self._resized = 0

    @property
    def empty(self) -> bool:
        """Whether no frame was added."""
        return not self._context.is_open

    def add(self, image: np.ndarray, time: float, duration: float | None = None) -> None:
        """Add a frame.

        Args:
            image: [H, W, 3] uint8 RGB. A frame of another size than the first is fitted into that,
                with black bars.
            time: in seconds, later than that of the frame before.
            duration: seconds for which it is shown if it is the last; by default 1 / rate.
        """
        # chroma has half the resolution, so sides must be even
        even = np.pad(image, ((0, image.shape[0] % 2), (0, image.shape[1] % 2), (0, 0)), "edge")
        if self.empty:
            self._context.height, self._context.width = even.shape[:2]
            self._matrix = tag_encoder_colors(self._context, self._colors)
        size = self._context.width, self._context.height
        if even.shape[1::-1] != size:
            even = letterbox(image, size)
            self._resized += 1
        frame = av.VideoFrame.from_ndarray(even, format="rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace=self._matrix)
        frame.time_base, frame.pts = TICK, round(time / TICK)
        frame.duration = round((duration or self._interval) / TICK)
        self._container.mux(self._stream.encode(frame))
        self._copy_audio(time + (duration or self._interval))

    def finish(self) -> None:
        """Write what the encoder holds back."""
        self._container.mux(self._stream.encode())
        width, height = self._context.width, self._context.height
        if self._resized:
            self.notes.append(
                f"{self._resized} frames of another size are fitted into {width} x {height} pixels "
                "of the drawn video"
            )
        if self._audio and self._audio.dropped:
            self.notes.append(f"{self._audio.dropped} packets of its sound had no rising times")
        if self._audio and self._audio.ended_at is not None:
            self.notes.append(
                f"its sound is dropped after {self._audio.ended_at:.1f} s, where its clock restarts"
            )

    def _add_audio(self, audio: AudioTrack | None) -> av.AudioStream | None:
        """Add a stream for the audio if the container can hold it."""
        if audio is None:
            return None
        codec = audio.stream.codec_context.name
        if audio.stream.codec_context.codec.canonical_name in self._container.supported_codecs:
            return self._container.add_stream_from_template(audio.stream)
        kind = self._container.format.name.upper()
        self.notes.append(f"its sound is dropped: {kind} files cannot hold {codec}")
        return None

    def _copy_audio(self, until: float) -> None:
        """Copy the audio up to a time in seconds."""
        if self._audio is None:
            return
        for packet in self._audio.until(until):
            if self._audio_output is not None:
                packet.stream = self._audio_output
                self._container.mux(packet)


def letterbox(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Scale an image [H, W, 3] to fit into a size, width and height, centred between black bars."""
    scale = min(size[0] / image.shape[1], size[1] / image.shape[0])
    width, height = (max(1, round(length * scale)) for length in image.shape[1::-1])
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    canvas = np.zeros((size[1], size[0], 3), np.uint8)
    top, left = (size[1] - height) // 2, (size[0] - width) // 2
    canvas[top : top + height, left : left + width] = cv2.resize(
        image, (width, height), interpolation=how
    )
    return canvas


@contextmanager
def write_video(
    file: Path,
    rate: Fraction,
    *,
    colors: ColorTags | None = None,
    audio: AudioTrack | None = None,
) -> Iterator[VideoWriter]:
    """Write a video, all of it or no file.

    Args:
        file: its ending decides the container, such as .mp4.
        rate: average number of frames per second; their times may be irregular.
        colors: tags of the colors; by default those of HD or SD.
        audio: audio stream to copy.

    Raises:
        ValueError: no frame was added.
    """
    with atomic_write(file) as partial, av.open(str(partial), "w") as container:
        writer = VideoWriter(container, rate, colors or ColorTags(), audio)
        yield writer
        if writer.empty:
            raise ValueError(f"{file} is not written, because no frame could be read")
        writer.finish()


@contextmanager
def write_video_like(file: Path, video: Video) -> Iterator[VideoWriter]:
    """Write a video at the rate of another, with its colors and audio; notes go to that one."""
    with write_video(file, video.rate, colors=video.colors, audio=video.audio) as writer:
        yield writer
    video.notes.extend(writer.notes)

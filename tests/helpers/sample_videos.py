"""Small videos of many formats, encoded and decoded with PyAV."""

from fractions import Fraction

import av
import numpy as np

TICK = Fraction(1, 90_000)


def gray_frame(level, height=48, width=64):
    """Return a frame of one gray level, which compression hardly changes."""
    return np.full((height, width, 3), level, np.uint8)


def make_video(
    file, images, times=None, *, rate=10, codec="libx264", pix_fmt="yuv420p", options=None,
    time_base=None, prepare=None, audio_codec=None, duration=None,
):  # fmt: skip
    """Write images [H, W, 3] at times in seconds, by default at the rate.

    `prepare` is called with the stream before it is opened. With an `audio_codec`, a tone is added,
    by default as long as the video.
    """
    times = [n / rate for n in range(len(images))] if times is None else times
    with av.open(str(file), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(rate), options=options or {})
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = pix_fmt
        if time_base:
            stream.time_base = stream.codec_context.time_base = time_base
        if prepare:
            prepare(stream)
        audio = add_audio(container, audio_codec) if audio_codec else None
        base = time_base or Fraction(1, rate)
        for image, time in zip(images, times, strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = round(Fraction(time) / base), base
            container.mux(stream.encode(frame))
        if audio:
            write_tone(container, audio, duration or times[-1] + 1 / rate)
        container.mux(stream.encode())
    return file


def add_audio(container, codec):
    stream = container.add_stream(codec, rate=44_100)
    stream.layout = "mono"
    return stream


def write_tone(container, stream, seconds):
    phase = 440 * 2 * np.pi * np.arange(int(44_100 * seconds)) / 44_100
    samples = (8000 * np.sin(phase)).astype(np.int16)[None]
    frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
    frame.rate, frame.pts = 44_100, 0
    container.mux(stream.encode(frame))
    container.mux(stream.encode())


def write_two_streams(file, first, second, default=None):
    """Write two video streams with one frame each; `default` is the index of the default stream."""
    with av.open(str(file), "w") as container:
        streams = []
        for image in (first, second):
            stream = container.add_stream("libx264", rate=10)
            stream.height, stream.width = image.shape[:2]
            stream.pix_fmt = "yuv420p"
            streams.append(stream)
        for index, stream in enumerate(streams):
            is_default = default in (None, index)
            stream.disposition = av.stream.Disposition.default if is_default else 0
        for stream, image in zip(streams, (first, second), strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = 0
            container.mux(stream.encode(frame))
            container.mux(stream.encode())
    return file


def decode(file):
    """Return times [N], images and duration of a video file, decoded without tagpose."""
    with av.open(file if hasattr(file, "read") else str(file)) as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
        return (
            np.array([frame.time for frame in frames]),
            [frame.to_ndarray(format="rgb24") for frame in frames],
            container.duration / av.time_base,
        )

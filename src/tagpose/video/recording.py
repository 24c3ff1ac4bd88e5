"""This file writes videos."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TypeAlias

import av
import numpy as np

from tagpose.video.frames import TICK
from tagpose.writing import whole

Add: TypeAlias = Callable[[np.ndarray, float], None]


@contextmanager
def recording(file: Path, rate: Fraction) -> Iterator[Add]:
    """Write a video in H.264, which browsers play; whole, or not at all.

    Args:
        file: its ending says in what container, such as .mp4.
        rate: frames a second, on average.

    Yields:
        What takes a frame [H, W, 3] uint8 RGB, all of one size, and its time in seconds.
    """
    with whole(file) as partial, av.open(str(partial), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "20"})
        stream.pix_fmt, stream.time_base = "yuv420p", TICK

        def add(image: np.ndarray, time: float) -> None:
            # colours have half the resolution, so sides must be even
            even = np.pad(image, ((0, image.shape[0] % 2), (0, image.shape[1] % 2), (0, 0)), "edge")
            if not stream.codec_context.is_open:
                stream.height, stream.width = even.shape[:2]
            frame = av.VideoFrame.from_ndarray(even, format="rgb24")
            frame.time_base, frame.pts = TICK, round(time / TICK)
            container.mux(stream.encode(frame))

        yield add
        if not stream.codec_context.is_open:
            raise ValueError(f"{file} is not written: there was no frame that could be seen")
        container.mux(stream.encode())

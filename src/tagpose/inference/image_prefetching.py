"""Image prefetching: read and preprocess images in threads while the network computes."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from torch.utils.data import default_collate

from tagpose.data.images import ImageSource, load_image
from tagpose.data.preprocessing import ScaledInputs
from tagpose.inference.batch_decoding import Pending
from tagpose.structures import Poses

_READER_THREADS: Final = 4

Preprocess: TypeAlias = Callable[[np.ndarray], ScaledInputs]


class LoadedImage(NamedTuple):
    """An image and its network inputs, or the error of reading it."""

    source: Any  # as passed by the caller
    image: np.ndarray | None  # [H, W, 3] uint8 RGB; None if it cannot be read
    inputs: ScaledInputs | None
    error: Exception | None


class PendingChunk(NamedTuple):
    """Poses that are being computed for a chunk of images."""

    batches: list[tuple[list[int], Pending[list[Poses]]]]  # indices in the chunk, their poses

    def result(self) -> dict[int, Poses]:
        """Wait for the poses, by index in the chunk; unreadable images have none."""
        return {
            index: poses
            for indices, pending in self.batches
            for index, poses in zip(indices, pending.result(), strict=True)
        }


def prefetch_chunks(
    images: Iterable[ImageSource], preprocess: Preprocess, batch_size: int
) -> Generator[list[LoadedImage], None, None]:
    """Yield chunks of up to `batch_size` images while threads read the following ones.

    Args:
        images: image sources, consumed lazily.
        preprocess: turns an image [H, W, 3] uint8 RGB into network inputs.
        batch_size: number of images in a chunk.
    """
    with ThreadPoolExecutor(_READER_THREADS) as readers:
        submitted = (readers.submit(_load, source, preprocess) for source in images)
        waiting: deque[Future[LoadedImage]] = deque(
            islice(submitted, 2 * max(batch_size, _READER_THREADS))
        )
        try:
            while waiting:
                count = min(batch_size, len(waiting))
                chunk = [waiting.popleft().result() for _ in range(count)]
                waiting.extend(islice(submitted, count))
                yield chunk
        finally:  # a caller that stops early does not wait for images that were read ahead
            readers.shutdown(cancel_futures=True)


def submit_chunk(
    chunk: Sequence[LoadedImage], submit: Callable[[ScaledInputs], Pending[list[Poses]]]
) -> PendingChunk:
    """Submit the readable images of a chunk, in one batch for each input size.

    Args:
        chunk: images from `prefetch_chunks`.
        submit: runs the network on a batch.
    """
    indices_by_shape: dict[tuple[int, ...], list[int]] = {}
    for index, loaded in enumerate(chunk):
        if loaded.inputs is not None:
            indices_by_shape.setdefault(tuple(loaded.inputs.images[0].shape), []).append(index)
    return PendingChunk(
        [
            (indices, submit(default_collate([chunk[index].inputs for index in indices])))
            for indices in indices_by_shape.values()
        ]
    )


def _load(source: Any, preprocess: Preprocess) -> LoadedImage:
    """Read and preprocess an image, or return the error."""
    failed = partial(LoadedImage, source, None, None)
    try:
        image = load_image(source)
    except (OSError, ValueError) as error:
        return failed(error)
    try:
        return LoadedImage(source, image, preprocess(image), None)
    except ValueError as error:
        return failed(ValueError(f"{source}: {error}") if isinstance(source, str | Path) else error)

"""Image prefetching: read and preprocess images in threads while the network computes."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from PIL import Image
from torch.utils.data import default_collate

from tagpose.data.bit_depth import has_16_bit_colors
from tagpose.data.images import (
    IMAGE_ERRORS,
    DecodedImage,
    ImageSource,
    decode_image,
    open_image,
    reduce_jpeg,
)
from tagpose.data.preprocessing import ScaledInputs
from tagpose.inference.batch_decoding import Pending
from tagpose.structures import Poses

_READER_THREADS: Final = 4
_MAX_BYTES: Final = 1_000_000_000  # memory of images that are read ahead
# Memory of an image while it is decoded: Pillow has four bytes per RGB pixel and copies them to an
# array of three bytes in three steps; other modes are converted before that.
_RGB_PEAK_BYTES: Final = 13  # per pixel
_OTHER_PEAK_BYTES: Final = 24  # per pixel

Preprocess: TypeAlias = Callable[[DecodedImage], ScaledInputs]


class ReadingOptions(NamedTuple):
    """Options of reading images ahead."""

    preprocess: Preprocess  # turns an image into network inputs
    batch_size: int  # maximum number of images in a chunk
    min_side: int | None = None  # pixels that suffice, see `decode_image`; None for full size
    max_pixels: int | None = None  # maximum number of pixels of a file; None for Pillow's limit
    keep_pixels: bool = True  # whether loaded images keep their pixels
    max_bytes: int = _MAX_BYTES  # memory of images read ahead; one image may exceed it


class LoadedImage(NamedTuple):
    """An image and its network inputs, or the error of reading it."""

    source: Any  # as passed by the caller
    image: DecodedImage | None  # None if it cannot be read
    inputs: ScaledInputs | None
    error: Exception | None

    @property
    def nbytes(self) -> int:
        """Memory in bytes of pixels and network inputs."""
        pixels = self.image.pixels.nbytes if self.image else 0
        return pixels + sum(view.nbytes for view in (self.inputs.images if self.inputs else ()))


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
    images: Iterable[ImageSource], options: ReadingOptions
) -> Generator[list[LoadedImage], None, None]:
    """Yield chunks of images while threads read the following ones.

    Images are read ahead as long as these and the last two chunks, which are in use, need at most
    `max_bytes`. Chunks of large images are therefore smaller than `batch_size`.

    Args:
        images: image sources, consumed lazily.
        options: sizes, limits and preprocessing.
    """
    with ThreadPoolExecutor(_READER_THREADS) as readers:
        queue = _ReadAhead(readers, iter(images), options)
        try:
            while chunk := queue.next_chunk():
                yield chunk
        finally:  # a caller that stops early does not wait for images that were read ahead
            readers.shutdown(cancel_futures=True)


class _ReadAhead:
    """Queue of images that threads read, limited in number and memory.

    Args:
        readers: threads.
        sources: image sources.
        options: sizes, limits and preprocessing.
    """

    def __init__(
        self, readers: ThreadPoolExecutor, sources: Iterator[ImageSource], options: ReadingOptions
    ) -> None:
        self._readers, self._sources, self._options = readers, sources, options
        self._max_waiting = 2 * max(options.batch_size, _READER_THREADS)
        self._waiting: deque[tuple[Future[LoadedImage], int]] = deque()  # and bytes of decoding
        self._next: tuple[ImageSource, int] | None = None  # postponed, and bytes of decoding it
        self._in_use: deque[int] = deque(maxlen=2)  # bytes of the last chunks

    def next_chunk(self) -> list[LoadedImage]:
        """Return the next images, at most a batch; [] at the end."""
        self._fill()
        count = min(self._options.batch_size, len(self._waiting))
        chunk = [self._waiting.popleft()[0].result() for _ in range(count)]
        self._in_use.append(sum(loaded.nbytes for loaded in chunk))
        self._fill()
        return chunk

    def _fill(self) -> None:
        """Submit images until the limits are reached or there are none left."""
        while len(self._waiting) < self._max_waiting:
            if self._next is None:
                source = next(self._sources, None)
                if source is None:
                    return
                self._next = source, _decoding_bytes(source, self._options.min_side)
            source, needed = self._next
            if self._waiting and self._used_bytes() + needed > self._options.max_bytes:
                return
            self._waiting.append((self._readers.submit(_load, source, self._options), needed))
            self._next = None

    def _used_bytes(self) -> int:
        """Return the memory of images that are read, being read or in use."""
        waiting = (
            future.result().nbytes if future.done() else needed for future, needed in self._waiting
        )
        return sum(self._in_use) + sum(waiting)


def _decoding_bytes(source: ImageSource, min_side: int | None) -> int:
    """Return the memory that decoding an image takes at most; 0 if it cannot be opened."""
    if isinstance(source, np.ndarray):
        return source.nbytes
    try:
        if isinstance(source, Image.Image):
            return _peak_decoding_bytes(source)
        with open_image(BytesIO(source) if isinstance(source, bytes) else source) as image:
            if min_side is not None:
                reduce_jpeg(image, min_side)
            return _peak_decoding_bytes(image)
    except (*IMAGE_ERRORS, AttributeError):  # which the reading threads report
        return 0


def _peak_decoding_bytes(image: Image.Image) -> int:
    """Return the memory that decoding an opened image takes at most."""
    is_rgb = image.mode == "RGB" and not has_16_bit_colors(image)
    return image.width * image.height * (_RGB_PEAK_BYTES if is_rgb else _OTHER_PEAK_BYTES)


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


def _load(source: Any, options: ReadingOptions) -> LoadedImage:
    """Read and preprocess an image, or return the error."""
    failed = partial(LoadedImage, source, None, None)
    try:
        image = decode_image(source, min_side=options.min_side, max_pixels=options.max_pixels)
    except (OSError, ValueError) as error:
        return failed(error)
    try:
        inputs = options.preprocess(image)
    except ValueError as error:
        return failed(ValueError(f"{source}: {error}") if isinstance(source, str | Path) else error)
    if not options.keep_pixels:
        image = image._replace(pixels=np.empty((0, 0, 3), np.uint8))  # frees the memory
    return LoadedImage(source, image, inputs, None)

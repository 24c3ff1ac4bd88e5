"""Decode network outputs to poses in image pixels, in threads that overlap with the network."""

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from typing import Final, Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from tagpose.codec.decoder import AssociativeEmbeddingDecoder
from tagpose.codec.decoding_maps import FlippedOutputs
from tagpose.geometry import invert_affine, transform_poses
from tagpose.skeletons.skeleton import ChannelFlipIndices
from tagpose.structures import KeypointMaps, Poses

_Key = TypeVar("_Key")
_Result = TypeVar("_Result")
_Result_co = TypeVar("_Result_co", covariant=True)

# Batches that are decoded concurrently: one groups its peaks in Python while another searches its
# maps. Each holds 36 MB per image of 512 x 704, on a CPU 48 MB with the flip test.
_MAX_CONCURRENT_BATCHES: Final = 2


def decode_batch(
    keypoint_maps: KeypointMaps,
    affines: Tensor,
    decoder: AssociativeEmbeddingDecoder,
    *,
    flipped: FlippedOutputs | None = None,
    min_person_score: float = 0.0,
) -> list[Poses]:
    """Decode a batch to poses in image pixels.

    Args:
        keypoint_maps: network outputs, on any device.
        affines: [B, 2, 3] from image pixels to input pixels.
        decoder: decoder for the network's skeleton.
        flipped: outputs for the flipped images, which the decoder merges with the others; on a GPU
            `merge_flip` merges them before, so that less is copied to the host.
        min_person_score: score below which people are dropped.

    Raises:
        ValueError: if a heatmap, or a tag that is read, is NaN or infinity, or if the outputs do
            not fit the decoder.
    """
    return submit_batch(
        keypoint_maps, affines, decoder, flipped=flipped, min_person_score=min_person_score
    ).result()


def submit_batch(
    keypoint_maps: KeypointMaps,
    affines: Tensor,
    decoder: AssociativeEmbeddingDecoder,
    *,
    flipped: FlippedOutputs | None = None,
    min_person_score: float = 0.0,
) -> "Future[list[Poses]]":
    """Start to decode a batch in a thread, and return immediately.

    Outputs on a GPU are copied to pinned memory asynchronously; the worker thread waits for the
    copy, which is the only synchronization of the batch. The arguments are those of `decode_batch`,
    and the future has its result or exception.
    """
    heatmaps, tags = (copy_to_host(tensor.detach().float()) for tensor in keypoint_maps)
    affines, arrived = copy_to_host(affines), None
    if keypoint_maps.heatmaps.is_cuda:
        # on the stream of the copy, which differs if another device is current
        arrived = torch.cuda.current_stream(keypoint_maps.heatmaps.device).record_event()

    def decode() -> list[Poses]:
        if arrived is not None:
            arrived.synchronize()
        poses = decoder(
            heatmaps.numpy(), tags.numpy(), flipped=flipped, min_person_score=min_person_score
        )
        inverses = map(invert_affine, affines.numpy())
        return [transform_poses(*pair) for pair in zip(poses, inverses, strict=True)]

    return _decoding_threads().submit(decode)


def flipped_outputs(
    keypoint_maps: KeypointMaps, flip_indices: ChannelFlipIndices
) -> FlippedOutputs:
    """Convert CPU outputs for flipped images to the decoder's input."""
    heatmaps, tags = (tensor.detach().float().contiguous().numpy() for tensor in keypoint_maps)
    return FlippedOutputs(heatmaps, tags, *(np.array(index, np.int64) for index in flip_indices))


class Pending(Protocol[_Result_co]):
    """A result that is being computed, such as a future."""

    def result(self) -> _Result_co:
        """Wait for the result."""


class PendingQueue(Generic[_Key, _Result]):
    """Queue of pending results in submission order, with at most two results pending."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[_Key, Pending[_Result]]] = deque()

    def put(self, key: _Key, pending: Pending[_Result]) -> Iterator[tuple[_Key, _Result]]:
        """Add a pending result, and yield the oldest results while more than two are pending."""
        self._waiting.append((key, pending))
        return self._pop_until(_MAX_CONCURRENT_BATCHES)

    def drain(self) -> Iterator[tuple[_Key, _Result]]:
        """Yield all remaining results."""
        return self._pop_until(0)

    def _pop_until(self, remaining: int) -> Iterator[tuple[_Key, _Result]]:
        while len(self._waiting) > remaining:
            key, pending = self._waiting.popleft()
            yield key, pending.result()


def overlap(
    submitted: Iterable[tuple[_Key, Pending[_Result]]],
) -> Iterator[tuple[_Key, _Result]]:
    """Yield results in order while the following ones are computed.

    Args:
        submitted: pairs of a key and its pending result; iterating runs the network.
    """
    queue: PendingQueue[_Key, _Result] = PendingQueue()
    for key, pending in submitted:
        yield from queue.put(key, pending)
    yield from queue.drain()


def copy_to_host(values: Tensor) -> Tensor:
    """Return a copy on the CPU; copies from a GPU are asynchronous, to pinned memory."""
    values = values.contiguous()
    if not values.is_cuda:
        return values
    pinned = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    return pinned.copy_(values, non_blocking=True)


@lru_cache(maxsize=1)
def _decoding_threads() -> ThreadPoolExecutor:
    """Return the executor of this process."""
    return ThreadPoolExecutor(_MAX_CONCURRENT_BATCHES, "tagpose-batch")


if hasattr(os, "register_at_fork"):  # forked processes inherit the executor without its threads
    os.register_at_fork(after_in_child=_decoding_threads.cache_clear)

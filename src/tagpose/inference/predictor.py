"""Predictor: network, flip test, decoding, and mapping back to image pixels."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from inspect import signature
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple, overload

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

from tagpose.codec.decoder import AssociativeEmbeddingDecoder, build_decoder
from tagpose.codec.tta import merge_flip, merge_scales
from tagpose.data.sources import Source, image_of
from tagpose.data.views import Views, show
from tagpose.geometry import fitting_side
from tagpose.inference.asked import check_names, check_scales, chosen_device
from tagpose.inference.decoding import (
    Pending,
    decode_batch,
    flipped_outputs,
    overlap,
    submit_batch,
)
from tagpose.inference.found import Found, found
from tagpose.inference.sizes import USUAL, merge_by_size
from tagpose.model.network import PoseNetwork
from tagpose.model.weights import load_network
from tagpose.structures import Fields, People

_READERS: Final = 4  # threads that read and warp the next images while the network works
_BATCH: Final = 8  # images an accelerator takes at once; a CPU is as fast with one


class Seen(NamedTuple):
    """One of many images, and what came of it."""

    source: Any  # as it was given
    image: np.ndarray | None  # [H, W, 3] uint8 RGB; None where it could not be read
    found: Found | None  # None where it could not be read
    trouble: Exception | None  # what stood against reading it

    def known(self) -> tuple[np.ndarray, Found]:
        """Image and people; raises the trouble where there is one."""
        if self.image is None or self.found is None:
            raise self.trouble or ValueError(f"{self.source} could not be read")
        return self.image, self.found


class _Read(NamedTuple):
    """An image on its way to the network."""

    source: Any
    image: np.ndarray | None
    views: Views | None
    trouble: Exception | None


class _Chunk(NamedTuple):
    """Images that were submitted together, by their place among them."""

    parts: list[tuple[list[int], Pending[list[People]]]]

    def result(self) -> dict[int, People]:
        """The people of each image that could be read."""
        return {
            number: people
            for numbers, pending in self.parts
            for number, people in zip(numbers, pending.result(), strict=True)
        }


class Predictor:
    """A network with everything around it that turns images into people.

    Args:
        network: of any skeleton, or the path of its checkpoint.
        side: of the input's shorter side at scale 1, in input pixels; by default that of the
            inputs that the network learned from.
        scales: at which an image is looked at, multiples of the smallest; their heatmaps are
            averaged, the tags of scale 1 count.
        every_tag: whether the tags of all scales count, and not only those of scale 1.
        by_size: whether each scale is decoded by itself, and only has a say in people whose size
            suits it; see `merge_by_size`.
        mirror: whether the mirrored image is looked at too, and both merged.
        decoder: builds one from the skeleton, `subpixel` and `tag_index`; by default with the
            thresholds of the published results.
        device: to run on; see `chosen_device`.
        precision: "float32", as the published numbers are, or "bf16" for the backbone.
        compiled: whether the backbone is compiled; see `PoseNetwork.compile_backbone`.
        batch: images of a pass at most; by default as the device likes it.
        thresholds: of the decoder, such as `max_people` or `min_score`; see
            `AssociativeEmbeddingDecoder` and `build_decoder`.

    Raises:
        FileNotFoundError: there is no such checkpoint.
        ValueError: the checkpoint is none; 1 is not among the scales, or they are no multiples of
            the smallest; an option of several scales has only one; or the precision is unknown.
    """

    def __init__(
        self,
        network: PoseNetwork | str | Path,
        *,
        side: int | None = None,
        scales: Sequence[float] = (1.0,),
        every_tag: bool = False,
        by_size: bool = False,
        mirror: bool = True,
        decoder: Callable[..., AssociativeEmbeddingDecoder] = build_decoder,
        device: str | None = None,
        precision: str = "float32",
        compiled: bool = False,
        batch: int | None = None,
        **thresholds: Any,
    ) -> None:
        check_names(thresholds, signature(Predictor).parameters)
        if side is not None and side < 1:
            raise ValueError(f"side is {side}; it is the input's shorter side, in input pixels")
        check_scales(scales, every_tag=every_tag, by_size=by_size)
        if precision not in ("float32", "bf16"):
            raise ValueError(f"precision {precision!r} is neither float32 nor bf16")
        self.device = chosen_device(device)
        if not isinstance(network, PoseNetwork):
            network = load_network(Path(network))
        self.network = network.to(self.device).eval()
        if compiled:
            self.network.compile_backbone()
        self.precision, self.skeleton = precision, network.skeleton
        self.side, self.scales, self.mirror = side or network.side, tuple(scales), mirror
        self.every_tag, self.by_size = every_tag, by_size
        self.decoder = decoder(network.skeleton, **network.decoder_options, **thresholds)
        self.batch = batch or (1 if self.device.type == "cpu" else _BATCH)

    @overload
    def __call__(self, images: Source, **thresholds: float) -> Found: ...

    @overload
    def __call__(self, images: list[Source], **thresholds: float) -> list[Found]: ...

    def __call__(self, images: Source | list[Source], **thresholds: float) -> Found | list[Found]:
        """The people of an image, or of each image of a list.

        Args:
            images: in any form that `image_of` takes, or a list of them.
            thresholds: min_person_score and min_keypoint_score; see `found`.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: an image cannot be read.
        """
        if not isinstance(images, list):
            return self([images], **thresholds)[0]
        return [seen.known()[1] for seen in self.each(images, **thresholds)]

    def each(self, images: Iterable[Source], **thresholds: float) -> Iterator[Seen]:
        """The people of many images, one after the other in their order.

        The next images are read while the network looks at these; never are all in memory. What
        cannot be read comes with its trouble in its turn, and the others go on.

        Args:
            images: any number, such as paths of files or frames of a video.
            thresholds: min_person_score and min_keypoint_score; see `found`.
        """
        least = thresholds.get("min_person_score", 0.0)
        with closing(self._read_ahead(images)) as chunks:
            submitted = ((chunk, self._submit_chunk(chunk, least)) for chunk in chunks)
            for chunk, people in overlap(submitted):
                for number, one in enumerate(chunk):
                    yield self._seen(one, people.get(number), thresholds)

    def _read_ahead(self, images: Iterable[Source]) -> Generator[list[_Read], None, None]:
        """Yield chunks of images, and read the next ones meanwhile."""
        with ThreadPoolExecutor(_READERS) as readers:
            coming = (readers.submit(self._read, one) for one in images)
            waiting: deque[Future[_Read]] = deque(islice(coming, 2 * max(self.batch, _READERS)))
            try:
                while waiting:
                    here = min(self.batch, len(waiting))
                    chunk = [waiting.popleft().result() for _ in range(here)]
                    waiting.extend(islice(coming, here))
                    yield chunk
            finally:  # whoever stops taking does not wait for what was read ahead
                readers.shutdown(cancel_futures=True)

    def people(self, batch: Views) -> list[People]:
        """The people [B] of a batch, keypoints in image pixels."""
        return self.submit(batch).result()

    def submit(self, batch: Views, min_person_score: float = 0.0) -> Pending[list[People]]:
        """Run the network on a batch, and decode its outputs in a thread (at once with `by_size`).

        Args:
            batch: images at all scales.
            min_person_score: people with a lower score may be left out.

        Returns:
            The people [B], keypoints in image pixels, once they are decoded.
        """
        if self.by_size:  # other scales change the score of a person
            done: Future[list[People]] = Future()
            done.set_result(self._people_by_size(batch))
            return done
        submit = partial(
            submit_batch,
            affines=batch.frame,
            decoder=self.decoder,
            min_person_score=min_person_score,
        )
        if self.mirror and len(batch.images) == 1 and self.device.type == "cpu":
            with self._inference():
                own, flipped = self._look_twice(batch.images[0])
            return submit(own, flipped=flipped_outputs(flipped, self.network.flip_indices))
        return submit(self.fields(batch.images))

    def _people_by_size(self, batch: Views) -> list[People]:
        """The people [B] of a batch whose scales are decoded each by itself."""
        each = [
            decode_batch(fields, scale * batch.frame, self.decoder)
            for scale, fields in zip(self.scales, self._each_scale(batch.images), strict=True)
        ]
        usual = USUAL * self.network.side / batch.frame[:, 0, 0].numpy()
        return [
            merge_by_size(views, self.scales, self.skeleton, size)
            for *views, size in zip(*each, usual, strict=True)
        ]

    @torch.inference_mode()
    def fields(self, images: Sequence[Tensor]) -> Fields:
        """The fields of images, all views of them merged.

        Args:
            images: one per scale [B, 3, H, W] uint8 RGB.

        Raises:
            ValueError: scales are decoded each by itself, and never merged.
        """
        if self.by_size:
            raise ValueError("with by_size scales are decoded apart, so there are no merged fields")
        views = self._each_scale(images)
        if len(views) == 1:
            return views[0]
        at_one = self.scales.index(1)
        height, width = images[at_one].shape[-2:]
        return merge_scales(views, at_one, (height, width), every_tag=self.every_tag)

    def _each_scale(self, images: Sequence[Tensor]) -> list[Fields]:
        """The fields of images at each scale."""
        with self._inference():
            return [self._look(self._on_device(one)) for one in images]

    @contextmanager
    def _inference(self) -> Iterator[None]:
        """The mode and precision in which the network runs."""
        bf16 = self.precision == "bf16"
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            yield

    def _on_device(self, images: Tensor) -> Tensor:
        """Images on the device, to which pinned memory is copied without waiting for it."""
        if self.device.type == "cuda":
            images = images.pin_memory()
        return images.to(self.device, non_blocking=True)

    def views(self, image: np.ndarray) -> Views:
        """An image [H, W, 3] uint8 RGB as the network is shown it.

        Raises:
            ValueError: the image is too narrow to look at.
        """
        height, width = image.shape[:2]
        return show(image, fitting_side(width, height, self.side, self.scales), self.scales)

    def _read(self, source: Any) -> _Read:
        """An image and its views, or what stands against them."""
        try:
            image = image_of(source)
        except (OSError, ValueError) as error:
            return _Read(source, None, None, error)
        try:
            return _Read(source, image, self.views(image), None)
        except ValueError as error:
            if isinstance(source, str | Path):
                error = ValueError(f"{source}: {error}")
            return _Read(source, None, None, error)

    def _submit_chunk(self, chunk: Sequence[_Read], min_person_score: float) -> _Chunk:
        """Run the network on some images; those whose inputs have the same size share a pass."""
        alike: dict[tuple[int, ...], list[int]] = {}
        for number, one in enumerate(chunk):
            if one.views is not None:
                alike.setdefault(tuple(one.views.images[0].shape), []).append(number)
        parts = []
        for numbers in alike.values():
            group = default_collate([chunk[number].views for number in numbers])
            parts.append((numbers, self.submit(group, min_person_score)))
        return _Chunk(parts)

    def _seen(self, one: _Read, people: People | None, thresholds: dict[str, float]) -> Seen:
        """What came of an image."""
        if one.image is None or people is None:
            return Seen(one.source, None, None, one.trouble)
        size = one.image.shape[1], one.image.shape[0]
        return Seen(one.source, one.image, found(people, size, self.skeleton, **thresholds), None)

    def _look(self, images: Tensor) -> Fields:
        """The fields of images [B, 3, H, W], merged with those of their mirror images."""
        if not self.mirror:
            return self.network(images)
        return merge_flip(*self._look_twice(images), self.network.flip_indices)

    def _look_twice(self, images: Tensor) -> tuple[Fields, Fields]:
        """The outputs for images [B, 3, H, W] and for the flipped images."""
        pair = images, images.flip(-1)
        if images.is_cuda:  # in one pass, as few images leave a GPU idle; a CPU is slower so
            both = self.network(torch.cat(pair))
            halves = zip(*(each.chunk(2) for each in both), strict=True)
            own, flipped = (Fields(*half) for half in halves)
        else:
            own, flipped = map(self.network, pair)
        return own, flipped

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
from tagpose.data.images import ImageSource, load_image
from tagpose.data.preprocessing import ScaledInputs, resize_to_scales
from tagpose.geometry import clamp_input_size
from tagpose.inference.batch_decoding import (
    Pending,
    decode_batch,
    flipped_outputs,
    overlap,
    submit_batch,
)
from tagpose.inference.predictor_arguments import check_option_names, check_scales, select_device
from tagpose.inference.results import PoseResult, make_pose_result
from tagpose.inference.scale_fusion import TYPICAL_PERSON_SIZE, fuse_scales_by_size
from tagpose.models.checkpoint import load_network
from tagpose.models.network import PoseNetwork
from tagpose.structures import KeypointMaps, Poses

_READER_THREADS: Final = 4  # threads that read and warp the next images while the network works
_ACCELERATOR_BATCH_SIZE: Final = 8  # images an accelerator takes at once; a CPU is as fast with one


class ImageResult(NamedTuple):
    """One of many images, and what came of it."""

    source: Any  # as it was given
    image: np.ndarray | None  # [H, W, 3] uint8 RGB; None where it could not be read
    result: PoseResult | None  # None where it could not be read
    error: Exception | None  # what stood against reading it

    def get_or_raise(self) -> tuple[np.ndarray, PoseResult]:
        """Image and people; raises the error where there is one."""
        if self.image is None or self.result is None:
            raise self.error or ValueError(f"{self.source} could not be read")
        return self.image, self.result


class _LoadedImage(NamedTuple):
    """An image on its way to the network."""

    source: Any
    image: np.ndarray | None
    views: ScaledInputs | None
    error: Exception | None


class _PendingChunk(NamedTuple):
    """Images that were submitted together, by their place among them."""

    parts: list[tuple[list[int], Pending[list[Poses]]]]

    def result(self) -> dict[int, Poses]:
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
        input_size: of the input's shorter side at scale 1, in input pixels; by default that of the
            inputs that the network learned from.
        scales: at which an image is looked at, multiples of the smallest; their heatmaps are
            averaged, the tags of scale 1 count.
        multi_scale_tags: whether the tags of all scales count, and not only those of scale 1.
        fuse_by_size: whether each scale is decoded by itself, and only has a say in people whose size
            suits it; see `fuse_scales_by_size`.
        flip_test: whether the flipped image is looked at too, and both merged.
        decoder: builds one from the skeleton, `subpixel` and `tag_index`; by default with the
            thresholds of the published results.
        device: to run on; see `select_device`.
        precision: "float32", as the published numbers are, or "bf16" for the backbone.
        compiled: whether the backbone is compiled; see `PoseNetwork.compile_backbone`.
        batch_size: images of a pass at most; by default as the device likes it.
        decoder_options: options of the decoder, such as `max_people` or `min_score`; see
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
        input_size: int | None = None,
        scales: Sequence[float] = (1.0,),
        multi_scale_tags: bool = False,
        fuse_by_size: bool = False,
        flip_test: bool = True,
        decoder: Callable[..., AssociativeEmbeddingDecoder] = build_decoder,
        device: str | None = None,
        precision: str = "float32",
        compiled: bool = False,
        batch_size: int | None = None,
        **decoder_options: Any,
    ) -> None:
        check_option_names(decoder_options, signature(Predictor).parameters)
        if input_size is not None and input_size < 1:
            raise ValueError(
                f"input_size is {input_size}; it is the input's shorter side, in input pixels"
            )
        check_scales(scales, multi_scale_tags=multi_scale_tags, fuse_by_size=fuse_by_size)
        if precision not in ("float32", "bf16"):
            raise ValueError(f"precision {precision!r} is neither float32 nor bf16")
        self.device = select_device(device)
        if not isinstance(network, PoseNetwork):
            network = load_network(Path(network))
        self.network = network.to(self.device).eval()
        if compiled:
            self.network.compile_backbone()
        self.precision, self.skeleton = precision, network.skeleton
        self.input_size, self.scales, self.flip_test = (
            input_size or network.input_size,
            tuple(scales),
            flip_test,
        )
        self.multi_scale_tags, self.fuse_by_size = multi_scale_tags, fuse_by_size
        self.decoder = decoder(network.skeleton, **network.decoder_options, **decoder_options)
        self.batch_size = batch_size or (
            1 if self.device.type == "cpu" else _ACCELERATOR_BATCH_SIZE
        )

    @overload
    def __call__(self, images: ImageSource, **thresholds: float) -> PoseResult: ...

    @overload
    def __call__(self, images: list[ImageSource], **thresholds: float) -> list[PoseResult]: ...

    def __call__(
        self, images: ImageSource | list[ImageSource], **thresholds: float
    ) -> PoseResult | list[PoseResult]:
        """The people of an image, or of each image of a list.

        Args:
            images: in any form that `load_image` takes, or a list of them.
            thresholds: min_person_score and min_keypoint_score; see `make_pose_result`.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: an image cannot be read.
        """
        if not isinstance(images, list):
            return self([images], **thresholds)[0]
        return [
            image_result.get_or_raise()[1]
            for image_result in self.predict_iter(images, **thresholds)
        ]

    def predict_iter(
        self, images: Iterable[ImageSource], **thresholds: float
    ) -> Iterator[ImageResult]:
        """The people of many images, one after the other in their order.

        The next images are read while the network looks at these; never are all in memory. What
        cannot be read comes with its error in its turn, and the others go on.

        Args:
            images: any number, such as paths of files or frames of a video.
            thresholds: min_person_score and min_keypoint_score; see `make_pose_result`.
        """
        min_person_score = thresholds.get("min_person_score", 0.0)
        with closing(self._prefetch(images)) as chunks:
            submitted = ((chunk, self._submit_chunk(chunk, min_person_score)) for chunk in chunks)
            for chunk, people in overlap(submitted):
                for number, one in enumerate(chunk):
                    yield self._to_image_result(one, people.get(number), thresholds)

    def _prefetch(self, images: Iterable[ImageSource]) -> Generator[list[_LoadedImage], None, None]:
        """Yield chunks of images, and read the next ones meanwhile."""
        with ThreadPoolExecutor(_READER_THREADS) as readers:
            coming = (readers.submit(self._load, one) for one in images)
            waiting: deque[Future[_LoadedImage]] = deque(
                islice(coming, 2 * max(self.batch_size, _READER_THREADS))
            )
            try:
                while waiting:
                    here = min(self.batch_size, len(waiting))
                    chunk = [waiting.popleft().result() for _ in range(here)]
                    waiting.extend(islice(coming, here))
                    yield chunk
            finally:  # whoever stops taking does not wait for what was read ahead
                readers.shutdown(cancel_futures=True)

    def predict_batch(self, batch: ScaledInputs) -> list[Poses]:
        """The people [B] of a batch, keypoints in image pixels."""
        return self.submit(batch).result()

    def submit(self, batch: ScaledInputs, min_person_score: float = 0.0) -> Pending[list[Poses]]:
        """Run the network on a batch, and decode its outputs in a thread (at once with `fuse_by_size`).

        Args:
            batch: images at all scales.
            min_person_score: people with a lower score may be left out.

        Returns:
            The people [B], keypoints in image pixels, once they are decoded.
        """
        if self.fuse_by_size:  # other scales change the score of a person
            done: Future[list[Poses]] = Future()
            done.set_result(self._predict_fused_by_size(batch))
            return done
        submit = partial(
            submit_batch,
            affines=batch.affine,
            decoder=self.decoder,
            min_person_score=min_person_score,
        )
        if self.flip_test and len(batch.images) == 1 and self.device.type == "cpu":
            with self._inference():
                own, flipped = self._forward_with_flip(batch.images[0])
            return submit(own, flipped=flipped_outputs(flipped, self.network.channel_flip_indices))
        return submit(self.predict_maps(batch.images))

    def _predict_fused_by_size(self, batch: ScaledInputs) -> list[Poses]:
        """The people [B] of a batch whose scales are decoded each by itself."""
        each = [
            decode_batch(keypoint_maps, scale * batch.affine, self.decoder)
            for scale, keypoint_maps in zip(
                self.scales, self._forward_scales(batch.images), strict=True
            )
        ]
        typical_size = TYPICAL_PERSON_SIZE * self.network.input_size / batch.affine[:, 0, 0].numpy()
        return [
            fuse_scales_by_size(views, self.scales, self.skeleton, size)
            for *views, size in zip(*each, typical_size, strict=True)
        ]

    @torch.inference_mode()
    def predict_maps(self, images: Sequence[Tensor]) -> KeypointMaps:
        """The fields of images, all views of them merged.

        Args:
            images: one per scale [B, 3, H, W] uint8 RGB.

        Raises:
            ValueError: scales are decoded each by itself, and never merged.
        """
        if self.fuse_by_size:
            raise ValueError(
                "with fuse_by_size scales are decoded apart, so there are no merged fields"
            )
        views = self._forward_scales(images)
        if len(views) == 1:
            return views[0]
        reference = self.scales.index(1)
        height, width = images[reference].shape[-2:]
        return merge_scales(
            views, reference, (height, width), multi_scale_tags=self.multi_scale_tags
        )

    def _forward_scales(self, images: Sequence[Tensor]) -> list[KeypointMaps]:
        """The fields of images at each scale."""
        with self._inference():
            return [self._forward(self._on_device(one)) for one in images]

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

    def preprocess(self, image: np.ndarray) -> ScaledInputs:
        """An image [H, W, 3] uint8 RGB as the network is shown it.

        Raises:
            ValueError: the image is too narrow to look at.
        """
        height, width = image.shape[:2]
        return resize_to_scales(
            image, clamp_input_size(width, height, self.input_size, self.scales), self.scales
        )

    def _load(self, source: Any) -> _LoadedImage:
        """An image and its views, or what stands against them."""
        try:
            image = load_image(source)
        except (OSError, ValueError) as error:
            return _LoadedImage(source, None, None, error)
        try:
            return _LoadedImage(source, image, self.preprocess(image), None)
        except ValueError as error:
            if isinstance(source, str | Path):
                error = ValueError(f"{source}: {error}")
            return _LoadedImage(source, None, None, error)

    def _submit_chunk(
        self, chunk: Sequence[_LoadedImage], min_person_score: float
    ) -> _PendingChunk:
        """Run the network on some images; those whose inputs have the same size share a pass."""
        alike: dict[tuple[int, ...], list[int]] = {}
        for number, one in enumerate(chunk):
            if one.views is not None:
                alike.setdefault(tuple(one.views.images[0].shape), []).append(number)
        parts = []
        for numbers in alike.values():
            group = default_collate([chunk[number].views for number in numbers])
            parts.append((numbers, self.submit(group, min_person_score)))
        return _PendingChunk(parts)

    def _to_image_result(
        self, one: _LoadedImage, people: Poses | None, thresholds: dict[str, float]
    ) -> ImageResult:
        """What came of an image."""
        if one.image is None or people is None:
            return ImageResult(one.source, None, None, one.error)
        size = one.image.shape[1], one.image.shape[0]
        return ImageResult(
            one.source, one.image, make_pose_result(people, size, self.skeleton, **thresholds), None
        )

    def _forward(self, images: Tensor) -> KeypointMaps:
        """The fields of images [B, 3, H, W], merged with those of their flipped images."""
        if not self.flip_test:
            return self.network(images)
        return merge_flip(*self._forward_with_flip(images), self.network.channel_flip_indices)

    def _forward_with_flip(self, images: Tensor) -> tuple[KeypointMaps, KeypointMaps]:
        """The outputs for images [B, 3, H, W] and for the flipped images."""
        pair = images, images.flip(-1)
        if images.is_cuda:  # in one pass, as few images leave a GPU idle; a CPU is slower so
            both = self.network(torch.cat(pair))
            halves = zip(*(each.chunk(2) for each in both), strict=True)
            own, flipped = (KeypointMaps(*half) for half in halves)
        else:
            own, flipped = map(self.network, pair)
        return own, flipped

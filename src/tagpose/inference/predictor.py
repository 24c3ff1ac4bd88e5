"""Predictor: network, flip test, decoding, and mapping back to image pixels."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing
from copy import copy
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any, Final, overload

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from tagpose.codec.decoder import AssociativeEmbeddingDecoder, build_decoder
from tagpose.codec.tta import merge_scales
from tagpose.data.images import DecodedImage, ImageSource, full_size_image
from tagpose.data.input_size import clamp_input_size
from tagpose.data.preprocessing import ScaledInputs, resize_to_scales
from tagpose.evaluation.predictions import Predictions
from tagpose.inference.batch_decoding import (
    Pending,
    decode_batch,
    flipped_outputs,
    overlap,
    submit_batch,
)
from tagpose.inference.image_prefetching import (
    LoadedImage,
    ReadingOptions,
    prefetch_chunks,
    submit_chunk,
)
from tagpose.inference.network_runner import NetworkRunner
from tagpose.inference.predictor_arguments import (
    check_option_names,
    check_precision,
    check_scales,
    select_device,
)
from tagpose.inference.results import ImageResult, PoseResult, make_pose_result
from tagpose.inference.scale_fusion import TYPICAL_PERSON_SIZE, fuse_scales_by_size
from tagpose.models.checkpoint import load_network
from tagpose.models.network import PoseNetwork
from tagpose.models.zoo import resolve_checkpoint
from tagpose.structures import KeypointMaps, Poses

_MIN_REDUCTION: Final = 2  # image pixels per input pixel after decoding at a reduced size
_ACCELERATOR_BATCH_SIZE: Final = 8  # images per forward pass; on a CPU batches are not faster


class Predictor:
    """Predict the poses of all people in images.

    Args:
        network: network of any skeleton, the path of a checkpoint, or the name of a published
            model, which is downloaded once; see `tagpose.models.zoo`.
        input_size: shorter side of the input at scale 1, in input pixels; by default the input size
            of the network's training.
        scales: test-time scales, multiples of the smallest one. Heatmaps are averaged over the
            scales; tags are those of scale 1.
        multi_scale_tags: whether to use the tags of all scales, not only those of scale 1.
        fuse_by_size: whether to decode each scale separately and use it only for people whose size
            suits it; see `fuse_scales_by_size`.
        flip_test: whether to merge the outputs for the image and for the flipped image.
        decoder: factory that builds the decoder from the skeleton, `subpixel` and `tag_index`; by
            default the decoder has the thresholds of the published results.
        device: device to run on; see `select_device`.
        precision: "float32", as for the published results, or "bf16" for the backbone.
        compiled: whether to compile the backbone; see `PoseNetwork.compile_backbone`.
        batch_size: maximum number of images per forward pass; by default 8, or 1 on a CPU.
        decoder_options: options of the decoder, such as `max_people` or `min_score`; see
            `AssociativeEmbeddingDecoder` and `build_decoder`.

    Raises:
        FileNotFoundError: if the checkpoint is missing.
        ValueError: if the file is not a checkpoint, 1 is not among the scales, a scale is not a
            multiple of the smallest, a multi-scale option is used with a single scale, or an
            option, the precision or the device is unknown.
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
            raise ValueError(f"input_size is {input_size}, but must be at least 1 input pixel")
        check_scales(scales, multi_scale_tags=multi_scale_tags, fuse_by_size=fuse_by_size)
        check_precision(precision)
        self.device = select_device(device)
        if not isinstance(network, PoseNetwork):
            network = load_network(resolve_checkpoint(network))
        self.network = network.to(self.device).eval()
        if compiled:
            self.network.compile_backbone()
        self._runner = NetworkRunner(self.network, self.device, precision, flip_test)
        self.skeleton, self.scales = network.skeleton, tuple(scales)
        self.input_size = input_size or network.input_size
        self.multi_scale_tags, self.fuse_by_size = multi_scale_tags, fuse_by_size
        self.decoder = decoder(network.skeleton, **network.decoder_options, **decoder_options)
        default_batch_size = 1 if self.device.type == "cpu" else _ACCELERATOR_BATCH_SIZE
        self.batch_size = batch_size or default_batch_size

    def with_decoder(self, decoder: AssociativeEmbeddingDecoder) -> "Predictor":
        """Return a predictor with the same network and another decoder."""
        predictor = copy(self)
        predictor.decoder = decoder
        return predictor

    @overload
    def __call__(self, images: ImageSource, **thresholds: float) -> PoseResult: ...

    @overload
    def __call__(self, images: list[ImageSource], **thresholds: float) -> list[PoseResult]: ...

    def __call__(
        self, images: ImageSource | list[ImageSource], **thresholds: float
    ) -> PoseResult | list[PoseResult]:
        """Predict the poses in an image, or in each image of a list.

        Args:
            images: image in any form that `load_image` accepts, or a list of images.
            thresholds: min_person_score and min_keypoint_score; see `make_pose_result`.

        Raises:
            FileNotFoundError: if a file is missing.
            ValueError: if an image cannot be read.
        """
        if not isinstance(images, list):
            return self([images], **thresholds)[0]
        results = self.predict_iter(images, keep_images=False, max_pixels=None, **thresholds)
        return [result.result_or_raise() for result in results]

    def predict_iter(
        self,
        images: Iterable[ImageSource],
        *,
        keep_images: bool = True,
        max_pixels: int | None = None,
        **thresholds: float,
    ) -> Iterator[ImageResult]:
        """Predict the poses in many images, and yield the results in order.

        The next images are read while the network computes, as many as fit into 1 GB. The result
        for an unreadable image has its error, and prediction continues.

        Args:
            images: any number of images, such as file paths or video frames.
            keep_images: whether the results contain the images. If not, JPEG files that are much
                larger than the network's input are decoded at a reduced size, which saves time and
                memory; poses are in pixels of the full size in any case.
            max_pixels: maximum number of pixels of an image file; by default the limit of Pillow.
            thresholds: min_person_score and min_keypoint_score; see `make_pose_result`.
        """
        submit = partial(self.submit, min_person_score=thresholds.get("min_person_score", 0.0))
        options = ReadingOptions(
            preprocess=self.preprocess,
            batch_size=self.batch_size,
            min_side=None if keep_images else self._sufficient_side,
            max_pixels=max_pixels,
            keep_pixels=keep_images,
        )
        with closing(prefetch_chunks(images, options)) as chunks:
            submitted = ((chunk, submit_chunk(chunk, submit)) for chunk in chunks)
            for chunk, poses in overlap(submitted):
                for index, loaded in enumerate(chunk):
                    result = self._to_image_result(loaded, poses.get(index), thresholds)
                    yield result if keep_images else result._replace(image=None)

    def predict_dataset(self, loader: Iterable[ScaledInputs]) -> dict[int, Poses]:
        """Predict the poses in all images of a data loader, and show a progress bar.

        Args:
            loader: batches of preprocessed images.

        Returns:
            Poses by image id, keypoints in image pixels.
        """
        predictions = Predictions()
        batches = tqdm(loader, desc="predicting", unit="batch")
        submitted = ((batch.image_id.tolist(), self.submit(batch)) for batch in batches)
        for image_ids, batch_poses in overlap(submitted):
            for image_id, poses in zip(image_ids, batch_poses, strict=True):
                predictions.update(image_id, poses)
        return predictions.compute()

    def predict_batch(self, batch: ScaledInputs) -> list[Poses]:
        """Predict the poses [B] in a batch, keypoints in image pixels."""
        return self.submit(batch).result()

    def submit(self, batch: ScaledInputs, min_person_score: float = 0.0) -> Pending[list[Poses]]:
        """Run the network on a batch, and start to decode its outputs in a thread.

        With `fuse_by_size`, outputs are decoded before this returns.

        Args:
            batch: images at all scales.
            min_person_score: score below which people may be dropped.

        Returns:
            Pending poses [B], keypoints in image pixels.
        """
        if self.fuse_by_size:  # no threshold, because fusion changes the scores of people
            done: Future[list[Poses]] = Future()
            done.set_result(self._predict_fused_by_size(batch))
            return done
        submit = partial(
            submit_batch,
            affines=batch.affine,
            decoder=self.decoder,
            min_person_score=min_person_score,
        )
        if self._runner.flip_test and len(batch.images) == 1 and self.device.type == "cpu":
            maps, flipped = self._runner.forward_with_flip(batch.images[0])
            return submit(maps, flipped=flipped_outputs(flipped, self.network.channel_flip_indices))
        return submit(self.predict_maps(batch.images))

    def _predict_fused_by_size(self, batch: ScaledInputs) -> list[Poses]:
        """Decode each scale of a batch separately, and fuse the poses [B]."""
        outputs = self._runner.forward_scales(batch.images)
        by_scale = [
            decode_batch(keypoint_maps, scale * batch.affine, self.decoder)
            for scale, keypoint_maps in zip(self.scales, outputs, strict=True)
        ]
        typical_size = TYPICAL_PERSON_SIZE * self.network.input_size / batch.affine[:, 0, 0].numpy()
        return [
            fuse_scales_by_size(views, self.scales, self.skeleton, size)
            for *views, size in zip(*by_scale, typical_size, strict=True)
        ]

    @torch.inference_mode()
    def predict_maps(self, images: Sequence[Tensor]) -> KeypointMaps:
        """Predict heatmaps and tags, merged over scales and flips.

        Args:
            images: batch of images at each scale [B, 3, H, W] uint8 RGB.

        Raises:
            ValueError: if `fuse_by_size` is set, because then scales are decoded separately.
        """
        if self.fuse_by_size:
            raise ValueError(
                "fuse_by_size decodes each scale separately, so there are no merged maps; "
                "use a Predictor with fuse_by_size=False"
            )
        views = self._runner.forward_scales(images)
        if len(views) == 1:
            return views[0]
        reference = self.scales.index(1)
        height, width = images[reference].shape[-2:]
        size = height, width
        return merge_scales(views, reference, size, multi_scale_tags=self.multi_scale_tags)

    def preprocess(self, image: np.ndarray | DecodedImage) -> ScaledInputs:
        """Resize an image [H, W, 3] uint8 RGB, possibly reduced, to the inputs at all scales.

        Raises:
            ValueError: if the aspect ratio of the image is too extreme.
        """
        decoded = full_size_image(image) if isinstance(image, np.ndarray) else image
        input_size = clamp_input_size(*decoded.size, self.input_size, self.scales)
        return resize_to_scales(decoded, input_size, self.scales)

    @property
    def _sufficient_side(self) -> int:
        """Shorter side in pixels from which an image loses nothing when it is resized."""
        return math.ceil(_MIN_REDUCTION * max(self.scales) * self.input_size)

    def _to_image_result(
        self, loaded: LoadedImage, poses: Poses | None, thresholds: dict[str, float]
    ) -> ImageResult:
        """Return the result for an image, or its error."""
        if loaded.image is None or poses is None:
            return ImageResult(loaded.source, None, None, loaded.error)
        pixels, size, _, num_frames = loaded.image
        result = make_pose_result(poses, size, self.skeleton, **thresholds)
        return ImageResult(loaded.source, pixels, result, None, num_frames)

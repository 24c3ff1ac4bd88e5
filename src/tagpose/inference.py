"""This file finds the people of images: network, mirror test, decoding, back to image pixels."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate
from tqdm import tqdm

from tagpose.codec.decode import Decoder
from tagpose.codec.views import merge_mirror, merge_scales
from tagpose.data.views import Views, show
from tagpose.evaluation.predictions import Predictions
from tagpose.geometry import invert, move_people, multiple
from tagpose.model.network import PoseNetwork
from tagpose.structures import Fields, People


def people_in_images(fields: Fields, frames: Tensor, decoder: Decoder) -> list[People]:
    """The people of a batch in image pixels.

    Args:
        fields: of the batch.
        frames: [B, 2, 3] image pixels -> input pixels.
        decoder: with its thresholds.
    """
    people = decoder(fields)
    # only now: fetching them from a GPU waits for all that it was told to do
    back = [invert(frame) for frame in frames.cpu().numpy()]
    return [move_people(p, frame) for p, frame in zip(people, back, strict=True)]


class Predictor:
    """A network with everything around it that turns images into people.

    Args:
        network: of any skeleton.
        side: of the input's shorter side at scale 1, in input pixels.
        scales: at which an image is looked at, multiples of the smallest; their heatmaps are
            averaged, the tags of scale 1 count.
        mirror: whether the mirrored image is looked at too, and both merged.
        decoder: makes one from the skeleton's grouping order; by default with the thresholds of
            the published results.
        device: to run on; by default an accelerator where there is one.
        precision: "float32", as the published numbers are, or "bf16" for the backbone.
        compiled: whether the backbone is compiled; see `PoseNetwork.compile_backbone`.

    Raises:
        ValueError: 1 is not among the scales, or they are no multiples of the smallest; or the
            precision is unknown.
    """

    def __init__(
        self,
        network: PoseNetwork,
        *,
        side: int = 512,
        scales: Sequence[float] = (1.0,),
        mirror: bool = True,
        decoder: Callable[[tuple[int, ...]], Decoder] = Decoder,
        device: str | None = None,
        precision: str = "float32",
        compiled: bool = False,
    ) -> None:
        if 1 not in scales or min(scales) <= 0 or any(not multiple(s, min(scales)) for s in scales):
            raise ValueError(
                f"scales are {list(scales)}; 1 must be among them, and all be multiples of the "
                "smallest, such as [2, 1, 0.5]"
            )
        if precision not in ("float32", "bf16"):
            raise ValueError(f"precision {precision!r} is neither float32 nor bf16")
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.network = network.to(self.device).eval()
        if compiled:
            self.network.compile_backbone()
        self.precision = precision
        self.side, self.scales, self.mirror = side, tuple(scales), mirror
        self.decoder = decoder(network.skeleton.grouping_order)

    def __call__(self, images: Sequence[np.ndarray]) -> list[People]:
        """The people of each image [H, W, 3] uint8 RGB, keypoints in its pixels.

        Images whose inputs have the same size share a pass of the network.
        """
        alike: dict[tuple[int, ...], list[Views]] = {}
        for number, image in enumerate(images):
            views = show(image, self.side, self.scales, number)
            alike.setdefault(tuple(views.images[0].shape), []).append(views)
        found: dict[int, People] = {}
        for group in alike.values():
            people = self.people(default_collate(group))
            found |= zip([int(views.image_id) for views in group], people, strict=True)
        return [found[number] for number in range(len(found))]

    def people(self, batch: Views) -> list[People]:
        """The people [B] of a batch, keypoints in image pixels."""
        return people_in_images(self.fields(batch.images), batch.frame, self.decoder)

    @torch.inference_mode()
    def fields(self, images: Sequence[Tensor]) -> Fields:
        """The fields of images, all views of them merged.

        Args:
            images: one per scale [B, 3, H, W] uint8 RGB.
        """
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            views = [self._look(one.to(self.device, non_blocking=True)) for one in images]
        if len(views) == 1:
            return views[0]
        at_one = self.scales.index(1)
        height, width = images[at_one].shape[-2:]
        return merge_scales(views, at_one, (height, width))

    def _look(self, images: Tensor) -> Fields:
        """The fields of images [B, 3, H, W], merged with those of their mirror images."""
        if not self.mirror:
            return self.network(images)
        pair = images, images.flip(-1)
        if images.is_cuda:  # in one pass, as few images leave a GPU idle; a CPU is slower so
            both = self.network(torch.cat(pair))
            seen, mirrored = (
                Fields(*half) for half in zip(*(f.chunk(2) for f in both), strict=True)
            )
        else:
            seen, mirrored = map(self.network, pair)
        return merge_mirror(seen, mirrored, self.network.skeleton.mirror)


def find_people(predictor: Predictor, loader: Iterable[Views]) -> dict[int, People]:
    """The people of all images of a loader by image id, in image pixels."""
    found = Predictions()
    for batch in tqdm(loader, desc="find people", unit="batch"):
        for image_id, one in zip(batch.image_id.tolist(), predictor.people(batch), strict=True):
            found.update(image_id, one)
    return found.compute()

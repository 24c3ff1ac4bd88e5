"""This file finds people in the fields of a network without faults: what encoding alone costs."""

from collections.abc import Iterable, Sequence
from typing import Final

import torch
from torch import Tensor

from tagpose.codec.decoder import AssociativeEmbeddingDecoder
from tagpose.codec.encode import Encoder
from tagpose.codec.tta import merge_resolutions
from tagpose.inference.decoding import decode_batch
from tagpose.model.network import PoseNetwork
from tagpose.structures import Fields, People, Pyramid, Sample

_APART: Final = 3.0  # tags of two people
_NEAR: Final = 0.01  # of a heatmap, from where on a tag is that of the person


@torch.inference_mode()
def perfect_people(
    samples: Iterable[Sample],
    encoders: Sequence[Encoder],
    decoder: AssociativeEmbeddingDecoder,
    network: PoseNetwork | None = None,
    learned: Sequence[str] = (),
) -> dict[int, People]:
    """Decode targets in place of network outputs.

    Args:
        samples: batches of images.
        encoders: draw the targets of each resolution.
        decoder: of the same skeleton.
        network: its outputs replace the targets named in `learned`.
        learned: "heatmaps" or "tags"; what is lost with one of them is lost by the network there.

    Returns:
        The people of all images by image id, in image pixels.
    """
    found: dict[int, People] = {}
    for batch in samples:
        fields = perfect_fields(batch, encoders)
        if network and learned:
            outputs = network(batch.image)._asdict()
            fields = fields._replace(**{name: outputs[name] for name in learned})
        people = decode_batch(fields, batch.frame, decoder)
        found.update(zip(batch.image_id.tolist(), people, strict=True))
    return found


def perfect_fields(batch: Sample, encoders: Sequence[Encoder]) -> Fields:
    """Targets as fields; around the keypoints of a person its tag, a multiple of 3."""
    heatmaps = [encoder(batch.keypoints, batch.mask).heatmaps for encoder in encoders]
    index = torch.tensor(encoders[0].tag_index or range(heatmaps[0].shape[1]))
    highest = _by_tag_map(heatmaps[0], index)
    tags = torch.full_like(highest, -_APART)
    for person in range(batch.keypoints.shape[1]):
        own = encoders[0](batch.keypoints[:, person : person + 1], batch.mask).heatmaps
        own = _by_tag_map(own, index)
        # where people overlap, whoever is nearer
        tags[(own > _NEAR) & (own == highest)] = _APART * person
    return merge_resolutions(Pyramid(tuple(heatmaps), tags[:, None]))


def _by_tag_map(heatmaps: Tensor, index: Tensor) -> Tensor:
    """Return the maximum [B, G, h, w] of the heatmaps of the keypoints that share a tag map."""
    batch, _, *size = heatmaps.shape
    highest = heatmaps.new_zeros(batch, int(index.max()) + 1, *size)
    which = index[:, None, None].expand(heatmaps.shape)
    return highest.scatter_reduce_(1, which, heatmaps, "amax")

"""This file finds people in the fields of a network without faults: what encoding alone costs."""

from collections.abc import Iterable, Sequence
from typing import Final

import torch
from torch import Tensor

from tagpose.codec.decoder import AssociativeEmbeddingDecoder
from tagpose.codec.encoder import HeatmapEncoder
from tagpose.codec.tta import merge_resolutions
from tagpose.inference.batch_decoding import decode_batch
from tagpose.models.network import PoseNetwork
from tagpose.structures import KeypointMaps, MultiResolutionMaps, Poses, Sample

_TAG_DISTANCE: Final = 3.0  # tags of two people
_MIN_HEATMAP_VALUE: Final = 0.01  # of a heatmap, from where on a tag is that of the person


@torch.inference_mode()
def decode_oracle_maps(
    samples: Iterable[Sample],
    encoders: Sequence[HeatmapEncoder],
    decoder: AssociativeEmbeddingDecoder,
    network: PoseNetwork | None = None,
    network_maps: Sequence[str] = (),
) -> dict[int, Poses]:
    """Decode targets in place of network outputs.

    Args:
        samples: batches of images.
        encoders: draw the targets of each resolution.
        decoder: of the same skeleton.
        network: its outputs replace the targets named in `network_maps`.
        network_maps: "heatmaps" or "tags"; what is lost with one of them is lost by the network there.

    Returns:
        The people of all images by image id, in image pixels.
    """
    predictions: dict[int, Poses] = {}
    for batch in samples:
        keypoint_maps = build_oracle_maps(batch, encoders)
        if network and network_maps:
            outputs = network(batch.image)._asdict()
            keypoint_maps = keypoint_maps._replace(**{name: outputs[name] for name in network_maps})
        people = decode_batch(keypoint_maps, batch.affine, decoder)
        predictions.update(zip(batch.image_id.tolist(), people, strict=True))
    return predictions


def build_oracle_maps(batch: Sample, encoders: Sequence[HeatmapEncoder]) -> KeypointMaps:
    """Targets as fields; around the keypoints of a person its tag, a multiple of 3."""
    heatmaps = [encoder(batch.keypoints, batch.mask).heatmaps for encoder in encoders]
    index = torch.tensor(encoders[0].tag_index or range(heatmaps[0].shape[1]))
    highest = _max_by_tag_map(heatmaps[0], index)
    tags = torch.full_like(highest, -_TAG_DISTANCE)
    for person in range(batch.keypoints.shape[1]):
        own = encoders[0](batch.keypoints[:, person : person + 1], batch.mask).heatmaps
        own = _max_by_tag_map(own, index)
        # where people overlap, whoever is nearer
        tags[(own > _MIN_HEATMAP_VALUE) & (own == highest)] = _TAG_DISTANCE * person
    return merge_resolutions(MultiResolutionMaps(tuple(heatmaps), tags[:, None]))


def _max_by_tag_map(heatmaps: Tensor, index: Tensor) -> Tensor:
    """Return the maximum [B, G, h, w] of the heatmaps of the keypoints that share a tag map."""
    batch, _, *size = heatmaps.shape
    highest = heatmaps.new_zeros(batch, int(index.max()) + 1, *size)
    which = index[:, None, None].expand(heatmaps.shape)
    return highest.scatter_reduce_(1, which, heatmaps, "amax")

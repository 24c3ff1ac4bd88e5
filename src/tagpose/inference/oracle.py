"""Oracle decoding: poses from encoded ground truth, the upper bound that encoding allows."""

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

_TAG_DISTANCE: Final = 3.0  # between the tags of two people
_TAG_RAMP: Final = 0.1  # difference between the tags of a person at the ends of a map
_MIN_HEATMAP_VALUE: Final = 0.01  # heatmap value above which a pixel has the person's tag


@torch.inference_mode()
def decode_oracle_maps(
    samples: Iterable[Sample],
    encoders: Sequence[HeatmapEncoder],
    decoder: AssociativeEmbeddingDecoder,
    network: PoseNetwork | None = None,
    network_maps: Sequence[str] = (),
) -> dict[int, Poses]:
    """Decode the encoded ground truth in place of network outputs.

    Args:
        samples: batches of images.
        encoders: encoders of the targets at each resolution.
        decoder: decoder for the same skeleton.
        network: network whose outputs replace the maps named in `network_maps`.
        network_maps: "heatmaps" or "tags", to attribute the loss of accuracy to one of them.

    Returns:
        Poses by image id, keypoints in image pixels.
    """
    predictions: dict[int, Poses] = {}
    for batch in samples:
        keypoint_maps = build_oracle_maps(batch, encoders)
        if "heatmaps" in network_maps:
            keypoint_maps = _make_tags_distinct(keypoint_maps)
        if network and network_maps:
            outputs = network(batch.image)._asdict()
            keypoint_maps = keypoint_maps._replace(**{name: outputs[name] for name in network_maps})
        poses = decode_batch(keypoint_maps, batch.affine, decoder)
        predictions.update(zip(batch.image_id.tolist(), poses, strict=True))
    return predictions


def build_oracle_maps(batch: Sample, encoders: Sequence[HeatmapEncoder]) -> KeypointMaps:
    """Return the targets as network outputs; each person's tag is a multiple of 3."""
    heatmaps = [encoder(batch.keypoints, batch.mask).heatmaps for encoder in encoders]
    tag_index = torch.tensor(encoders[0].tag_index or range(heatmaps[0].shape[1]))
    highest = _max_oracle_heatmaps(heatmaps[0], tag_index)
    tags = torch.full_like(highest, -_TAG_DISTANCE)
    for person in range(batch.keypoints.shape[1]):
        of_person = encoders[0](batch.keypoints[:, person : person + 1], batch.mask).heatmaps
        of_person = _max_oracle_heatmaps(of_person, tag_index)
        # where people overlap, the pixel has the tag of the nearer one
        has_tag = (of_person > _MIN_HEATMAP_VALUE) & (of_person == highest)
        tags[has_tag] = _TAG_DISTANCE * person
    return merge_resolutions(MultiResolutionMaps(tuple(heatmaps), tags[:, None]))


def _make_tags_distinct(maps: KeypointMaps) -> KeypointMaps:
    """Add a small ramp to the tags, so that the tags of a person's pixels differ.

    Peaks with exactly equal tags cannot start different people; see `tagpose.codec.grouping`.
    Predicted heatmaps have several peaks in a person's area, and predicted tags are never equal.
    The ramp does not change rounded tag distances.
    """
    height, width = maps.tags.shape[-2:]
    ramp = torch.linspace(0, _TAG_RAMP, height * width, device=maps.tags.device).view(height, width)
    return maps._replace(tags=maps.tags + ramp)


def _max_oracle_heatmaps(heatmaps: Tensor, tag_index: Tensor) -> Tensor:
    """Return the maximum [B, G, h, w] of the heatmaps of the keypoints that share a tag map."""
    batch, _, *size = heatmaps.shape
    highest = heatmaps.new_zeros(batch, int(tag_index.max()) + 1, *size)
    channels = tag_index[:, None, None].expand(heatmaps.shape)
    return highest.scatter_reduce_(1, channels, heatmaps, "amax")

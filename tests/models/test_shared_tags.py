"""Keypoints that share a tag map are learned, decoded, stored and published like any other."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tagpose.codec.decoder import build_decoder
from tagpose.codec.encoder import HeatmapEncoder
from tagpose.codec.tta import flip_maps, merge_flip
from tagpose.inference.batch_decoding import decode_batch, flipped_outputs
from tagpose.inference.oracle import build_oracle_maps
from tagpose.losses import tag_losses
from tagpose.models.checkpoint import write_checkpoint, write_mmpose_checkpoint
from tagpose.models.network import PoseNetwork
from tagpose.models.transfer import check_resumable, load_network, transfer_weights
from tagpose.skeletons.coco import BODY, WHOLEBODY
from tagpose.skeletons.skeleton import TAG_SHARING_MODES
from tagpose.structures import KeypointMaps, Sample

SMALL, HIGHER = "hrnet_w18_small", "higherhrnet_w18_small"
SIZE = (24, 32)  # heatmap pixels
IDENTITY = torch.eye(2, 3, dtype=torch.float64)[None]
shared = pytest.mark.parametrize("sharing", TAG_SHARING_MODES)


def random_maps(sharing, seed=0, batch=1):
    """Smooth maps with a few peaks each."""
    generator = torch.Generator().manual_seed(seed)
    maps = len(set(WHOLEBODY.tag_index(sharing)))
    noise = torch.rand(batch, WHOLEBODY.size + maps, 8, 10, generator=generator)
    smooth = torch.nn.functional.interpolate(noise, SIZE, mode="bicubic")
    heatmaps, tags = smooth.tensor_split([WHOLEBODY.size], 1)
    return KeypointMaps(heatmaps.contiguous() - 0.3, 4 * tags[:, None].contiguous())


def with_own_tags(keypoint_maps, sharing):
    """The same maps with a tag map for each keypoint."""
    return KeypointMaps(
        keypoint_maps.heatmaps, keypoint_maps.tags[:, :, list(WHOLEBODY.tag_index(sharing))]
    )


def draw_people(count, seed=0):
    """Keypoints [1, P, K, 3] of people side by side."""
    random = np.random.default_rng(seed)
    width = 4 * SIZE[1] / count
    xy = random.uniform((2, 2), (width - 3, 4 * SIZE[0] - 3), (count, WHOLEBODY.size, 2))
    xy[..., 0] += width * np.arange(count)[:, None]
    labelled = np.concatenate([xy, np.full((*xy.shape[:2], 1), 2.0)], -1)
    return torch.from_numpy(labelled[None].astype(np.float32))


def assert_same_people(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a.keypoints, b.keypoints)
        np.testing.assert_array_equal(a.scores, b.scores)


def test_the_index_is_that_of_keypoints_of_parts_or_of_a_single_map():
    assert WHOLEBODY.tag_index("keypoint") == tuple(range(WHOLEBODY.size))
    assert WHOLEBODY.tag_index("part") == WHOLEBODY.part_index
    assert set(WHOLEBODY.tag_index("shared")) == {0}
    with pytest.raises(ValueError, match="unknown tags 'parts'; use one of keypoint, part, shared"):
        WHOLEBODY.tag_index("parts")


def test_flipping_swaps_the_tag_maps_of_the_hands():
    parts = list(WHOLEBODY.disjoint_parts)
    swapped = {"lefthand": "righthand", "righthand": "lefthand"}
    expected = tuple(parts.index(swapped.get(part, part)) for part in parts)
    assert WHOLEBODY.channel_flip_indices("part").tags == expected


@shared
@given(seed=st.integers(0, 2**31))
def test_flipping_shared_tags_is_flipping_those_of_each_keypoint(sharing, seed):
    keypoint_maps = random_maps(sharing, seed)
    ours = flip_maps(keypoint_maps, WHOLEBODY.channel_flip_indices(sharing))
    theirs = flip_maps(with_own_tags(keypoint_maps, sharing), WHOLEBODY.channel_flip_indices())
    for a, b in zip(with_own_tags(ours, sharing), theirs, strict=True):
        assert torch.equal(a, b)


@shared
def test_losses_of_shared_tags_are_those_of_tags_of_each_keypoint(sharing):
    mask = torch.ones(1, *SIZE)
    keypoint_maps, people = random_maps(sharing), draw_people(3)
    own = HeatmapEncoder()(people, mask)
    ours = HeatmapEncoder(tag_index=WHOLEBODY.tag_index(sharing))(people, mask)
    found = tag_losses(keypoint_maps.tags[:, 0], ours)
    expected = tag_losses(with_own_tags(keypoint_maps, sharing).tags[:, 0], own)
    torch.testing.assert_close(found, expected)


@shared
@given(seed=st.integers(0, 2**31), part_mean_tags=st.booleans())
def test_decoding_shared_tags_is_decoding_those_of_each_keypoint(sharing, seed, part_mean_tags):
    own, other = (random_maps(sharing, seed + at, batch=2) for at in range(2))
    flip_indices = WHOLEBODY.channel_flip_indices(sharing)
    decoder = build_decoder(
        WHOLEBODY, part_mean_tags=part_mean_tags, tag_index=WHOLEBODY.tag_index(sharing)
    )
    merged = merge_flip(own, other, flip_indices)
    affines = IDENTITY.repeat(2, 1, 1)
    expected = decode_batch(
        with_own_tags(merged, sharing),
        affines,
        build_decoder(WHOLEBODY, part_mean_tags=part_mean_tags),
    )
    assert_same_people(decode_batch(merged, affines, decoder), expected)
    flipped = flipped_outputs(other, flip_indices)
    assert_same_people(decode_batch(own, affines, decoder, flipped=flipped), expected)


@shared
def test_people_side_by_side_are_told_apart_by_perfect_tags(sharing):
    people = draw_people(3)
    sample = Sample(
        image=torch.zeros(1, 3, 4 * SIZE[0], 4 * SIZE[1], dtype=torch.uint8),
        keypoints=people,
        mask=torch.ones(1, *SIZE, dtype=torch.uint8),
        unlabelled=torch.zeros(1, 3, len(WHOLEBODY.disjoint_parts), 4),
        affine=IDENTITY,
        image_id=torch.zeros(1, dtype=torch.int64),
    )
    tag_index = WHOLEBODY.tag_index(sharing)
    keypoint_maps = build_oracle_maps(sample, [HeatmapEncoder(subpixel=True, tag_index=tag_index)])
    decoder = build_decoder(WHOLEBODY, subpixel=True, tag_index=tag_index)
    (found,) = decode_batch(keypoint_maps, IDENTITY, decoder)
    order = np.argsort(found.keypoints[:, 0, 0])
    apart = np.abs(found.keypoints[order, :, :2] - people[0, ..., :2].numpy())
    assert len(order) == 3
    assert np.median(apart) < 0.1


@shared
@pytest.mark.parametrize("architecture", [SMALL, HIGHER])
def test_a_checkpoint_keeps_how_tags_are_shared_and_a_published_file_repeats_them(
    tmp_path, architecture, sharing
):
    network = PoseNetwork(architecture, WHOLEBODY, tag_sharing=sharing, tag_init_std=0.1).eval()
    write_checkpoint(tmp_path / "own.ckpt", network)
    image = torch.randint(0, 256, (1, 3, 64, 96), dtype=torch.uint8)
    with torch.inference_mode():
        expected = network(image)
        again = load_network(tmp_path / "own.ckpt")
        assert (again.tag_sharing, again.spec) == (sharing, network.spec)
        for a, b in zip(again(image), expected, strict=True):
            assert torch.equal(a, b)
        for name in ("mmpose.pth", "mmpose.safetensors"):
            write_mmpose_checkpoint(tmp_path / name, network)
            published = load_network(tmp_path / name)
            assert published.tag_sharing == "keypoint"
            for a, b in zip(published(image), with_own_tags(expected, sharing), strict=True):
                torch.testing.assert_close(a, b)


@shared
@pytest.mark.parametrize("source", TAG_SHARING_MODES)
@pytest.mark.parametrize("architecture", [SMALL, HIGHER])
def test_stage_two_starts_tag_maps_from_those_of_the_body(tmp_path, architecture, source, sharing):
    body = PoseNetwork(architecture, BODY, tag_sharing=source, tag_init_std=0.1).eval()
    write_checkpoint(tmp_path / "body.ckpt", body)
    network = PoseNetwork(architecture, WHOLEBODY, tag_sharing=sharing, tag_init_std=0.1).eval()
    before = network.head.weight.detach().clone()
    transfer_weights(network, tmp_path / "body.ckpt")
    shared_keypoints = range(BODY.size)
    ours, theirs = network.head.weight.detach(), body.head.weight.detach()
    torch.testing.assert_close(ours[: BODY.size], theirs[: BODY.size])
    for k in shared_keypoints:
        own = ours[WHOLEBODY.size + network.tag_index[k]]
        first = min(j for j in shared_keypoints if network.tag_index[j] == network.tag_index[k])
        torch.testing.assert_close(own, theirs[BODY.size + body.tag_index[first]])
    for other in set(network.tag_index) - {network.tag_index[k] for k in shared_keypoints}:
        start = before if sharing == "keypoint" else theirs
        row = WHOLEBODY.size + other if sharing == "keypoint" else BODY.size
        torch.testing.assert_close(ours[WHOLEBODY.size + other], start[row])


def test_a_run_is_not_resumed_with_other_tags(tmp_path):
    write_checkpoint(tmp_path / "x.ckpt", PoseNetwork(SMALL, BODY, tag_sharing="part"))
    with pytest.raises(
        ValueError, match=r"model.network.tag_sharing=part, the model keypoint; resume"
    ):
        check_resumable(PoseNetwork(SMALL, BODY), tmp_path / "x.ckpt")

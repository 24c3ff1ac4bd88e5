"""Shared tag maps are equivalent to separate ones in training, decoding and checkpoints."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tagpose.codec.decoder import build_decoder
from tagpose.codec.encoder import HeatmapEncoder
from tagpose.codec.tta import flip_maps, merge_flip
from tagpose.inference.batch_decoding import decode_batch, flipped_outputs
from tagpose.inference.oracle import build_oracle_maps, decode_oracle_maps
from tagpose.losses import tag_losses
from tagpose.models.checkpoint import load_network, write_checkpoint, write_mmpose_checkpoint
from tagpose.models.network import PoseNetwork
from tagpose.models.transfer import transfer_weights
from tagpose.skeletons.coco import BODY, WHOLEBODY
from tagpose.skeletons.skeleton import TAG_SHARING_MODES
from tagpose.structures import KeypointMaps, Sample
from tagpose.training.resume_checkpoint import check_resumable

SMALL, HIGHER = "hrnet_w18_small", "higherhrnet_w18_small"
SIZE = (24, 32)  # heatmap pixels
IDENTITY = torch.eye(2, 3, dtype=torch.float64)[None]
shared = pytest.mark.parametrize("sharing", TAG_SHARING_MODES)


def random_maps(sharing, seed=0, batch=1):
    """Return smooth maps with a few peaks each."""
    generator = torch.Generator().manual_seed(seed)
    maps = len(set(WHOLEBODY.tag_index(sharing)))
    noise = torch.rand(batch, WHOLEBODY.size + maps, 8, 10, generator=generator)
    smooth = torch.nn.functional.interpolate(noise, SIZE, mode="bicubic")
    heatmaps, tags = smooth.tensor_split([WHOLEBODY.size], 1)
    return KeypointMaps(heatmaps.contiguous() - 0.3, 4 * tags[:, None].contiguous())


def unshare_tags(keypoint_maps, sharing):
    """Return the same maps with one tag map per keypoint."""
    heatmaps, tags = keypoint_maps
    return KeypointMaps(heatmaps, tags[:, :, list(WHOLEBODY.tag_index(sharing))])


def random_people(count, seed=0):
    """Return keypoints [1, P, K, 3] of people side by side."""
    random = np.random.default_rng(seed)
    width = 4 * SIZE[1] / count
    xy = random.uniform((2, 2), (width - 3, 4 * SIZE[0] - 3), (count, WHOLEBODY.size, 2))
    xy[..., 0] += width * np.arange(count)[:, None]
    keypoints = np.concatenate([xy, np.full((*xy.shape[:2], 1), 2.0)], -1)
    return torch.from_numpy(keypoints[None].astype(np.float32))


def assert_equal_poses(batch, expected):
    for poses, expected_poses in zip(batch, expected, strict=True):
        np.testing.assert_array_equal(poses.keypoints, expected_poses.keypoints)
        np.testing.assert_array_equal(poses.scores, expected_poses.scores)


def test_tag_index_is_per_keypoint_per_part_or_constant():
    assert WHOLEBODY.tag_index("keypoint") == tuple(range(WHOLEBODY.size))
    assert WHOLEBODY.tag_index("part") == WHOLEBODY.part_index
    assert set(WHOLEBODY.tag_index("shared")) == {0}
    with pytest.raises(
        ValueError, match="unknown tag_sharing 'parts'; use one of keypoint, part, shared"
    ):
        WHOLEBODY.tag_index("parts")


def test_flipping_swaps_the_tag_maps_of_the_hands():
    parts = list(WHOLEBODY.disjoint_parts)
    swapped = {"lefthand": "righthand", "righthand": "lefthand"}
    expected = tuple(parts.index(swapped.get(part, part)) for part in parts)
    assert WHOLEBODY.channel_flip_indices("part").tags == expected


@shared
@given(seed=st.integers(0, 2**31))
def test_flipping_shared_tags_equals_flipping_separate_tags(sharing, seed):
    maps = random_maps(sharing, seed)
    flipped = flip_maps(maps, WHOLEBODY.channel_flip_indices(sharing))
    expected = flip_maps(unshare_tags(maps, sharing), WHOLEBODY.channel_flip_indices())
    for a, b in zip(unshare_tags(flipped, sharing), expected, strict=True):
        assert torch.equal(a, b)


@shared
def test_losses_of_shared_tags_equal_those_of_separate_tags(sharing):
    mask = torch.ones(1, *SIZE)
    maps, people = random_maps(sharing), random_people(3)
    separate = HeatmapEncoder()(people, mask)
    shared_targets = HeatmapEncoder(tag_index=WHOLEBODY.tag_index(sharing))(people, mask)
    losses = tag_losses(maps.tags[:, 0], shared_targets)
    expected = tag_losses(unshare_tags(maps, sharing).tags[:, 0], separate)
    torch.testing.assert_close(losses, expected)


@shared
@settings(max_examples=5)  # of 0.2 s each
@given(seed=st.integers(0, 2**31), part_mean_tags=st.booleans())
def test_decoding_shared_tags_equals_decoding_separate_tags(sharing, seed, part_mean_tags):
    original, flipped = (random_maps(sharing, seed + n, batch=2) for n in range(2))
    flip_indices = WHOLEBODY.channel_flip_indices(sharing)
    decoder = build_decoder(
        WHOLEBODY, part_mean_tags=part_mean_tags, tag_index=WHOLEBODY.tag_index(sharing)
    )
    merged = merge_flip(original, flipped, flip_indices)
    affines = IDENTITY.repeat(2, 1, 1)
    expected = decode_batch(
        unshare_tags(merged, sharing),
        affines,
        build_decoder(WHOLEBODY, part_mean_tags=part_mean_tags),
    )
    assert_equal_poses(decode_batch(merged, affines, decoder), expected)
    outputs = flipped_outputs(flipped, flip_indices)
    assert_equal_poses(decode_batch(original, affines, decoder, flipped=outputs), expected)


def make_sample(people):
    """Return a batch of one image with these people."""
    return Sample(
        image=torch.zeros(1, 3, 4 * SIZE[0], 4 * SIZE[1], dtype=torch.uint8),
        keypoints=people,
        mask=torch.ones(1, *SIZE, dtype=torch.uint8),
        unlabeled=torch.zeros(1, 3, len(WHOLEBODY.disjoint_parts), 4),
        affine=IDENTITY,
        image_id=torch.zeros(1, dtype=torch.int64),
    )


def assert_people_are_found(poses, people):
    """Check that the poses with the highest scores are those of the people."""
    best = poses.keypoints[: people.shape[1]]
    found = best[np.argsort(best[:, 0, 0])]
    errors = np.abs(found[..., :2] - people[0, ..., :2].numpy())
    assert len(found) == people.shape[1]
    assert np.median(errors) < 0.1


@shared
def test_oracle_tags_separate_people_side_by_side(sharing):
    people, tag_index = random_people(3), WHOLEBODY.tag_index(sharing)
    encoder = HeatmapEncoder(subpixel=True, tag_index=tag_index)
    keypoint_maps = build_oracle_maps(make_sample(people), [encoder])
    decoder = build_decoder(WHOLEBODY, subpixel=True, tag_index=tag_index)
    (poses,) = decode_batch(keypoint_maps, IDENTITY, decoder)
    assert len(poses.scores) == 3
    assert_people_are_found(poses, people)


@shared
def test_with_ground_truth_tags_weaker_peaks_on_a_person_do_not_replace_the_correct_ones(sharing):
    people, tag_index = random_people(3), WHOLEBODY.tag_index(sharing)
    encoder = HeatmapEncoder(subpixel=True, tag_index=tag_index)

    def predict(image):
        heatmaps = encoder(people, torch.ones(1, *SIZE)).heatmaps
        repeated = heatmaps + 0.5 * heatmaps.roll(1, 1)  # also at another keypoint of each person
        return KeypointMaps(repeated, torch.zeros(1, 1, max(tag_index) + 1, *SIZE))

    decoder = build_decoder(WHOLEBODY, subpixel=True, tag_index=tag_index, max_people=None)
    poses = decode_oracle_maps([make_sample(people)], [encoder], decoder, predict, ["heatmaps"])[0]
    assert_people_are_found(poses, people)


@shared
@pytest.mark.parametrize("architecture", [SMALL, HIGHER])
def test_checkpoints_keep_tag_sharing_and_mmpose_checkpoints_repeat_tags(
    tmp_path, architecture, sharing
):
    network = PoseNetwork(architecture, WHOLEBODY, tag_sharing=sharing, tag_init_std=0.1).eval()
    write_checkpoint(tmp_path / "own.ckpt", network)
    image = torch.randint(0, 256, (1, 3, 64, 96), dtype=torch.uint8)
    with torch.inference_mode():
        expected = network(image)
        loaded = load_network(tmp_path / "own.ckpt")
        assert (loaded.tag_sharing, loaded.spec) == (sharing, network.spec)
        for a, b in zip(loaded(image), expected, strict=True):
            assert torch.equal(a, b)
        for name in ("mmpose.pth", "mmpose.safetensors"):
            write_mmpose_checkpoint(tmp_path / name, network)
            unshared = load_network(tmp_path / name)
            assert unshared.tag_sharing == "keypoint"
            for a, b in zip(unshared(image), unshare_tags(expected, sharing), strict=True):
                torch.testing.assert_close(a, b)


@shared
@pytest.mark.parametrize("source", TAG_SHARING_MODES)
@pytest.mark.parametrize("architecture", [SMALL, HIGHER])
def test_tag_maps_of_stage_two_are_initialized_from_stage_one(
    tmp_path, architecture, source, sharing
):
    body = PoseNetwork(architecture, BODY, tag_sharing=source, tag_init_std=0.1).eval()
    write_checkpoint(tmp_path / "body.ckpt", body)
    network = PoseNetwork(architecture, WHOLEBODY, tag_sharing=sharing, tag_init_std=0.1).eval()
    before = network.head.weight.detach().clone()
    transfer_weights(network, tmp_path / "body.ckpt")
    shared_keypoints = range(BODY.size)
    weight, body_weight = network.head.weight.detach(), body.head.weight.detach()
    torch.testing.assert_close(weight[: BODY.size], body_weight[: BODY.size])
    for k in shared_keypoints:
        channel = weight[WHOLEBODY.size + network.tag_index[k]]
        first = min(j for j in shared_keypoints if network.tag_index[j] == network.tag_index[k])
        torch.testing.assert_close(channel, body_weight[BODY.size + body.tag_index[first]])
    for tag in set(network.tag_index) - {network.tag_index[k] for k in shared_keypoints}:
        initial = before if sharing == "keypoint" else body_weight
        channel = WHOLEBODY.size + tag if sharing == "keypoint" else BODY.size
        torch.testing.assert_close(weight[WHOLEBODY.size + tag], initial[channel])


def test_a_run_cannot_be_resumed_with_another_tag_sharing(tmp_path):
    write_checkpoint(tmp_path / "x.ckpt", PoseNetwork(SMALL, BODY, tag_sharing="part"))
    with pytest.raises(
        ValueError, match="tag_sharing=part, but the model has tag_sharing=keypoint"
    ):
        check_resumable(PoseNetwork(SMALL, BODY), tmp_path / "x.ckpt")

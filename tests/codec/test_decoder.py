"""The decoder finds exactly the people that were encoded, and equals exhaustive references."""

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.nn import functional

from helpers.naive_decoder import decode_tensors
from tagpose.codec.compilation import compiled
from tagpose.codec.decoder import AssociativeEmbeddingDecoder, build_decoder
from tagpose.codec.encoder import HeatmapEncoder
from tagpose.codec.grouping import GroupingConfig
from tagpose.codec.interpolation import make_grid, sample_bilinear
from tagpose.codec.missing_keypoints import fill_missing
from tagpose.codec.peaks import find_peaks
from tagpose.codec.tta import flip_maps, merge_flip, merge_scales, upsample
from tagpose.inference.batch_decoding import flipped_outputs
from tagpose.skeletons.coco import BODY, WHOLEBODY
from tagpose.skeletons.skeleton import ChannelFlipIndices
from tagpose.structures import STRIDE, KeypointMaps

MAP_SIZE = 24
KEYPOINTS = 3
IDENTITY = ChannelFlipIndices(range(KEYPOINTS), range(KEYPOINTS))
LEFT, RIGHT = [(5, 5), (5, 10), (5, 15)], [(17, 6), (17, 11), (17, 16)]


def make_decoder(keypoints=KEYPOINTS, **options):
    """Return a decoder of keypoints without a skeleton."""
    return AssociativeEmbeddingDecoder(GroupingConfig(tuple(range(keypoints))), **options)


def decode(keypoint_maps, *size, **options):
    """Decode maps with a decoder that has these options."""
    decoder = make_decoder(keypoint_maps.heatmaps.shape[1], **options)
    return decode_tensors(decoder, keypoint_maps, *size)


def decode_peaks(keypoint_maps):
    """Decode maps without filling in missing keypoints."""
    return decode(keypoint_maps, fill_missing=False)


seeds = st.integers(0, 2**31)
sizes = st.integers(1, 9)
# input pixels per tag pixel, and heatmap pixels per tag pixel along an axis
ratios = st.sampled_from([(1, 1), (3, 1), (3, 3), (4, 1), (4, 2), (4, 4), (6, 2), (6, 3), (8, 2)])


def paint(people, tags, tilt=1e-3):
    """Return maps of one image with a Gaussian at each keypoint, surrounded by the person's tag.

    The tilt breaks the tie between the four input pixels around the center of a heatmap pixel.
    """
    keypoints = torch.zeros(1, len(people), KEYPOINTS, 3)
    tag_maps = torch.zeros(1, 1, KEYPOINTS, MAP_SIZE, MAP_SIZE)
    for person, (pixels, tag) in enumerate(zip(people, tags, strict=True)):
        for keypoint, (x, y) in enumerate(pixels):
            keypoints[0, person, keypoint] = torch.tensor([STRIDE * x, STRIDE * y, 2])
            tag_maps[0, 0, keypoint, max(y - 4, 0) : y + 5, max(x - 4, 0) : x + 5] = tag
    slope = 1 + tilt * torch.arange(MAP_SIZE)
    heatmaps = HeatmapEncoder()(keypoints, torch.ones(1, MAP_SIZE, MAP_SIZE)).heatmaps
    return KeypointMaps(heatmaps * slope * slope[:, None], tag_maps)


def noise(seed, keypoints=KEYPOINTS, map_size=MAP_SIZE):
    """Return maps of one image with uniform heatmaps and normal tags."""
    generator = torch.Generator().manual_seed(seed)
    heatmaps = torch.rand(1, keypoints, map_size, map_size, generator=generator)
    tags = torch.randn(1, 1, keypoints, map_size, map_size, generator=generator)
    return KeypointMaps(heatmaps, tags)


def keypoint_set(people):
    """Return the rounded keypoints of each person as a set."""
    return {tuple(person.round(3).flatten()) for person in people.keypoints}


@given(
    keypoint_pixels=st.lists(
        st.tuples(*2 * [st.integers(0, MAP_SIZE - 1)]), min_size=KEYPOINTS, max_size=KEYPOINTS
    )
)
def test_decoding_inverts_encoding(keypoint_pixels):
    keypoints = decode(paint([keypoint_pixels], [0], tilt=0))[0].keypoints
    expected = (np.array(keypoint_pixels) + 0.5) * STRIDE
    assert len(keypoints) == 1
    assert np.abs(keypoints[0, :, :2] - expected).max() <= STRIDE / 2


@settings(max_examples=25)
@given(seed=seeds, count=st.integers(1, 3), skeleton=st.sampled_from([BODY, WHOLEBODY]))
def test_separate_people_are_decoded_within_a_quarter_pixel_and_rounding(seed, count, skeleton):
    rng, width = np.random.default_rng(seed), 20  # heatmap pixels for each person, side by side
    positions = rng.uniform(3, width - 3, (count, skeleton.size, 2))  # people do not touch
    positions[..., 0] += width * np.arange(count)[:, None]
    keypoints = torch.zeros(1, count, skeleton.size, 3)
    keypoints[0, ..., :2], keypoints[..., 2] = torch.from_numpy(STRIDE * positions), 2
    heatmaps = HeatmapEncoder()(keypoints, torch.ones(1, width, width * count)).heatmaps
    # break the tie between the four input pixels around the center of a heatmap pixel
    generator = torch.Generator().manual_seed(seed)
    slope = 1 + 1e-3 * torch.rand(heatmaps.shape[-2:], generator=generator)
    tags = (3.0 * torch.arange(count)).repeat_interleave(width).expand(heatmaps.shape)
    maps = KeypointMaps(heatmaps * slope, tags[:, None])
    poses = decode_tensors(build_decoder(skeleton), maps)[0]
    errors = poses.keypoints[:, None, :, :2] - STRIDE * positions[None]
    assert len(poses.scores) == count
    assert np.abs(errors).max((-1, -2)).min(0).max() <= STRIDE * (0.5 + 0.25)


def test_flipped_maps_decode_to_flipped_people():
    keypoint_maps = paint([LEFT, RIGHT], [0, 3])
    flip_indices = (0, 2, 1)  # the last two keypoints are left and right
    people = decode(flip_maps(keypoint_maps, ChannelFlipIndices(flip_indices, flip_indices)))[0]
    flipped_back = people._replace(keypoints=people.keypoints[:, flip_indices])
    flipped_back.keypoints[..., 0] = STRIDE * MAP_SIZE - flipped_back.keypoints[..., 0]
    assert keypoint_set(flipped_back) == keypoint_set(decode(keypoint_maps)[0])


def test_empty_maps_contain_no_people():
    people = decode(
        KeypointMaps(torch.zeros(2, KEYPOINTS, 8, 8), torch.zeros(2, 1, KEYPOINTS, 8, 8))
    )
    assert [poses.keypoints.shape for poses in people] == 2 * [(0, KEYPOINTS, 3)]
    assert [poses.scores.shape for poses in people] == 2 * [(0,)]


@pytest.mark.parametrize("tags", [(0, 3), (3, 0), (-2, 2)])
def test_two_people_with_different_tags_are_decoded_as_if_alone(tags):
    people = decode(paint([LEFT, RIGHT], tags))[0]
    alone = [decode(paint([pixels], [0]))[0] for pixels in (LEFT, RIGHT)]
    assert len(people.scores) == 2
    assert keypoint_set(people) == keypoint_set(alone[0]) | keypoint_set(alone[1])


def test_tags_decide_whether_keypoints_belong_to_one_person():
    outside = (MAP_SIZE, 0)
    first, second = [*LEFT[:2], outside], [outside, outside, RIGHT[2]]
    assert len(decode_peaks(paint([first, second], [1, 1]))[0].scores) == 1
    assert len(decode_peaks(paint([first, second], [1, 3]))[0].scores) == 2


def test_filled_in_keypoints_do_not_change_the_person_score():
    keypoint_maps = paint([LEFT, RIGHT], [0, 3])
    keypoint_maps.heatmaps[0, 2] *= 0.09  # below min_score
    filled, detected = decode(keypoint_maps)[0], decode_peaks(keypoint_maps)[0]
    assert (detected.keypoints[:, 2] == 0).all()
    assert (filled.keypoints[:, 2, 2] > 0).all()
    assert (filled.scores == detected.scores).all()
    assert filled.keypoints[:, 2, 0] == pytest.approx(filled.keypoints[:, 1, 0], abs=1)


@given(seed=seeds)
def test_two_flips_cancel(seed):
    keypoint_maps, flip_indices = noise(seed, BODY.size, 4), BODY.channel_flip_indices()
    restored = flip_maps(flip_maps(keypoint_maps, flip_indices), flip_indices)
    assert all(torch.equal(*pair) for pair in zip(keypoint_maps, restored, strict=True))


def test_merging_exactly_flipped_outputs_only_repeats_the_tags():
    keypoint_maps, flip_indices = noise(0, BODY.size), BODY.channel_flip_indices()
    merged = merge_flip(keypoint_maps, flip_maps(keypoint_maps, flip_indices), flip_indices)
    assert torch.equal(merged.heatmaps, keypoint_maps.heatmaps)
    assert torch.equal(merged.tags, keypoint_maps.tags.repeat(1, 2, 1, 1, 1))


@given(seed=seeds, fine_heatmaps=st.booleans())
def test_flip_test_inside_the_decoder_equals_decoding_of_merged_maps(seed, fine_heatmaps):
    original, flipped = (
        KeypointMaps(*map(torch.cat, zip(noise(s, BODY.size), sparse_noise(s), strict=True)))
        for s in (seed, seed + 1)
    )
    if fine_heatmaps:
        original, flipped = (
            KeypointMaps(outputs.heatmaps, outputs.tags[..., ::2, ::2])
            for outputs in (original, flipped)
        )
    decoder, flip_indices = build_decoder(BODY), BODY.channel_flip_indices()
    expected = decode_tensors(decoder, merge_flip(original, flipped, flip_indices))
    poses = decode_tensors(decoder, original, flipped=flipped_outputs(flipped, flip_indices))
    for image_poses, image_expected in zip(poses, expected, strict=True):
        np.testing.assert_array_equal(image_poses.keypoints, image_expected.keypoints)
        np.testing.assert_array_equal(image_poses.scores, image_expected.scores)


def sparse_noise(seed):
    """Return maps of one image with few peaks."""
    heatmaps, tags = noise(seed, BODY.size)
    return KeypointMaps(heatmaps * (heatmaps > 0.999), tags)


def test_nan_in_the_flipped_outputs_is_an_error():
    original, flipped = noise(0), flipped_outputs(noise(1), IDENTITY)
    flipped.heatmaps[0, 1, 2, 3] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        decode_tensors(make_decoder(), original, flipped=flipped)


def test_an_empty_batch_has_no_people():
    assert make_decoder()(np.zeros((0, KEYPOINTS, 8, 8)), np.zeros((0, 1, KEYPOINTS, 8, 8))) == []


def test_merging_a_single_scale_does_not_change_the_poses():
    keypoint_maps = paint([LEFT, RIGHT], [0, 3])
    merged = merge_scales([keypoint_maps], reference=0, size=(STRIDE * MAP_SIZE, STRIDE * MAP_SIZE))
    assert np.allclose(decode(merged)[0].keypoints, decode(keypoint_maps)[0].keypoints)


def test_a_batch_is_decoded_like_its_single_images():
    images = [noise(0), paint([LEFT, RIGHT], [0, 3]), noise(1)]
    batch = KeypointMaps(*map(torch.cat, zip(*images, strict=True)))
    for poses, image in zip(decode(batch), images, strict=True):
        assert (poses.keypoints == decode(image)[0].keypoints).all()


def test_memory_format_does_not_change_the_poses():
    swap = ChannelFlipIndices((0, 2, 1), (0, 2, 1))
    views = [noise(seed) for seed in range(2)]
    channels_last = [
        KeypointMaps(*(tensor.movedim(-3, -1).contiguous().movedim(-1, -3) for tensor in view))
        for view in views
    ]
    assert not channels_last[0].heatmaps.is_contiguous()
    (expected,), (poses,) = (decode(merge_flip(*pair, swap)) for pair in (views, channels_last))
    np.testing.assert_array_equal(poses.keypoints, expected.keypoints)
    (expected,), (poses,) = (decode(pair[0]) for pair in (views, channels_last))
    np.testing.assert_array_equal(poses.keypoints, expected.keypoints)


def test_people_are_sorted_by_score_and_max_people_keeps_the_first():
    everyone = decode(noise(0), max_people=None)[0]
    best = decode(noise(0), max_people=4)[0]
    assert len(everyone.scores) > 4
    assert (np.diff(everyone.scores) <= 0).all()
    assert (best.keypoints == everyone.keypoints[:4]).all()


sample_compiled = compiled(sample_bilinear)


@given(seed=seeds, map_size=st.tuples(sizes, sizes), ratio=st.sampled_from([1, 2, 4, 5]))
def test_sample_bilinear_equals_the_upsampled_map(seed, map_size, ratio):
    maps = torch.rand(2, *map_size, generator=torch.Generator().manual_seed(seed))
    size = (ratio * map_size[0], ratio * map_size[1])
    grid, values = make_grid(map_size, size), maps[1].numpy()
    pixels = [sample_compiled(values, grid, y, x) for y, x in np.ndindex(size)]
    np.testing.assert_allclose(np.reshape(pixels, size), upsample(maps, size)[1], atol=1e-6)


def random_maps(seed, kind, shape):
    """Return heatmaps [1, C, h, w] whose interpolation at ratios 1, 2 and 4 is exact in float32."""
    random = np.random.default_rng(seed)
    if kind == "steps":
        return torch.from_numpy(random.integers(-2, 8, shape) / 8).float()
    if kind == "plateaus":
        return torch.from_numpy((random.random(shape) > 0.4) * 0.5 + 0.25).float()
    return torch.from_numpy(random.integers(-(2**9), 2**10, shape) / 2**10).float()


@given(
    seed=seeds,
    kind=st.sampled_from(["steps", "plateaus", "grain"]),
    map_size=st.tuples(st.integers(5, 16), st.integers(13, 40)),
    ratio=st.sampled_from([1, 2, 4]),
    min_score=st.sampled_from([0.0, 0.1, 0.5]),
    count=st.integers(1, 40),
)
def test_peaks_are_the_highest_maxima_of_the_upsampled_map_in_the_order_of_topk(
    seed, kind, map_size, ratio, min_score, count
):
    heatmaps = random_maps(seed, kind, (1, 2, *map_size))
    size = (ratio * map_size[0], ratio * map_size[1])
    assume(64 * count <= size[0] * size[1])  # otherwise topk has another order
    decoder = make_decoder(2)
    maps = decoder.prepare(heatmaps.numpy(), np.zeros((1, 1, 2, *map_size), np.float32), size)
    peaks = find_peaks(maps, count, min_score, subpixel=False)
    upsampled = upsample(heatmaps, size)
    is_maximum = functional.max_pool2d(upsampled, 5, stride=1, padding=2) == upsampled
    expected = (upsampled * is_maximum).clamp(min=0).flatten(2).topk(count)
    is_peak = (expected.values > min_score).numpy()
    np.testing.assert_array_equal(peaks.scores, expected.values.numpy() * is_peak)
    positions = peaks.xy[..., 1] * size[1] + peaks.xy[..., 0]
    np.testing.assert_array_equal(positions[is_peak], expected.indices.numpy()[is_peak])


def test_heatmaps_without_positive_values_are_not_searched():
    empty = torch.zeros(1, WHOLEBODY.size, 64, 64)
    keypoint_maps = KeypointMaps(empty, empty[:, None].clone())
    keypoint_maps.heatmaps[0, 0, 8:56:8, 8:56:8] = 1
    keypoint_maps.tags[0, 0, 0] = 10 * torch.arange(64)[:, None] + 1000 * torch.arange(64)
    keypoints, stats = fill_all(build_decoder(WHOLEBODY), keypoint_maps)
    assert len(keypoints) == 30
    assert not keypoints[:, 1:].any()
    assert not stats.work.any()


def fill_all(decoder, keypoint_maps):
    """Return the filled-in keypoints [P, K, 3] of one image, and the search statistics."""
    maps = decoder.prepare(*(tensor.numpy() for tensor in keypoint_maps))
    peaks = find_peaks(maps, decoder.max_peaks, decoder.min_score, subpixel=False)
    groups = decoder.group(peaks, image=0)
    keypoints, image = groups.keypoints.copy(), np.zeros(len(groups.scores), np.int64)
    stats = fill_missing(keypoints, image, groups.tags, maps, peaks.block_maxima, subpixel=False)
    return keypoints, stats


@given(
    seed=seeds,
    map_size=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    ratios=ratios,
    views=st.integers(1, 3),
    spread=st.sampled_from([0.0, 0.3, 3.0, 300.0]),
    empty=st.booleans(),
    shared=st.booleans(),
)
def test_bounded_search_equals_the_exhaustive_search(
    seed, map_size, ratios, views, spread, empty, shared
):
    generator, (ratio, factor) = torch.Generator().manual_seed(seed), ratios
    size = (ratio * map_size[0], ratio * map_size[1])
    fine_size = (factor * map_size[0], factor * map_size[1])
    heatmaps = torch.rand(1, 2, *fine_size, generator=generator).pow(4)
    heatmaps[:, 1] *= not empty
    tags = torch.randn(1, views, 1 if shared else 2, *map_size, generator=generator) * spread
    person_tags = (torch.randn(5, views, generator=generator) * spread).numpy()
    decoder = make_decoder(2, tag_index=(0, 0) if shared else ())
    maps = decoder.prepare(heatmaps.numpy(), tags.numpy(), size)
    keypoints, image = np.zeros((5, 2, 3), np.float32), np.zeros(5, np.int64)
    block_maxima = find_peaks(maps, 1, 0.0, subpixel=False).block_maxima
    fill_missing(keypoints, image, person_tags, maps, block_maxima, subpixel=False)
    scores = upsample(heatmaps[0], size).numpy()  # [2, H, W]
    all_tags = upsample(tags[0], size).expand(-1, 2, -1, -1).numpy()  # [L, 2, H, W]
    for person, person_tag in enumerate(person_tags):
        distance = np.sqrt(((all_tags - person_tag[:, None, None, None]) ** 2).sum(0))
        tolerance = 1e-5 * (1 + abs(all_tags).max())  # float32 may round halves up or down
        highest = scores - np.round(np.maximum(distance - tolerance, 0))
        lowest = scores - np.round(distance + tolerance)
        for keypoint, (x, y, score) in enumerate(keypoints[person]):
            if empty and keypoint == 1:
                assert score == 0
                continue
            pixel = keypoint, int(y), int(x)
            assert highest[pixel] >= lowest[keypoint].max() - 1e-5
            assert score == pytest.approx(scores[pixel], abs=1e-5)


SIZE = 128, 176  # map size of a 4:3 photograph at an input size of 512


def worst_case_heatmaps(kind):
    """Return heatmaps [1, K, h, w] that are hard to search."""
    random = np.random.default_rng(0)
    shape = (1, WHOLEBODY.size, *SIZE)
    if kind == "constant":
        return np.full(shape, 0.5, np.float32)
    if kind == "noise":
        return random.random(shape, np.float32)
    if kind == "two values":
        return np.where(random.random(shape) > 0.5, np.float32(1), np.float32(0.2))
    slope = np.add.outer(np.linspace(0, 0.4, SIZE[0]), np.linspace(0, 0.4, SIZE[1]))
    return np.broadcast_to(slope.astype(np.float32) + 0.1, shape).copy()


def worst_case_tags(kind):
    """Return tags [1, 2, K, h, w] that are hard to search; a number is the sigma of noise."""
    random, (rows, columns) = np.random.default_rng(1), np.indices(SIZE)
    shape = (1, 2, WHOLEBODY.size, *SIZE)
    if kind == "equal":
        return np.zeros(shape, np.float32)
    if kind == "far apart":
        tags = 10 * rows + 1000 * columns
    elif kind == "checkered":
        tags = 10 * (-1) ** (rows + columns)
    else:
        return (float(kind) * random.standard_normal(shape)).astype(np.float32)
    return np.broadcast_to(tags.astype(np.float32), shape).copy()


HEATMAPS = ("constant", "noise", "two values", "slope")
TAGS = ("equal", "far apart", "checkered", "0.001", "1", "100")
# each kind of map at least once; the other combinations are marked as slow
QUICK = {
    *[("noise", tags, 30) for tags in TAGS],
    *[(heatmaps, "equal", 100) for heatmaps in HEATMAPS],
    ("slope", "100", 100),
}
WORST = [
    pytest.param(*case, marks=() if case in QUICK else pytest.mark.slow)
    for case in product(HEATMAPS, TAGS, (30, 100))
]


@pytest.mark.parametrize(("heatmaps", "tags", "max_people"), WORST)
def test_work_is_bounded_for_every_input(heatmaps, tags, max_people):
    maps = KeypointMaps(
        torch.from_numpy(worst_case_heatmaps(heatmaps)), torch.from_numpy(worst_case_tags(tags))
    )
    keypoints, stats = fill_all(build_decoder(WHOLEBODY, max_people=max_people), maps)
    assert np.isfinite(keypoints).all()
    # 200,000 for the first people, and the most promising block of each of the others
    assert stats.work.max() <= 200_000 + (1 + max_people) * 64 * (1 + 4 * 4)
    if tags in ("equal", "0.001"):
        assert not stats.unfinished.any()


def test_searches_that_stop_early_are_logged(caplog):
    maps = worst_case_heatmaps("noise")[:, :9], worst_case_tags("100")[:, :, :9]
    people = make_decoder(9)(*maps)[0]
    assert len(people.scores) == 30
    assert "Stopped the search for" in caplog.text


def test_a_non_finite_tag_is_an_error_only_where_a_missing_keypoint_may_be():
    maps = paint([LEFT], [0.0])
    maps.heatmaps[0, 2] *= 0.05  # too low for a peak
    (expected,) = decode(maps)
    maps.tags[0, 0, 2, -1, -1] = torch.nan  # where the heatmap is 0
    (poses,) = decode(maps)
    np.testing.assert_array_equal(poses.keypoints, expected.keypoints)
    x, y = LEFT[2]
    maps.tags[0, 0, 2, y, x] = torch.nan
    with pytest.raises(ValueError, match="NaN"):
        decode(maps)


def test_non_finite_maps_and_maps_of_the_wrong_shape_are_errors():
    keypoint_maps = noise(0)
    with pytest.raises(ValueError, match="same skeleton"):
        decode_tensors(build_decoder(BODY), keypoint_maps)
    keypoint_maps.tags[0, 0, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match="NaN"):
        decode(keypoint_maps)
    with pytest.raises(ValueError, match="not multiples"):
        decode(noise(0), (STRIDE * MAP_SIZE, 2 * STRIDE * MAP_SIZE))
    coarse = KeypointMaps(noise(0, map_size=MAP_SIZE // 2).heatmaps, noise(0).tags)
    with pytest.raises(ValueError, match="not multiples"):
        decode(coarse)
    flipped = flipped_outputs(noise(1, map_size=MAP_SIZE // 2), IDENTITY)
    with pytest.raises(ValueError, match="outputs of the same network for the same images"):
        decode_tensors(make_decoder(), noise(0), flipped=flipped)
    with pytest.raises(ValueError, match="heatmaps and tags have the shapes"):
        decode(KeypointMaps(noise(0).heatmaps.repeat(2, 1, 1, 1), noise(0).tags))
    repeated = ChannelFlipIndices(range(KEYPOINTS), (0, 0, 1))
    with pytest.raises(ValueError, match="3 flip indices of tag maps for 3 channels"):
        decode_tensors(make_decoder(), noise(0), flipped=flipped_outputs(noise(1), repeated))
    too_few = ChannelFlipIndices((0, 1), range(KEYPOINTS))
    with pytest.raises(ValueError, match="2 flip indices for 3 channels"):
        decode_tensors(make_decoder(), noise(0), flipped=flipped_outputs(noise(1), too_few))
    with pytest.raises(ValueError, match="min_score"):
        build_decoder(BODY, min_score=-1)


@given(x=st.floats(6, 4 * MAP_SIZE - 8), y=st.floats(6, 4 * MAP_SIZE - 8), height=st.floats(0.2, 1))
def test_subpixel_decoding_inverts_subpixel_encoding(x, y, height):
    keypoints = torch.tensor([x, y, 2.0]).expand(1, 1, KEYPOINTS, 3)
    heatmaps = HeatmapEncoder(subpixel=True)(keypoints, torch.ones(1, MAP_SIZE, MAP_SIZE)).heatmaps
    keypoint_maps = KeypointMaps(
        height * heatmaps, torch.zeros(1, 1, KEYPOINTS, MAP_SIZE, MAP_SIZE)
    )
    (people,) = decode(keypoint_maps, subpixel=True)
    np.testing.assert_allclose(people.keypoints[0, :, :2], KEYPOINTS * [[x, y]], atol=0.01)


def test_peaks_at_the_border_stay_at_the_center_of_their_pixel():
    heatmaps = torch.zeros(1, KEYPOINTS, MAP_SIZE, MAP_SIZE)
    heatmaps[..., 0, MAP_SIZE - 1] = 1
    (people,) = decode(KeypointMaps(heatmaps, heatmaps[:, None]), subpixel=True)
    np.testing.assert_allclose(people.keypoints[0, 0, :2], [STRIDE * MAP_SIZE - 2.5, 1.5])


def test_multi_scale_tags_are_concatenated_at_the_resolution_of_scale_1():
    views = [noise(0), noise(1, map_size=2 * MAP_SIZE)]
    size = (STRIDE * MAP_SIZE, STRIDE * MAP_SIZE)
    single, multiple = (
        merge_scales(views, 0, size, multi_scale_tags=multi_scale_tags)
        for multi_scale_tags in (False, True)
    )
    assert torch.equal(single.heatmaps, multiple.heatmaps)
    assert torch.equal(single.tags, views[0].tags)
    tags, downsampled = multiple.tags[0]
    assert torch.equal(tags, views[0].tags[0, 0])
    blocks = views[1].tags[0, 0].unflatten(-1, (MAP_SIZE, 2)).unflatten(-3, (MAP_SIZE, 2))
    torch.testing.assert_close(downsampled, blocks.mean((-3, -1)))

"""Whoever is painted into the fields comes out of them, and nobody else."""

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.nn import functional

from helpers.naive_decoder import decode as decode_with
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
KINDS = 3
OWN = ChannelFlipIndices(range(KINDS), range(KINDS))  # every channel stays in its place
LEFT, RIGHT = [(5, 5), (5, 10), (5, 15)], [(17, 6), (17, 11), (17, 16)]


def decoder_of(kinds=KINDS, **options):
    """A decoder of keypoints without a skeleton."""
    return AssociativeEmbeddingDecoder(GroupingConfig(tuple(range(kinds))), **options)


def decode(keypoint_maps, *size, **options):
    """People of keypoint_maps, by a decoder with these options."""
    return decode_with(decoder_of(keypoint_maps.heatmaps.shape[1], **options), keypoint_maps, *size)


def detect(keypoint_maps):
    """People of fields with their peaks alone."""
    return decode(keypoint_maps, fill_missing=False)


seeds = st.integers(0, 2**31)
sides = st.integers(1, 9)
# input pixels per heatmap pixels of the tags, cells of the heatmaps along one of those
ratios = st.sampled_from([(1, 1), (3, 1), (3, 3), (4, 1), (4, 2), (4, 4), (6, 2), (6, 3), (8, 2)])


def paint(people, tags, tilt=1e-3):
    """KeypointMaps of one image with a Gaussian at each person's map_size, and its tag all around.

    The tilt tells the four pixels around a cell apart, which are equal otherwise.
    """
    keypoints = torch.zeros(1, len(people), KINDS, 3)
    keypoint_maps = torch.zeros(1, 1, KINDS, MAP_SIZE, MAP_SIZE)
    for number, (keypoint_pixels, tag) in enumerate(zip(people, tags, strict=True)):
        for kind, (x, y) in enumerate(keypoint_pixels):
            keypoints[0, number, kind] = torch.tensor([STRIDE * x, STRIDE * y, 2])
            keypoint_maps[0, 0, kind, max(y - 4, 0) : y + 5, max(x - 4, 0) : x + 5] = tag
    slope = 1 + tilt * torch.arange(MAP_SIZE)
    heatmaps = HeatmapEncoder()(keypoints, torch.ones(1, MAP_SIZE, MAP_SIZE)).heatmaps
    return KeypointMaps(heatmaps * slope * slope[:, None], keypoint_maps)


def noise(seed, kinds=KINDS, map_size=MAP_SIZE):
    draw = torch.Generator().manual_seed(seed)
    heatmaps = torch.rand(1, kinds, map_size, map_size, generator=draw)
    return KeypointMaps(heatmaps, torch.randn(1, 1, kinds, map_size, map_size, generator=draw))


def places(people):
    """Keypoints of all people, as a set of rounded rows."""
    return {tuple(person.round(3).flatten()) for person in people.keypoints}


@given(
    keypoint_pixels=st.lists(
        st.tuples(*2 * [st.integers(0, MAP_SIZE - 1)]), min_size=KINDS, max_size=KINDS
    )
)
def test_what_was_encoded_is_found_where_it_was(keypoint_pixels):
    found = decode(paint([keypoint_pixels], [0], tilt=0))[0].keypoints
    middle = (np.array(keypoint_pixels) + 0.5) * STRIDE
    assert len(found) == 1
    assert np.abs(found[0, :, :2] - middle).max() <= STRIDE / 2


@settings(max_examples=25)
@given(seed=seeds, count=st.integers(1, 3), skeleton=st.sampled_from([BODY, WHOLEBODY]))
def test_people_apart_come_back_within_a_quarter_cell_and_rounding(seed, count, skeleton):
    rng, width = np.random.default_rng(seed), 20  # heatmap pixels for each person, side by side
    places = rng.uniform(3, width - 3, (count, skeleton.size, 2))  # two of a kind do not touch
    places[..., 0] += width * np.arange(count)[:, None]
    keypoints = torch.zeros(1, count, skeleton.size, 3)
    keypoints[0, ..., :2], keypoints[..., 2] = torch.from_numpy(STRIDE * places), 2
    heatmaps = HeatmapEncoder()(keypoints, torch.ones(1, width, width * count)).heatmaps
    # no two pixels alike: an exact target has four equal ones around its cell's middle
    slope = 1 + 1e-3 * torch.rand(
        heatmaps.shape[-2:], generator=torch.Generator().manual_seed(seed)
    )
    tags = (3.0 * torch.arange(count)).repeat_interleave(width).expand(heatmaps.shape)
    maps = KeypointMaps(heatmaps * slope, tags[:, None])
    found = decode_with(build_decoder(skeleton), maps)[0]
    there = found.keypoints[:, None, :, :2] - STRIDE * places[None]
    assert len(found.scores) == count
    assert np.abs(there).max((-1, -2)).min(0).max() <= STRIDE * (0.5 + 0.25)


def test_flipped_fields_have_the_flipped_people():
    keypoint_maps, flip_indices = (
        paint([LEFT, RIGHT], [0, 3]),
        (0, 2, 1),
    )  # the last two are left and right
    people = decode(flip_maps(keypoint_maps, ChannelFlipIndices(flip_indices, flip_indices)))[0]
    back = people._replace(keypoints=people.keypoints[:, flip_indices])
    back.keypoints[..., 0] = STRIDE * MAP_SIZE - back.keypoints[..., 0]
    assert places(back) == places(decode(keypoint_maps)[0])


def test_nobody_is_found_in_empty_fields():
    people = decode(KeypointMaps(torch.zeros(2, KINDS, 8, 8), torch.zeros(2, 1, KINDS, 8, 8)))
    assert [one.keypoints.shape for one in people] == 2 * [(0, KINDS, 3)]
    assert [one.scores.shape for one in people] == 2 * [(0,)]


@pytest.mark.parametrize("tags", [(0, 3), (3, 0), (-2, 2)])
def test_two_people_whose_tags_differ_come_out_as_they_are_whatever_the_tags(tags):
    people = decode(paint([LEFT, RIGHT], tags))[0]
    apart = [decode(paint([keypoint_pixels], [0]))[0] for keypoint_pixels in (LEFT, RIGHT)]
    assert len(people.scores) == 2
    assert places(people) == places(apart[0]) | places(apart[1])


def test_keypoints_with_one_tag_are_one_person_and_with_two_tags_two():
    half, other = (
        [*LEFT[:2], (MAP_SIZE, 0)],
        [(MAP_SIZE, 0), (MAP_SIZE, 0), RIGHT[2]],
    )  # the rest outside
    assert len(detect(paint([half, other], [1, 1]))[0].scores) == 1
    assert len(detect(paint([half, other], [1, 3]))[0].scores) == 2


def test_a_hidden_keypoint_is_filled_in_without_counting():
    keypoint_maps = paint([LEFT, RIGHT], [0, 3])
    keypoint_maps.heatmaps[0, 2] *= 0.09  # below min_score
    filled, found = decode(keypoint_maps)[0], detect(keypoint_maps)[0]
    assert (found.keypoints[:, 2] == 0).all()
    assert (filled.keypoints[:, 2, 2] > 0).all()
    assert (filled.scores == found.scores).all()
    assert filled.keypoints[:, 2, 0] == pytest.approx(filled.keypoints[:, 1, 0], abs=1)


@given(seed=seeds)
def test_flipped_twice_is_as_before(seed):
    keypoint_maps = noise(seed, BODY.size, 4)
    again = flip_maps(
        flip_maps(keypoint_maps, BODY.channel_flip_indices()), BODY.channel_flip_indices()
    )
    assert all(torch.equal(*pair) for pair in zip(keypoint_maps, again, strict=True))


def test_a_network_that_sees_the_flipped_image_flipped_adds_only_its_tags_again():
    keypoint_maps = noise(0, BODY.size)
    merged = merge_flip(
        keypoint_maps,
        flip_maps(keypoint_maps, BODY.channel_flip_indices()),
        BODY.channel_flip_indices(),
    )
    assert torch.equal(merged.heatmaps, keypoint_maps.heatmaps)
    assert torch.equal(merged.tags, keypoint_maps.tags.repeat(1, 2, 1, 1, 1))


@given(seed=seeds, finer=st.booleans())
def test_a_flip_test_that_the_decoder_merges_has_the_people_of_merged_maps(seed, finer):
    own, flipped = (
        KeypointMaps(
            *(torch.cat(pair) for pair in zip(noise(at, BODY.size), sparse(at), strict=True))
        )
        for at in (seed, seed + 1)
    )
    if finer:
        own, flipped = (
            KeypointMaps(one.heatmaps, one.tags[..., ::2, ::2]) for one in (own, flipped)
        )
    decoder = build_decoder(BODY)
    every = decode_with(decoder, merge_flip(own, flipped, BODY.channel_flip_indices()))
    found = decode_with(decoder, own, flipped=flipped_outputs(flipped, BODY.channel_flip_indices()))
    for ours, expected in zip(found, every, strict=True):
        np.testing.assert_array_equal(ours.keypoints, expected.keypoints)
        np.testing.assert_array_equal(ours.scores, expected.scores)


def sparse(seed):
    """KeypointMaps of one image with few peaks."""
    keypoint_maps = noise(seed, BODY.size)
    return KeypointMaps(
        keypoint_maps.heatmaps * (keypoint_maps.heatmaps > 0.999), keypoint_maps.tags
    )


def test_nan_in_the_flipped_outputs_is_refused():
    own, flipped = noise(0), flipped_outputs(noise(1), OWN)
    flipped.heatmaps[0, 1, 2, 3] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        decode_with(decoder_of(), own, flipped=flipped)


def test_an_empty_batch_has_no_people():
    assert decoder_of()(np.zeros((0, KINDS, 8, 8)), np.zeros((0, 1, KINDS, 8, 8))) == []


def test_one_scale_alone_decodes_as_without_merging():
    keypoint_maps = paint([LEFT, RIGHT], [0, 3])
    merged = merge_scales([keypoint_maps], reference=0, size=(STRIDE * MAP_SIZE, STRIDE * MAP_SIZE))
    assert np.allclose(decode(merged)[0].keypoints, decode(keypoint_maps)[0].keypoints)


def test_a_batch_decodes_as_its_images_one_by_one():
    images = [noise(0), paint([LEFT, RIGHT], [0, 3]), noise(1)]
    batch = KeypointMaps(*(torch.cat(parts) for parts in zip(*images, strict=True)))
    for together, image in zip(decode(batch), images, strict=True):
        assert (together.keypoints == decode(image)[0].keypoints).all()


def test_channels_held_last_decode_as_those_held_first():
    swap = ChannelFlipIndices((0, 2, 1), (0, 2, 1))
    views = [noise(seed) for seed in range(2)]
    last = [
        KeypointMaps(*(each.movedim(-3, -1).contiguous().movedim(-1, -3) for each in view))
        for view in views
    ]
    assert not last[0].heatmaps.is_contiguous()
    (one,), (other,) = (decode(merge_flip(*pair, swap)) for pair in (views, last))
    np.testing.assert_array_equal(other.keypoints, one.keypoints)
    np.testing.assert_array_equal(decode(last[0])[0].keypoints, decode(views[0])[0].keypoints)


def test_people_come_by_falling_score_and_the_best_stay():
    everybody = decode(noise(0), max_people=None)[0]
    few = decode(noise(0), max_people=4)[0]
    assert len(everybody.scores) > 4
    assert (np.diff(everybody.scores) <= 0).all()
    assert (few.keypoints == everybody.keypoints[:4]).all()


@given(seed=seeds, map_size=st.tuples(sides, sides), ratio=st.sampled_from([1, 2, 4, 5]))
def test_single_places_read_as_in_the_upsampled_map(seed, map_size, ratio):
    maps = torch.rand(2, *map_size, generator=torch.Generator().manual_seed(seed))
    size = (ratio * map_size[0], ratio * map_size[1])
    grid, values = make_grid(map_size, size), maps[1].numpy()
    read = [[sample_bilinear(values, grid, y, x) for x in range(size[1])] for y in range(size[0])]
    np.testing.assert_allclose(read, upsample(maps, size)[1], atol=1e-6)


def random_maps(seed, kind, shape):
    """Heatmaps [1, C, h, w] whose bilinear mixtures at ratios 1, 2 and 4 are exact."""
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
    least=st.sampled_from([0.0, 0.1, 0.5]),
    count=st.integers(1, 40),
)
def test_peaks_are_the_highest_maxima_of_the_upsampled_map_in_the_order_of_topk(
    seed, kind, map_size, ratio, least, count
):
    heatmaps = random_maps(seed, kind, (1, 2, *map_size))
    size = (ratio * map_size[0], ratio * map_size[1])
    assume(64 * count <= size[0] * size[1])  # otherwise topk has another order
    decoder = decoder_of(2)
    maps = decoder.prepare(heatmaps.numpy(), np.zeros((1, 1, 2, *map_size), np.float32), size)
    peaks = find_peaks(maps, count, least)
    whole = upsample(heatmaps, size)
    largest = functional.max_pool2d(whole, 5, stride=1, padding=2) == whole
    best = (whole * largest).clamp(min=0).flatten(2).topk(count)
    there = (best.values > least).numpy()
    np.testing.assert_array_equal(peaks.scores, best.values.numpy() * there)
    places = peaks.xy[..., 1] * size[1] + peaks.xy[..., 0]
    np.testing.assert_array_equal(places[there], best.indices.numpy()[there])


def test_maps_that_are_nowhere_positive_take_no_search():
    empty = torch.zeros(1, WHOLEBODY.size, 64, 64)
    keypoint_maps = KeypointMaps(empty, empty[:, None].clone())
    keypoint_maps.heatmaps[0, 0, 8:56:8, 8:56:8] = 1
    keypoint_maps.tags[0, 0, 0] = 10 * torch.arange(64)[:, None] + 1000 * torch.arange(64)
    people, effort = fill_everybody(build_decoder(WHOLEBODY), keypoint_maps)
    assert len(people) == 30
    assert not people[:, 1:].any()
    assert not effort.work.any()


def fill_everybody(decoder, keypoint_maps):
    """Keypoints [P, K, 3] of the people of one image, filled in, and what that took."""
    maps = decoder.prepare(*(each.numpy() for each in keypoint_maps))
    groups = decoder.group(find_peaks(maps, decoder.max_peaks, decoder.min_score), image=0)
    keypoints, image = groups.keypoints.copy(), np.zeros(len(groups.scores), np.int64)
    effort = fill_missing(keypoints, image, groups.tags, maps, subpixel=False)
    return keypoints, effort


@given(
    seed=seeds,
    map_size=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    ratios=ratios,
    views=st.integers(1, 3),
    spread=st.sampled_from([0.0, 0.3, 3.0, 300.0]),
    sparse=st.booleans(),
    shared=st.booleans(),
)
def test_bounded_search_finds_what_a_search_of_every_pixel_finds(
    seed, map_size, ratios, views, spread, sparse, shared
):
    draw, (pixels, finer) = torch.Generator().manual_seed(seed), ratios
    size = (pixels * map_size[0], pixels * map_size[1])
    heatmaps = torch.rand(1, 2, finer * map_size[0], finer * map_size[1], generator=draw).pow(4)
    heatmaps[:, 1] *= not sparse
    tags = torch.randn(1, views, 1 if shared else 2, *map_size, generator=draw) * spread
    owners = (torch.randn(5, views, generator=draw) * spread).numpy()
    decoder = decoder_of(2, tag_index=(0, 0) if shared else ())
    maps = decoder.prepare(heatmaps.numpy(), tags.numpy(), size)
    keypoints, image = np.zeros((5, 2, 3), np.float32), np.zeros(5, np.int64)
    fill_missing(keypoints, image, owners, maps, subpixel=False)
    score = upsample(heatmaps[0], size).numpy()  # [2, H, W]
    every = upsample(tags[0], size).expand(-1, 2, -1, -1).numpy()  # [L, 2, H, W]
    for person, owner in enumerate(owners):
        distance = np.sqrt(((every - owner[:, None, None, None]) ** 2).sum(0))
        slack = 1e-5 * (1 + abs(every).max())  # of float32, which may round a half up or down
        highest = score - np.round(np.maximum(distance - slack, 0))
        lowest = score - np.round(distance + slack)
        for kind, (x, y, found) in enumerate(keypoints[person]):
            if sparse and kind == 1:
                assert found == 0
                continue
            at = kind, int(y), int(x)
            assert highest[at] >= lowest[kind].max() - 1e-5
            assert found == pytest.approx(score[at], abs=1e-5)


SIZE = 128, 176  # of maps of a photograph at the published input size


def worst_heatmaps(kind):
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


def worst_tags(kind):
    random, (rows, columns) = np.random.default_rng(1), np.indices(SIZE)
    shape = (1, 2, WHOLEBODY.size, *SIZE)
    if kind == "equal":
        return np.zeros(shape, np.float32)
    if kind == "far apart":
        tags = 10 * rows + 1000 * columns
    elif kind == "chequered":
        tags = 10 * (-1) ** (rows + columns)
    else:
        return (float(kind) * random.standard_normal(shape)).astype(np.float32)
    return np.broadcast_to(tags.astype(np.float32), shape).copy()


HEATMAPS = ("constant", "noise", "two values", "slope")
TAGS = ("equal", "far apart", "chequered", "0.001", "1", "100")
# each kind of map at least once; the other combinations are slow
QUICK = {
    *[("noise", tags, 30) for tags in TAGS],
    *[(heatmaps, "equal", 100) for heatmaps in HEATMAPS],
    ("slope", "100", 100),
}
WORST = [
    pytest.param(*one, marks=() if one in QUICK else pytest.mark.slow)
    for one in product(HEATMAPS, TAGS, (30, 100))
]


@pytest.mark.parametrize(("heatmaps", "tags", "most"), WORST)
def test_no_input_takes_more_work_than_is_allowed(heatmaps, tags, most):
    maps = KeypointMaps(
        *(torch.from_numpy(m) for m in (worst_heatmaps(heatmaps), worst_tags(tags)))
    )
    people, effort = fill_everybody(build_decoder(WHOLEBODY, max_people=most), maps)
    assert np.isfinite(people).all()
    # 200,000 for the best people, and the most promising block of each of the others
    assert effort.work.max() <= 200_000 + (1 + most) * 64 * (1 + 4 * 4)
    if tags in ("equal", "0.001"):
        assert not effort.unfinished.any()


def test_searches_that_end_early_are_reported(caplog):
    maps = worst_heatmaps("noise")[:, :9], worst_tags("100")[:, :, :9]
    people = decoder_of(9)(*maps)[0]
    assert len(people.scores) == 30
    assert "missing keypoints stopped early" in caplog.text


def test_what_is_not_finite_or_of_another_skeleton_is_refused():
    keypoint_maps = noise(0)
    with pytest.raises(ValueError, match="same skeleton"):
        decode_with(build_decoder(BODY), keypoint_maps)
    keypoint_maps.tags[0, 0, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match="NaN"):
        decode(keypoint_maps)
    with pytest.raises(ValueError, match="not multiples"):
        decode(noise(0), (STRIDE * MAP_SIZE, 2 * STRIDE * MAP_SIZE))
    coarse = KeypointMaps(noise(0, map_size=MAP_SIZE // 2).heatmaps, noise(0).tags)
    with pytest.raises(ValueError, match="not multiples"):
        decode(coarse)
    flipped = flipped_outputs(noise(1, map_size=MAP_SIZE // 2), OWN)
    with pytest.raises(ValueError, match="outputs of the same network and images"):
        decode_with(decoder_of(), noise(0), flipped=flipped)
    with pytest.raises(ValueError, match="have the wrong shapes"):
        decode(KeypointMaps(noise(0).heatmaps.repeat(2, 1, 1, 1), noise(0).tags))
    twice = ChannelFlipIndices(range(KINDS), (0, 0, 1))
    with pytest.raises(ValueError, match="3 flip indices of tag maps for 3 channels"):
        decode_with(decoder_of(), noise(0), flipped=flipped_outputs(noise(1), twice))
    short = ChannelFlipIndices((0, 1), range(KINDS))
    with pytest.raises(ValueError, match="2 flip indices for 3 channels"):
        decode_with(decoder_of(), noise(0), flipped=flipped_outputs(noise(1), short))
    with pytest.raises(ValueError, match="min_score"):
        build_decoder(BODY, min_score=-1)


@given(x=st.floats(6, 4 * MAP_SIZE - 8), y=st.floats(6, 4 * MAP_SIZE - 8), height=st.floats(0.2, 1))
def test_what_was_encoded_between_cells_is_read_back_where_it_was(x, y, height):
    keypoints = torch.tensor([x, y, 2.0]).expand(1, 1, KINDS, 3)
    heatmaps = HeatmapEncoder(subpixel=True)(keypoints, torch.ones(1, MAP_SIZE, MAP_SIZE)).heatmaps
    keypoint_maps = KeypointMaps(height * heatmaps, torch.zeros(1, 1, KINDS, MAP_SIZE, MAP_SIZE))
    (people,) = decode(keypoint_maps, subpixel=True)
    np.testing.assert_allclose(people.keypoints[0, :, :2], KINDS * [[x, y]], atol=0.01)


def test_at_the_border_a_peak_between_cells_stays_in_its_cell():
    heatmaps = torch.zeros(1, KINDS, MAP_SIZE, MAP_SIZE)
    heatmaps[..., 0, MAP_SIZE - 1] = 1
    (people,) = decode(KeypointMaps(heatmaps, heatmaps[:, None]), subpixel=True)
    np.testing.assert_allclose(people.keypoints[0, 0, :2], [STRIDE * MAP_SIZE - 2.5, 1.5])


def test_tags_of_all_scales_stand_beside_each_other_at_the_cells_of_scale_one():
    views = [noise(0), noise(1, map_size=2 * MAP_SIZE)]
    size = (STRIDE * MAP_SIZE, STRIDE * MAP_SIZE)
    one, every = (
        merge_scales(views, 0, size, multi_scale_tags=multi_scale_tags)
        for multi_scale_tags in (False, True)
    )
    assert torch.equal(one.heatmaps, every.heatmaps)
    assert torch.equal(one.tags, views[0].tags)
    own, other = every.tags[0]
    assert torch.equal(own, views[0].tags[0, 0])
    larger = views[1].tags[0, 0].unflatten(-1, (MAP_SIZE, 2)).unflatten(-3, (MAP_SIZE, 2))
    torch.testing.assert_close(other, larger.mean((-3, -1)))

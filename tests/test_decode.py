"""Whoever is painted into the fields comes out of them, and nobody else."""

import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from tagpose.codec.bounds import bounds_of, project, value_bounds
from tagpose.codec.decode import Decoder
from tagpose.codec.encode import Encoder
from tagpose.codec.enlargement import Window, enlarge, read_enlarged, read_windows
from tagpose.codec.filling import Seekers, best_places
from tagpose.codec.maxima import local_maxima
from tagpose.codec.peaks import find_peaks
from tagpose.codec.tiles import GROUP, Maps
from tagpose.codec.views import merge_mirror, merge_scales, mirror_fields
from tagpose.official_skeletons import BODY, WHOLEBODY
from tagpose.structures import STRIDE, Fields

CELLS = 24
KINDS = 3
LEFT, RIGHT = [(5, 5), (5, 10), (5, 15)], [(17, 6), (17, 11), (17, 16)]
decode = Decoder(grouping_order=tuple(range(KINDS)))
detect = Decoder(grouping_order=tuple(range(KINDS)), fill_in=False)

seeds = st.integers(0, 2**31)
sides = st.integers(1, 9)
# input pixels per cell of the tags, cells of the heatmaps along one of those
ratios = st.sampled_from([(1, 1), (3, 1), (3, 3), (4, 1), (4, 2), (4, 4), (6, 2), (6, 3), (8, 2)])


def paint(people, tags, tilt=1e-3):
    """Fields of one image with a Gaussian at each person's cells, and its tag all around.

    The tilt tells the four pixels around a cell apart, which are equal otherwise.
    """
    keypoints = torch.zeros(1, len(people), KINDS, 3)
    fields = torch.zeros(1, 1, KINDS, CELLS, CELLS)
    for number, (cells, tag) in enumerate(zip(people, tags, strict=True)):
        for kind, (x, y) in enumerate(cells):
            keypoints[0, number, kind] = torch.tensor([STRIDE * x, STRIDE * y, 2])
            fields[0, 0, kind, max(y - 4, 0) : y + 5, max(x - 4, 0) : x + 5] = tag
    slope = 1 + tilt * torch.arange(CELLS)
    heatmaps = Encoder()(keypoints, torch.ones(1, CELLS, CELLS)).heatmaps
    return Fields(heatmaps * slope * slope[:, None], fields)


def noise(seed, kinds=KINDS, cells=CELLS):
    draw = torch.Generator().manual_seed(seed)
    heatmaps = torch.rand(1, kinds, cells, cells, generator=draw)
    return Fields(heatmaps, torch.randn(1, 1, kinds, cells, cells, generator=draw))


def places(people):
    """Keypoints of all people, as a set of rounded rows."""
    return {tuple(person.round(3).flatten()) for person in people.keypoints}


@given(cells=st.lists(st.tuples(*2 * [st.integers(0, CELLS - 1)]), min_size=KINDS, max_size=KINDS))
def test_what_was_encoded_is_found_where_it_was(cells):
    found = decode(paint([cells], [0], tilt=0))[0].keypoints
    middle = (np.array(cells) + 0.5) * STRIDE
    assert len(found) == 1
    assert np.abs(found[0, :, :2] - middle).max() <= STRIDE / 2


@settings(max_examples=25)
@given(seed=seeds, count=st.integers(1, 3), skeleton=st.sampled_from([BODY, WHOLEBODY]))
def test_people_apart_come_back_within_a_quarter_cell_and_rounding(seed, count, skeleton):
    rng, width = np.random.default_rng(seed), 20  # cells for each person, side by side
    places = rng.uniform(3, width - 3, (count, skeleton.size, 2))  # two of a kind do not touch
    places[..., 0] += width * np.arange(count)[:, None]
    keypoints = torch.zeros(1, count, skeleton.size, 3)
    keypoints[0, ..., :2], keypoints[..., 2] = torch.from_numpy(STRIDE * places), 2
    heatmaps = Encoder()(keypoints, torch.ones(1, width, width * count)).heatmaps
    # no two pixels alike: an exact target has four equal ones around its cell's middle
    slope = 1 + 1e-3 * torch.rand(
        heatmaps.shape[-2:], generator=torch.Generator().manual_seed(seed)
    )
    tags = (3.0 * torch.arange(count)).repeat_interleave(width).expand(heatmaps.shape)
    found = Decoder(skeleton.grouping_order)(Fields(heatmaps * slope, tags[:, None]))[0]
    there = found.keypoints[:, None, :, :2] - STRIDE * places[None]
    assert len(found.scores) == count
    assert np.abs(there).max((-1, -2)).min(0).max() <= STRIDE * (0.5 + 0.25)


def test_mirrored_fields_have_the_mirrored_people():
    fields, mirror = paint([LEFT, RIGHT], [0, 3]), [0, 2, 1]  # the last two are left and right
    people = decode(mirror_fields(fields, mirror))[0]
    back = people._replace(keypoints=people.keypoints[:, mirror])
    back.keypoints[..., 0] = STRIDE * CELLS - back.keypoints[..., 0]
    assert places(back) == places(decode(fields)[0])


def test_nobody_is_found_in_empty_fields():
    people = decode(Fields(torch.zeros(2, KINDS, 8, 8), torch.zeros(2, 1, KINDS, 8, 8)))
    assert [one.keypoints.shape for one in people] == 2 * [(0, KINDS, 3)]
    assert [one.scores.shape for one in people] == 2 * [(0,)]


@pytest.mark.parametrize("tags", [(0, 3), (3, 0), (-2, 2)])
def test_two_people_whose_tags_differ_come_out_as_they_are_whatever_the_tags(tags):
    people = decode(paint([LEFT, RIGHT], tags))[0]
    apart = [decode(paint([cells], [0]))[0] for cells in (LEFT, RIGHT)]
    assert len(people.scores) == 2
    assert places(people) == places(apart[0]) | places(apart[1])


def test_keypoints_with_one_tag_are_one_person_and_with_two_tags_two():
    half, other = [*LEFT[:2], (CELLS, 0)], [(CELLS, 0), (CELLS, 0), RIGHT[2]]  # the rest outside
    assert len(detect(paint([half, other], [1, 1]))[0].scores) == 1
    assert len(detect(paint([half, other], [1, 3]))[0].scores) == 2


def test_a_hidden_keypoint_is_filled_in_without_counting():
    fields = paint([LEFT, RIGHT], [0, 3])
    fields.heatmaps[0, 2] *= 0.09  # below min_score
    filled, found = decode(fields)[0], detect(fields)[0]
    assert (found.keypoints[:, 2] == 0).all()
    assert (filled.keypoints[:, 2, 2] > 0).all()
    assert (filled.scores == found.scores).all()
    assert filled.keypoints[:, 2, 0] == pytest.approx(filled.keypoints[:, 1, 0], abs=1)


@given(seed=seeds)
def test_mirrored_twice_is_as_before(seed):
    fields = noise(seed, BODY.size, 4)
    again = mirror_fields(mirror_fields(fields, BODY.mirror), BODY.mirror)
    assert all(torch.equal(*pair) for pair in zip(fields, again, strict=True))


def test_a_network_that_sees_the_mirrored_image_mirrored_adds_only_its_tags_again():
    fields = noise(0, BODY.size)
    merged = merge_mirror(fields, mirror_fields(fields, BODY.mirror), BODY.mirror)
    assert torch.equal(merged.heatmaps, fields.heatmaps)
    assert torch.equal(merged.tags, fields.tags.repeat(1, 2, 1, 1, 1))


def test_one_scale_alone_decodes_as_without_merging():
    fields = paint([LEFT, RIGHT], [0, 3])
    merged = merge_scales([fields], reference=0, size=(STRIDE * CELLS, STRIDE * CELLS))
    assert np.allclose(decode(merged)[0].keypoints, decode(fields)[0].keypoints)


def test_a_batch_decodes_as_its_images_one_by_one():
    images = [noise(0), paint([LEFT, RIGHT], [0, 3]), noise(1)]
    batch = Fields(*(torch.cat(parts) for parts in zip(*images, strict=True)))
    for together, image in zip(decode(batch), images, strict=True):
        assert (together.keypoints == decode(image)[0].keypoints).all()


def test_channels_held_last_decode_as_those_held_first():
    swap = (0, 2, 1)
    views = [noise(seed) for seed in range(2)]
    last = [
        Fields(*(each.movedim(-3, -1).contiguous().movedim(-1, -3) for each in view))
        for view in views
    ]
    assert not last[0].heatmaps.is_contiguous()
    (one,), (other,) = (decode(merge_mirror(*pair, swap)) for pair in (views, last))
    np.testing.assert_array_equal(other.keypoints, one.keypoints)
    np.testing.assert_array_equal(decode(last[0])[0].keypoints, decode(views[0])[0].keypoints)


def test_people_come_by_falling_score_and_the_best_stay():
    everybody = Decoder(tuple(range(KINDS)), max_people=None)(noise(0))[0]
    few = Decoder(tuple(range(KINDS)), max_people=4)(noise(0))[0]
    assert len(everybody.scores) > 4
    assert (np.diff(everybody.scores) <= 0).all()
    assert (few.keypoints == everybody.keypoints[:4]).all()


def test_noise_of_an_untrained_network_is_decoded_in_seconds():
    decoder, start = Decoder(WHOLEBODY.grouping_order), time.perf_counter()
    people = decoder(noise(0, WHOLEBODY.size, 128))[0]
    assert len(people.scores) == 30
    assert time.perf_counter() - start < 20  # one at the time of writing


@given(seed=seeds, cells=st.tuples(sides, sides), ratio=st.sampled_from([1, 2, 4, 5]))
def test_single_places_read_as_in_the_enlarged_map(seed, cells, ratio):
    maps = torch.rand(2, *cells, generator=torch.Generator().manual_seed(seed))
    size = (ratio * cells[0], ratio * cells[1])
    y, x = torch.meshgrid(*(torch.arange(side) for side in size), indexing="ij")
    single = read_enlarged(maps, torch.ones_like(x), x, y, size)
    assert torch.allclose(single, enlarge(maps, size)[1], atol=1e-6)


@given(seed=seeds, cells=st.tuples(sides, sides), ratio=st.sampled_from([1, 2, 4, 5]))
def test_windows_hold_what_the_enlarged_map_holds(seed, cells, ratio):
    maps = torch.rand(2, *cells, generator=torch.Generator().manual_seed(seed))
    size = (ratio * cells[0], ratio * cells[1])
    row, column = torch.arange(cells[0]), torch.arange(cells[0]) % cells[1]
    windows = read_windows(maps, row % 2, row, column, Window(-2, ratio + 4, ratio))
    around = functional.pad(enlarge(maps, size), (2, 2, 2, 2), "replicate")
    for number in range(cells[0]):
        top, left = ratio * row[number], ratio * column[number]
        expected = around[number % 2, top : top + ratio + 4, left : left + ratio + 4]
        torch.testing.assert_close(windows[..., number], expected, atol=1e-6, rtol=0)


@given(seed=seeds, ratio=st.sampled_from([1, 2, 3, 4]), least=st.sampled_from([0.0, 0.1, 0.5]))
def test_local_maxima_are_those_of_the_enlarged_map(seed, ratio, least):
    # float64, so that no pixel is the largest by rounding
    maps = torch.rand(2, 9, 12, generator=torch.Generator().manual_seed(seed)).double().pow(4) - 0.1
    size = (ratio * 9, ratio * 12)
    whole = enlarge(maps, size)
    largest = functional.max_pool2d(whole, 5, stride=1, padding=2)
    expected = (whole >= largest - 1e-12) & (whole > least)
    found = torch.zeros_like(expected)
    which, x, y, _ = local_maxima(maps, size, least)
    found[which, y, x] = True
    assert torch.equal(found, expected)


@given(seed=seeds, count=st.integers(1, 40))
def test_equal_peaks_come_in_the_order_of_topk(seed, count):
    # eighths, of which bilinear mixtures of quarters are exact
    draw = torch.Generator().manual_seed(seed)
    heatmaps = torch.randint(0, 8, (1, 2, 20, 36), generator=draw) / 8
    size = (STRIDE * 20, STRIDE * 36)
    peaks = find_peaks(Fields(heatmaps, torch.zeros(1, 1, 2, 20, 36)), size, count, 0.1)
    whole = enlarge(heatmaps, size)
    largest = functional.max_pool2d(whole, 5, stride=1, padding=2) == whole
    best = (whole * largest).flatten(2).topk(count)
    torch.testing.assert_close(peaks.scores, best.values * (best.values > 0.1))
    there = best.values > 0.1
    assert torch.equal((peaks.y * size[1] + peaks.x)[there], best.indices[there])


def test_maps_that_are_nowhere_positive_are_not_looked_through():
    empty = torch.zeros(1, WHOLEBODY.size, 64, 64)
    fields = Fields(empty, empty[:, None].clone())
    fields.heatmaps[0, 0, 8:56:8, 8:56:8] = 1
    fields.tags[0, 0, 0] = 10 * torch.arange(64)[:, None] + 1000 * torch.arange(64)
    start = time.perf_counter()
    people = Decoder(WHOLEBODY.grouping_order)(fields)[0]
    assert time.perf_counter() - start < 5
    assert len(people.scores) == 30
    assert not people.keypoints[:, 1:].any()


@given(
    seed=seeds,
    cells=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    ratios=ratios,
    views=st.integers(1, 3),
    spread=st.sampled_from([0.0, 0.3, 3.0, 300.0]),
    sparse=st.booleans(),
)
def test_bounded_search_finds_what_a_search_of_every_pixel_finds(
    seed, cells, ratios, views, spread, sparse
):
    draw, (pixels, finer) = torch.Generator().manual_seed(seed), ratios
    height, width = cells
    size = (pixels * height, pixels * width)
    # float64, so that no pixel is chosen by rounding
    heatmaps = torch.rand(2, finer * height, finer * width, generator=draw).double().pow(4)
    heatmaps *= not sparse
    tags = torch.randn(views, 2, height, width, generator=draw).double() * spread
    owners = torch.randn(5, views, generator=draw).double() * spread
    which = torch.randint(0, 2, (5,), generator=draw)
    everywhere = torch.arange(size[0] * size[1])
    x, y = everywhere % size[1], everywhere // size[1]
    there = read_enlarged(tags, which[:, None], x, y, size)  # [L, 5, pixels]
    distance = (there - owners.T[..., None]).square().sum(0).sqrt()
    values = read_enlarged(heatmaps, which[:, None], x, y, size) - distance.round()
    found = best_places(Maps(heatmaps, tags, size), Seekers(which, owners.T))
    expected = (values > values.amax(-1, keepdim=True) - 1e-12).int().argmax(-1)  # the first
    assert torch.equal(found, expected)


@given(
    seed=seeds,
    cells=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    ratios=ratios,
    views=st.integers(1, 3),
    scale=st.sampled_from([1e-3, 1.0, 1e3]),
)
def test_no_pixel_of_a_tile_is_worth_more_than_its_bound(seed, cells, ratios, views, scale):
    draw, (pixels, finer) = torch.Generator().manual_seed(seed), ratios
    height, width = cells
    heatmaps = torch.rand(2, finer * height, finer * width, generator=draw)
    tags = scale * torch.randn(views, 2, height, width, generator=draw)
    maps = Maps(heatmaps, tags, (pixels * height, pixels * width))
    large, small = bounds_of(maps)
    y, x = torch.meshgrid(*(torch.arange(side) for side in maps.size), indexing="ij")
    row, column = (  # of each pixel's tile
        torch.div(at - pixels // 2 + pixels, 2 * pixels, rounding_mode="floor") for at in (y, x)
    )
    columns = maps.tiles[1] // GROUP
    tile = row // GROUP * columns + column // GROUP
    inside = row % GROUP * GROUP + column % GROUP
    owner = scale * torch.randn(views, generator=draw)
    for number in range(2):
        which = torch.full_like(x, number)
        apart = read_enlarged(tags, which, x, y, maps.size) - owner[:, None, None]
        values = read_enlarged(heatmaps, which, x, y, maps.size) - apart.norm(dim=0).round()
        of_large, of_small = (value_bounds(each, project(owner)) for each in (large, small))
        assert (values <= of_large[number, tile]).all()
        assert (values <= of_small.view(*of_large.shape, -1)[number, tile, inside]).all()


def test_what_is_not_finite_or_of_another_skeleton_is_refused():
    fields = noise(0)
    with pytest.raises(ValueError, match="same skeleton"):
        Decoder(BODY.grouping_order)(fields)
    fields.tags[0, 0, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match="NaN"):
        decode(fields)
    with pytest.raises(ValueError, match="no multiples"):
        decode(noise(0), (STRIDE * CELLS, 2 * STRIDE * CELLS))
    coarse = Fields(noise(0, cells=CELLS // 2).heatmaps, noise(0).tags)
    with pytest.raises(ValueError, match="no multiples"):
        decode(coarse)
    with pytest.raises(ValueError, match="min_score"):
        Decoder(BODY.grouping_order, min_score=-1)


@given(x=st.floats(6, 4 * CELLS - 8), y=st.floats(6, 4 * CELLS - 8), height=st.floats(0.2, 1))
def test_what_was_encoded_between_cells_is_read_back_where_it_was(x, y, height):
    keypoints = torch.tensor([x, y, 2.0]).expand(1, 1, KINDS, 3)
    heatmaps = Encoder(sub_cell=True)(keypoints, torch.ones(1, CELLS, CELLS)).heatmaps
    fields = Fields(height * heatmaps, torch.zeros(1, 1, KINDS, CELLS, CELLS))
    (people,) = Decoder(tuple(range(KINDS)), sub_cell=True)(fields)
    np.testing.assert_allclose(people.keypoints[0, :, :2], KINDS * [[x, y]], atol=0.01)


def test_at_the_border_a_peak_between_cells_stays_in_its_cell():
    heatmaps = torch.zeros(1, KINDS, CELLS, CELLS)
    heatmaps[..., 0, CELLS - 1] = 1
    (people,) = Decoder(tuple(range(KINDS)), sub_cell=True)(Fields(heatmaps, heatmaps[:, None]))
    np.testing.assert_allclose(people.keypoints[0, 0, :2], [STRIDE * CELLS - 2.5, 1.5])


def test_tags_of_all_scales_stand_beside_each_other_at_the_cells_of_scale_one():
    views = [noise(0), noise(1, cells=2 * CELLS)]
    size = (STRIDE * CELLS, STRIDE * CELLS)
    one, every = (merge_scales(views, 0, size, every_tag=every_tag) for every_tag in (False, True))
    assert torch.equal(one.heatmaps, every.heatmaps)
    assert torch.equal(one.tags, views[0].tags)
    own, other = every.tags[0]
    assert torch.equal(own, views[0].tags[0, 0])
    larger = views[1].tags[0, 0].unflatten(-1, (CELLS, 2)).unflatten(-3, (CELLS, 2))
    torch.testing.assert_close(other, larger.mean((-3, -1)))

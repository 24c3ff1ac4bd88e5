"""The decoder against the figures of decode.npz, each step from the figures of the step before."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.naive_decoder import decode as decode_maps
from tagpose.codec.decoder import build_decoder
from tagpose.codec.decoding_maps import DecodingMaps
from tagpose.codec.grouped_poses import compute_person_scores, compute_person_tags
from tagpose.codec.missing_keypoints import fill_missing
from tagpose.codec.peaks import find_peaks
from tagpose.codec.subpixel import refine_peaks
from tagpose.codec.tta import merge_flip, merge_scales
from tagpose.geometry import crop_affine, invert_affine, transform_points
from tagpose.skeletons.coco import BODY, WHOLEBODY
from tagpose.skeletons.skeleton import Skeleton
from tagpose.structures import KeypointMaps, Poses

ONE_SCALE = ("body_3", "body_crowd_34", "body_noflip", "empty", "wholebody_2", "wholebody_5")
EVERY = (*ONE_SCALE, "multiscale")
WITHOUT_TIES = ("body_3", "empty", "wholebody_2", "multiscale")

Case = Mapping[str, np.ndarray]


@pytest.fixture(scope="module")
def case(figure: Callable[[str], Path]) -> Callable[[str], Case]:
    """The figures of a case, without its name in front; skips the test where they are absent."""
    file = np.load(figure("decode.npz"))

    def read(name: str) -> Case:
        found = {key.partition("/")[2]: key for key in file if key.startswith(name + "/")}
        if not found:
            pytest.skip(f"{name} is not in decode.npz")
        return {key: file[path] for key, path in found.items()}

    return read


def skeleton_of(figures: Case) -> Skeleton:
    return BODY if figures["peaks/score"].shape[0] == BODY.size else WHOLEBODY


def size_of(figures: Case) -> tuple[int, int]:
    width, height = figures["base_wh"].tolist()
    return height, width


def view(figures: Case, scale: str) -> KeypointMaps:
    """What the network said at one scale, merged with its flipped twin where there is one."""

    def read(key: str) -> KeypointMaps:
        heatmaps, tags = torch.from_numpy(figures[key]).float().chunk(2, dim=1)
        return KeypointMaps(heatmaps, tags[:, None])

    keypoint_maps, twin = read("output" + scale), "output_flipped" + scale
    if twin not in figures:
        return keypoint_maps
    return merge_flip(keypoint_maps, read(twin), skeleton_of(figures).channel_flip_indices())


def keypoint_maps_of(figures: Case) -> KeypointMaps:
    if "output" in figures:
        return view(figures, "")
    views = [view(figures, scale) for scale in ("_2", "_1", "_0.5")]
    return merge_scales(views, reference=1, size=size_of(figures))


def maps_of(figures: Case) -> DecodingMaps:
    decoder = build_decoder(skeleton_of(figures))
    return decoder.prepare(*(each.numpy() for each in keypoint_maps_of(figures)), size_of(figures))


def decode(figures: Case, **options: int | None) -> Poses:
    return decode_maps(build_decoder(skeleton_of(figures), **options), keypoint_maps_of(figures))[0]


def to_image(keypoints: np.ndarray, figures: Case) -> np.ndarray:
    """Keypoints [P, K, 3] with x, y in image pixels."""
    width, height = figures["image_wh"].tolist()
    centre = (round(width / 2), round(height / 2))  # half to even, as the figures have it
    affine = crop_affine(centre, min(width, height), 0, tuple(figures["base_wh"].tolist()))
    return np.concatenate(
        [transform_points(invert_affine(affine), keypoints[..., :2]), keypoints[..., 2:]], axis=-1
    )


def stood_in(people: np.ndarray, mine: np.ndarray) -> float:
    """Share of the keypoints [P, K, 3] that stand in one of mine, person by person best match."""
    same = np.abs(people[:, None] - mine[None]).max(-1) < 0.01  # [P, Q, K]
    there = people[..., 2] > 0
    hits = (same & there[:, None]).sum(-1).max(-1)  # [P]
    return hits.sum() / there.sum()


@pytest.mark.parametrize("name", EVERY)
def test_peaks(case, name):
    figures = case(name)
    peaks = find_peaks(maps_of(figures), count=30, min_score=0.1)
    counts = figures["peaks/score"] > 0.1
    assert ((peaks.scores[0] > 0.1) == counts).all()
    assert peaks.scores[0][counts] == pytest.approx(figures["peaks/score"][counts], abs=1e-4)
    assert (peaks.xy[0] == figures["peaks/xy"])[counts].all()
    assert peaks.tags[0][counts] == pytest.approx(figures["peaks/tags"][counts], abs=1e-3)


@pytest.mark.parametrize("name", ONE_SCALE)
def test_groups(case, name):
    figures = case(name)
    decoder = build_decoder(skeleton_of(figures), max_people=None)
    groups = decoder.group(find_peaks(maps_of(figures), count=30, min_score=0.1), image=0)
    expected = figures["match/people"]
    if name in WITHOUT_TIES:
        expected = expected[np.argsort(-compute_person_scores(expected[..., 2]), kind="stable")]
        tags = compute_person_tags(expected[..., 3:], expected[..., 2] > 0)
        assert groups.keypoints == pytest.approx(expected[..., :3], abs=1e-3)
        assert groups.tags == pytest.approx(tags, abs=1e-3)
    else:
        sure = expected[compute_person_scores(expected[..., 2]) > 0.2]
        assert stood_in(sure[..., :3], groups.keypoints) >= 0.98


@pytest.mark.parametrize("name", ONE_SCALE)
def test_places_between_pixels(case, name):
    figures = case(name)
    people, expected = figures["match/people"][..., :3], figures["adjust/people"][..., :3]
    mine, image = people.copy(), np.zeros(len(people), np.int64)
    refine_peaks(mine, image, maps_of(figures), subpixel=False)
    there = people[..., 2] > 0
    assert mine[there] == pytest.approx(expected[there], abs=0.01)


@pytest.mark.parametrize("name", ONE_SCALE)
def test_missing_keypoints(case, name):
    figures = case(name)
    people, maps = figures["adjust/people"], maps_of(figures)
    mine, tags = people[..., :3].copy(), compute_person_tags(people[..., 3:], people[..., 2] > 0)
    image = np.zeros(len(people), np.int64)
    fill_missing(mine, image, tags.astype(np.float32), maps, subpixel=False)
    assert mine == pytest.approx(figures["refine/people"][..., :3], abs=0.01)


@pytest.mark.parametrize("name", ONE_SCALE)
def test_person_scores(case, name):
    figures = case(name)
    assert compute_person_scores(figures["match/people"][..., 2]) == pytest.approx(
        figures["scores"], abs=1e-6
    )


@pytest.mark.parametrize("name", EVERY)
def test_image_pixels(case, name):
    figures = case(name)
    people = figures["refine/people"] if "refine/people" in figures else figures["people"]
    mine = to_image(people[..., :3], figures)
    assert mine == pytest.approx(figures["image_keypoints"], abs=0.01)


@pytest.mark.parametrize("name", WITHOUT_TIES)
def test_all_steps_together(case, name):
    figures = case(name)
    people = decode(figures)
    order = np.argsort(-figures["scores"], kind="stable")
    assert people.scores == pytest.approx(figures["scores"][order], abs=1e-4)
    assert to_image(people.keypoints, figures) == pytest.approx(
        figures["image_keypoints"][order], abs=0.01
    )


def test_a_crowd_is_found_in_full_unless_bounded(case):
    figures = case("body_crowd_34")
    sure = figures["refine/people"][figures["scores"] > 0.2]
    assert stood_in(sure[..., :3], decode(figures, max_people=None).keypoints) >= 0.98
    assert len(decode(figures).scores) == 30


@pytest.mark.parametrize("name", ["multiscale", "wholebody_2"])
def test_an_image_in_a_batch_is_decoded_as_alone(case, name):
    figures = case(name)
    keypoint_maps = keypoint_maps_of(figures)
    batch = KeypointMaps(*(torch.cat([part, part.flip(-1), part]) for part in keypoint_maps))
    people = decode_maps(build_decoder(skeleton_of(figures)), batch, size_of(figures))
    order = np.argsort(-figures["scores"], kind="stable")
    for one in (people[0], people[2]):
        assert to_image(one.keypoints, figures) == pytest.approx(
            figures["image_keypoints"][order], abs=0.01
        )

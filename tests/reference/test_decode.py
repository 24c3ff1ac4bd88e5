"""Decoder parity with decode.npz; each step starts from the reference of the step before."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.naive_decoder import decode_tensors
from tagpose.codec.compilation import compiled
from tagpose.codec.decoder import build_decoder
from tagpose.codec.decoding_maps import DecodingMaps
from tagpose.codec.grouping import compute_person_scores, compute_person_tags
from tagpose.codec.missing_keypoints import fill_missing
from tagpose.codec.peaks import find_peaks
from tagpose.codec.subpixel import refine_peak
from tagpose.codec.tta import merge_flip, merge_scales
from tagpose.geometry import crop_affine, invert_affine, transform_points
from tagpose.skeletons.coco import BODY, WHOLEBODY
from tagpose.skeletons.skeleton import Skeleton
from tagpose.structures import KeypointMaps, Poses

ONE_SCALE = ("body_3", "body_crowd_34", "body_noflip", "empty", "wholebody_2", "wholebody_5")
ALL_CASES = (*ONE_SCALE, "multiscale")
WITHOUT_TIES = ("body_3", "empty", "wholebody_2", "multiscale")

Case = Mapping[str, np.ndarray]


@pytest.fixture(scope="module")
def case(figure: Callable[[str], Path]) -> Callable[[str], Case]:
    """Read the arrays of a case by name without its prefix; skip the test if they are missing."""
    file = np.load(figure("decode.npz"))

    def read(name: str) -> Case:
        keys = {key.partition("/")[2]: key for key in file if key.startswith(name + "/")}
        if not keys:
            pytest.skip(f"{name} is not in decode.npz")
        return {name: file[key] for name, key in keys.items()}

    return read


def get_skeleton(figures: Case) -> Skeleton:
    return BODY if figures["peaks/score"].shape[0] == BODY.size else WHOLEBODY


def get_input_shape(figures: Case) -> tuple[int, int]:
    width, height = figures["base_wh"].tolist()
    return height, width


def read_outputs(figures: Case, scale: str) -> KeypointMaps:
    """Read the outputs at one scale, merged with those for the flipped image if there are any."""

    def read(key: str) -> KeypointMaps:
        heatmaps, tags = torch.from_numpy(figures[key]).float().chunk(2, dim=1)
        return KeypointMaps(heatmaps, tags[:, None])

    keypoint_maps, flipped = read("output" + scale), "output_flipped" + scale
    if flipped not in figures:
        return keypoint_maps
    return merge_flip(keypoint_maps, read(flipped), get_skeleton(figures).channel_flip_indices())


def read_merged_outputs(figures: Case) -> KeypointMaps:
    if "output" in figures:
        return read_outputs(figures, "")
    views = [read_outputs(figures, scale) for scale in ("_2", "_1", "_0.5")]
    return merge_scales(views, reference=1, size=get_input_shape(figures))


def prepare_maps(figures: Case) -> DecodingMaps:
    decoder = build_decoder(get_skeleton(figures), person_score_tie_break=False)
    arrays = (tensor.numpy() for tensor in read_merged_outputs(figures))
    return decoder.prepare(*arrays, get_input_shape(figures))


def decode(figures: Case, **options: int | None) -> Poses:
    decoder = build_decoder(get_skeleton(figures), person_score_tie_break=False, **options)
    return decode_tensors(decoder, read_merged_outputs(figures))[0]


def to_image(keypoints: np.ndarray, figures: Case) -> np.ndarray:
    """Convert keypoints [P, K, 3] from input pixels to image pixels."""
    width, height = figures["image_wh"].tolist()
    center = (round(width / 2), round(height / 2))  # half to even, as in the reference
    affine = crop_affine(center, min(width, height), 0, tuple(figures["base_wh"].tolist()))
    return np.concatenate(
        [transform_points(invert_affine(affine), keypoints[..., :2]), keypoints[..., 2:]], axis=-1
    )


def compute_recall(expected: np.ndarray, keypoints: np.ndarray) -> float:
    """Return the share of expected keypoints [P, K, 3] that the best-matching people contain."""
    is_equal = np.abs(expected[:, None] - keypoints[None]).max(-1) < 0.01  # [P, Q, K]
    present = expected[..., 2] > 0
    matches = (is_equal & present[:, None]).sum(-1).max(-1)  # [P]
    return matches.sum() / present.sum()


@pytest.mark.parametrize("name", ALL_CASES)
def test_peaks(case, name):
    figures = case(name)
    peaks = find_peaks(prepare_maps(figures), count=30, min_score=0.1, subpixel=False)
    is_peak = figures["peaks/score"] > 0.1
    assert ((peaks.scores[0] > 0.1) == is_peak).all()
    assert peaks.scores[0][is_peak] == pytest.approx(figures["peaks/score"][is_peak], abs=1e-4)
    assert (peaks.xy[0] == figures["peaks/xy"])[is_peak].all()
    assert peaks.tags[0][is_peak] == pytest.approx(figures["peaks/tags"][is_peak], abs=1e-3)


@pytest.mark.parametrize("name", ONE_SCALE)
def test_groups(case, name):
    figures = case(name)
    decoder = build_decoder(get_skeleton(figures), max_people=None, person_score_tie_break=False)
    peaks = find_peaks(prepare_maps(figures), count=30, min_score=0.1, subpixel=False)
    unrefined = peaks._replace(refined_xy=peaks.xy)  # as in the figures
    groups = decoder.group(unrefined, image=0)
    expected = figures["match/people"]
    if name in WITHOUT_TIES:
        expected = expected[np.argsort(-compute_person_scores(expected[..., 2]), kind="stable")]
        tags = compute_person_tags(expected[..., 3:], expected[..., 2] > 0)
        assert groups.keypoints == pytest.approx(expected[..., :3], abs=1e-3)
        assert groups.tags == pytest.approx(tags, abs=1e-3)
    else:
        confident = expected[compute_person_scores(expected[..., 2]) > 0.2]
        assert compute_recall(confident[..., :3], groups.keypoints) >= 0.98


refine_compiled = compiled(refine_peak)


@pytest.mark.parametrize("name", ONE_SCALE)
def test_subpixel_refinement(case, name):
    figures = case(name)
    people, expected = figures["match/people"], figures["adjust/people"]
    maps = prepare_maps(figures)
    for person, keypoint in np.argwhere(people[..., 2] > 0):
        x, y = people[person, keypoint, :2].astype(int)
        refined = refine_compiled(maps.heatmaps[0, keypoint], maps.heatmap_grid, y, x, False)
        assert refined == pytest.approx(expected[person, keypoint, :2], abs=0.01)


@pytest.mark.parametrize("name", ONE_SCALE)
def test_missing_keypoints(case, name):
    figures = case(name)
    people, maps = figures["adjust/people"], prepare_maps(figures)
    tags = compute_person_tags(people[..., 3:], people[..., 2] > 0).astype(np.float32)
    keypoints, image = people[..., :3].copy(), np.zeros(len(people), np.int64)
    block_maxima = find_peaks(maps, 1, 0.0, subpixel=False).block_maxima
    fill_missing(keypoints, image, tags, maps, block_maxima, subpixel=False)
    assert keypoints == pytest.approx(figures["refine/people"][..., :3], abs=0.01)


@pytest.mark.parametrize("name", ONE_SCALE)
def test_person_scores(case, name):
    figures = case(name)
    assert compute_person_scores(figures["match/people"][..., 2]) == pytest.approx(
        figures["scores"], abs=1e-6
    )


@pytest.mark.parametrize("name", ALL_CASES)
def test_image_pixels(case, name):
    figures = case(name)
    people = figures["refine/people"] if "refine/people" in figures else figures["people"]
    keypoints = to_image(people[..., :3], figures)
    assert keypoints == pytest.approx(figures["image_keypoints"], abs=0.01)


@pytest.mark.parametrize("name", WITHOUT_TIES)
def test_all_steps_together(case, name):
    figures = case(name)
    people = decode(figures)
    order = np.argsort(-figures["scores"], kind="stable")
    assert people.scores == pytest.approx(figures["scores"][order], abs=1e-4)
    assert to_image(people.keypoints, figures) == pytest.approx(
        figures["image_keypoints"][order], abs=0.01
    )


def test_max_people_limits_the_people_of_a_crowd(case):
    figures = case("body_crowd_34")
    confident = figures["refine/people"][figures["scores"] > 0.2]
    everyone = decode(figures, max_people=None)
    assert compute_recall(confident[..., :3], everyone.keypoints) >= 0.98
    assert len(decode(figures).scores) == 30


@pytest.mark.parametrize("name", ["multiscale", "wholebody_2"])
def test_an_image_in_a_batch_is_decoded_like_a_single_image(case, name):
    figures = case(name)
    keypoint_maps = read_merged_outputs(figures)
    batch = KeypointMaps(
        *(torch.cat([tensor, tensor.flip(-1), tensor]) for tensor in keypoint_maps)
    )
    decoder = build_decoder(get_skeleton(figures), person_score_tie_break=False)
    people = decode_tensors(decoder, batch, get_input_shape(figures))
    order = np.argsort(-figures["scores"], kind="stable")
    for poses in (people[0], people[2]):
        assert to_image(poses.keypoints, figures) == pytest.approx(
            figures["image_keypoints"][order], abs=0.01
        )

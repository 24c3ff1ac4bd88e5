"""Exported bundles predict the same poses as the Predictor, without torch and without tagpose."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import av
import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.optimize import linear_sum_assignment

from helpers.exportable_network import (
    INPUT_SIZE,
    MIN_SCORE,
    make_images,
    make_network,
    make_predictor,
)
from helpers.run_scripts import ROOT, run, succeeded
from helpers.sample_videos import make_video
from tagpose.codec.decoder import build_decoder, decoder_from_dict, decoder_to_dict
from tagpose.data.input_size import clamp_input_size
from tagpose.data.preprocessing import resize_to_scales
from tagpose.evaluation.coco_results import read_results
from tagpose.export.bundle import ExportSpec, build_metadata, write_bundle
from tagpose.export.bundle_runtime import preprocess
from tagpose.export.onnx import ExportableNetwork
from tagpose.geometry import to_image_pixels
from tagpose.models.checkpoint import write_checkpoint
from tagpose.skeletons.coco import BODY, WHOLEBODY
from tagpose.skeletons.custom import make_custom_skeleton
from tagpose.structures import Poses

TOLERANCE = 0.1  # image pixels
SIZES = [(90, 130), (130, 90), (128, 128)]  # height, width of images
LONG_SIZE = (40, 700)

# hides packages that the bundle must not import
SITECUSTOMIZE = """
import sys


class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"cv2", "scipy", "tagpose", "timm", "torch", "torchvision"}:
            raise ModuleNotFoundError(f"{name} is not installed here")


sys.meta_path.insert(0, Hidden())
"""


slow = partial(pytest.param, marks=pytest.mark.slow)
CASES = [
    pytest.param(("hrnet_w18_small", BODY, True), id="body"),
    slow(("hrnet_w18_small", WHOLEBODY, False), id="wholebody"),
    slow(("higherhrnet_w18_small", BODY, True), id="higher"),
]
# each bundle compiles its decoder, and bundles differ only in metadata and network
with_one_bundle = pytest.mark.parametrize("exported", CASES[:1], indirect=True)
with_two_bundles = pytest.mark.parametrize("exported", CASES[:2], indirect=True)


@pytest.fixture(scope="module", params=CASES)
def exported(request, tmp_path_factory):
    """A bundle, its network, and whether it includes the flip test."""
    architecture, skeleton, flip_test = request.param
    folder = tmp_path_factory.mktemp("exported")
    network = make_network(skeleton, architecture)
    write_checkpoint(folder / "best.ckpt", network)
    overrides = [
        "checkpoint=best.ckpt", f"flip_test={flip_test}", "output=out", "output_name=folder",
        f"predictor.decoder.min_score={MIN_SCORE}",
    ]  # fmt: skip
    printed = succeeded(run("export", *overrides, cwd=folder)).stdout
    assert len(printed.splitlines()) == 2  # torch and onnxscript print nothing
    return folder / "out/folder", network, flip_test


def make_session(folder):
    return onnxruntime.InferenceSession(
        str(folder / "network.onnx"), providers=["CPUExecutionProvider"]
    )


def read_metadata(folder):
    return json.loads((folder / "metadata.json").read_text())


def read_keypoints(people, skeleton):
    """Return keypoints [P, K, 3] from JSON."""
    return np.array(
        [
            [person["keypoints"].get(name, (0, 0, 0)) for name in skeleton.keypoints]
            for person in people
        ]
    )


# Compilation takes most of the time of an example, and each bundle compiles its own decoder.
UNCOMPILED = {"NUMBA_DISABLE_JIT": "1"}


def run_example(script, *arguments, cwd):
    command, environment = [sys.executable, script, *arguments], os.environ | UNCOMPILED
    return subprocess.run(
        command, cwd=cwd, env=environment, text=True, capture_output=True, check=False
    )


def with_min_person_score(folder, threshold):
    """Return a copy of the example with another threshold, which uses the same compiled code."""
    text, script = (folder / "example.py").read_text(), folder / f"example_{threshold}.py"
    assert "MIN_PERSON_SCORE = 0.3 " in text
    script.write_text(text.replace("MIN_PERSON_SCORE = 0.3 ", f"MIN_PERSON_SCORE = {threshold} "))
    return script


def count_close(actual, expected):
    """Return the numbers of close and of all keypoints; people of equal scores have no order."""
    assert actual.shape == expected.shape
    close = np.abs(actual[:, None, :, :2] - expected[..., :2]).max(-1) < TOLERANCE  # [P, P, K]
    pairs = linear_sum_assignment(close.sum(-1), maximize=True)
    return close[pairs].sum(), close[pairs].size


@pytest.mark.parametrize("shape", [(1, 64, 64), (2, 128, 192), (5, 192, 64)])
def test_the_onnx_network_has_the_outputs_of_the_torch_network_at_any_size(exported, shape):
    folder, network, flip_test = exported
    images = np.random.default_rng(0).integers(0, 256, (shape[0], 3, *shape[1:]), np.uint8)
    with torch.inference_mode():
        expected = ExportableNetwork(network, flip_test=flip_test)(torch.from_numpy(images))
    outputs = make_session(folder).run(None, {"image": images})
    for actual, reference in zip(outputs, expected, strict=True):
        assert actual.shape == reference.shape
        assert np.abs(actual - reference.numpy()).max() < 1e-3 * reference.abs().max()


def test_the_exported_flip_test_equals_that_of_the_predictor(exported):
    _, network, flip_test = exported
    images = torch.randint(0, 256, (2, 3, 64, 128), dtype=torch.uint8)
    predictor = make_predictor(network, flip_test)
    with torch.inference_mode():
        maps = ExportableNetwork(network, flip_test=flip_test)(images)
    for actual, expected in zip(maps, predictor.predict_maps([images]), strict=True):
        torch.testing.assert_close(actual, expected, atol=1e-4, rtol=1e-4)


def test_poses_equal_those_of_the_predictor(exported):
    folder, network, flip_test = exported
    predictor, session = make_predictor(network, flip_test), make_session(folder)
    decoder = decoder_from_dict(read_metadata(folder)["decoder"])
    assert decoder == predictor.decoder
    counts = []
    for image in make_images(*SIZES, LONG_SIZE):
        images, affine = preprocess(image, INPUT_SIZE)
        (people,) = decoder(*session.run(None, {"image": images}))
        expected = predictor(image)
        assert len(people.scores) > 0
        assert people.scores == pytest.approx(expected.scores, abs=1e-4)
        counts.append(count_close(to_image_pixels(people, affine).keypoints, expected.keypoints))
    close, total = np.sum(counts, 0)
    assert close >= 0.99 * total


SWITCHES = [
    "part_mean_tags",
    "require_near_parent",
    "person_score_tie_break",
    "coco_order",
    "fill_missing",
    "subpixel",
]


@given(
    skeleton=st.sampled_from([BODY, WHOLEBODY]),
    switches=st.fixed_dictionaries({name: st.booleans() for name in SWITCHES}),
    max_people=st.none() | st.integers(1, 99),
    max_peaks=st.integers(1, 99),
    min_score=st.floats(0, 1),
    max_tag_distance=st.floats(0, 9, exclude_min=True),
    one_tag_map=st.booleans(),
)
def test_every_option_of_the_decoder_survives_the_metadata(
    skeleton, switches, one_tag_map, **numbers
):
    tag_index = (0,) * skeleton.size if one_tag_map else ()
    decoder = build_decoder(skeleton, **switches, **numbers, tag_index=tag_index)
    restored = decoder_from_dict(json.loads(json.dumps(decoder_to_dict(decoder))))
    assert restored == decoder
    assert hash(restored) == hash(decoder)  # all values are immutable


def test_unknown_and_invalid_options_in_the_metadata_are_errors():
    options = decoder_to_dict(build_decoder(BODY))
    with pytest.raises(TypeError, match="min_scoer"):
        decoder_from_dict(options | {"min_scoer": 0.2})
    with pytest.raises(ValueError, match="max_people must be 1 or more, got 0"):
        decoder_from_dict(options | {"max_people": 0})


@with_two_bundles
@pytest.mark.parametrize(
    ("size", "numba"),
    [
        pytest.param(SIZES[0], UNCOMPILED, id="uncompiled"),
        slow(SIZES[0], {}, id="compiled"),
        slow(LONG_SIZE, {}, id="long"),
    ],
)
def test_the_example_needs_neither_torch_nor_opencv_nor_tagpose(exported, tmp_path, size, numba):
    folder, network, flip_test = exported
    (image,) = make_images(size)
    Image.fromarray(image).save(tmp_path / "image.png")
    (tmp_path / "sitecustomize.py").write_text(SITECUSTOMIZE)
    environment = os.environ | {"PYTHONPATH": str(tmp_path)} | numba
    run_bare = partial(subprocess.run, cwd=tmp_path, env=environment)
    import_torch = [sys.executable, "-c", "import torch"]
    assert run_bare(import_torch, stderr=subprocess.DEVNULL).returncode == 1
    script = with_min_person_score(folder, 0)
    run_bare([sys.executable, script, "image.png", "people.json"], check=True)
    people = json.loads((tmp_path / "people.json").read_text())["people"]
    expected = make_predictor(network, flip_test)(image).to_dict()["people"]
    scores = [person["score"] for person in expected]
    assert [person["score"] for person in people] == pytest.approx(scores, abs=2e-4)
    keypoints = (read_keypoints(poses, network.skeleton) for poses in (people, expected))
    close, total = count_close(*keypoints)
    assert close >= 0.99 * total


@with_two_bundles
def test_the_example_drops_people_with_a_lower_score(exported, tmp_path):
    folder, network, flip_test = exported
    Image.fromarray(make_images(SIZES[0])[0]).save(tmp_path / "image.png")
    scores = make_predictor(network, flip_test)(tmp_path / "image.png").scores.tolist()
    for threshold in (0.3, (scores[0] + scores[1]) / 2):
        script = with_min_person_score(folder, threshold)
        printed = succeeded(run_example(script, "image.png", cwd=tmp_path)).stdout
        expected = [score for score in scores if score >= threshold]
        actual = [person["score"] for person in json.loads(printed)["people"]]
        assert actual == pytest.approx(expected, abs=2e-4)


@with_two_bundles
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("missing.png",), "error: missing.png is missing"),
        (("text.png",), "error: text.png cannot be read as an image"),
        (("image.png", "none/people.json"), "none/people.json"),
    ],
)
def test_an_error_of_the_example_is_a_single_line(exported, tmp_path, arguments, message):
    Image.fromarray(make_images(SIZES[0])[0]).save(tmp_path / "image.png")
    (tmp_path / "text.png").write_text("not an image")
    process = run_example(exported[0] / "example.py", *arguments, cwd=tmp_path)
    assert process.returncode == 1
    lines = [line for line in process.stderr.splitlines() if not line.startswith("Compiling ")]
    assert len(lines) == 1
    assert message in lines[0]


@with_one_bundle
def test_the_webcam_program_draws_the_poses_in_a_video(exported, tmp_path):
    folder = shutil.copytree(exported[0], tmp_path / "bundle")
    with_min_person_score(folder, 0).rename(folder / "example.py")
    frames = make_images(SIZES[0], SIZES[0])
    make_video(tmp_path / "in.mp4", frames, rate=10)
    process = succeeded(run_example(folder / "webcam.py", "in.mp4", "out.mp4", cwd=tmp_path))
    assert re.search(r" frames/s, [1-9]\d* people", process.stdout)
    with av.open(tmp_path / "out.mp4") as opened:
        assert opened.streams.video[0].average_rate == 10
        drawn = [frame.to_ndarray(format="rgb24") for frame in opened.decode(video=0)]
    assert len(drawn) == len(frames)
    greener = [(d - f.astype(int))[..., 1] > 60 for d, f in zip(drawn, frames, strict=True)]
    assert all(pixels.sum() > 20 for pixels in greener)
    process = run_example(folder / "webcam.py", "missing.mp4", cwd=tmp_path)
    assert process.returncode == 1
    assert process.stderr.endswith("error: missing.mp4 cannot be read as a camera or video\n")


@with_one_bundle
def test_the_coco_results_of_a_bundle_are_those_of_the_predictor(exported, tmp_path):
    folder, network, flip_test = exported
    (tmp_path / "images").mkdir()
    Image.fromarray(make_images(SIZES[0])[0]).save(tmp_path / "images/7.png")
    arguments = folder / "coco_results.py", "images", "results.json"
    assert "1 images, " in succeeded(run_example(*arguments, cwd=tmp_path)).stdout
    results = read_results(tmp_path / "results.json")
    expected = make_predictor(network, flip_test)(tmp_path / "images/7.png").to_coco(7)
    assert {result["image_id"] for result in results} == {"7.png"}
    scores = [result["score"] for result in expected]
    assert [result["score"] for result in results] == pytest.approx(scores, abs=2e-4)
    assert results[0].keys() >= {"keypoints", "category_id"}
    points = ([result["keypoints"] for result in both] for both in (results, expected))
    close, total = count_close(*(np.reshape(p, (len(scores), -1, 3)) for p in points))
    assert close >= 0.99 * total


def test_a_bundle_describes_its_network_and_contains_no_local_paths(exported):
    folder, network, flip_test = exported
    metadata, skeleton = read_metadata(folder), network.skeleton
    assert metadata["skeleton"]["flip_indices"] == list(skeleton.flip_indices)
    checkpoint = (folder.parents[1] / "best.ckpt").read_bytes()
    assert metadata["checkpoint"]["sha256"] == hashlib.sha256(checkpoint).hexdigest()
    assert metadata["input_size"] == INPUT_SIZE
    assert metadata["flip_test"] is flip_test
    assert (metadata["stride"], metadata["heatmap_stride"]) == (4, network.strides[-1])
    assert "numba" in metadata["versions"]
    assert skeleton.name in (folder / "README.md").read_text()
    for file in folder.rglob("*"):
        if file.is_file() and "__pycache__" not in file.parts:  # other tests have run the example
            content = file.read_bytes()
            local_paths = ROOT, folder.parent, sys.prefix
            assert not any(str(path).encode() in content for path in local_paths)


def test_metadata_describe_a_custom_skeleton():
    hand = make_custom_skeleton(
        "mitten", ("wrist", "thumb", "tip"), (0.1, 0.1, 0.1), bones=[("wrist", "tip")],
        parts={"root": 1, "ends": 2}, grouping_order=("tip", "wrist", "thumb"),
    )  # fmt: skip
    decoder = build_decoder(hand)
    spec = ExportSpec(
        make_network(hand), Path(__file__), decoder, INPUT_SIZE, flip_test=True, license="any"
    )
    metadata = json.loads(json.dumps(build_metadata(spec)))
    assert metadata["skeleton"]["parts"] == {"root": [0, 1], "ends": [1, 3], "mitten": [0, 3]}
    assert metadata["skeleton"]["bones"] == [[0, 2]]
    assert metadata["decoder"]["grouping"]["order"] == [2, 0, 1]
    assert decoder_from_dict(metadata["decoder"]) == decoder


@settings(max_examples=30)
@given(
    width=st.integers(8, 700),
    height=st.integers(8, 700),
    input_size=st.sampled_from([64, 100, 192]),
)
def test_preprocessing_equals_that_of_opencv(width, height, input_size):
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    images, affine = preprocess(image, input_size)
    expected = resize_to_scales(image, clamp_input_size(width, height, input_size, (1,)), (1,))
    assert (affine == expected.affine.numpy()).all()
    difference = np.abs(images[0].astype(int) - expected.images[0].numpy())
    # 0 for OpenCV 5; OpenCV 4 rounds positions to 1/32 pixel
    assert difference.max() <= 8


@settings(max_examples=30)
@given(
    size=st.tuples(st.integers(20, 700), st.integers(20, 700)),
    shape=st.tuples(st.sampled_from([64, 192]), st.sampled_from([96, 256])),
    position=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_a_painted_spot_keeps_its_position_through_a_static_shape(size, shape, position):
    side = max(size) // 10 + 2  # image pixels
    assume(side <= min(size))  # otherwise it would cover a few pixels of the output
    left, top = (round(p * (s - side)) for p, s in zip(position, size, strict=True))
    # without edges, which are off by up to half an output pixel because nothing is antialiased
    profile = np.sin(np.pi * (np.arange(side) + 0.5) / side) ** 2
    image = np.zeros((size[1], size[0], 3), np.uint8)
    image[top : top + side, left : left + side] = np.rint(
        255 * np.outer(profile, profile)[..., None]
    )
    images, affine = preprocess(image, INPUT_SIZE, shape)
    assert images.shape == (1, 3, *shape)
    poses = Poses(
        np.array([[[*center_of_mass(images[0, 0]), 1]]], np.float32), np.ones(1, np.float32)
    )
    actual = to_image_pixels(poses, affine).keypoints[0, 0, :2]
    assert actual == pytest.approx(center_of_mass(image[..., 0]), abs=0.05 * side)


def center_of_mass(values):
    """Return x, y of the center of mass of an image [h, w]."""
    weights = values / values.sum()
    return [(weights.sum(axis) * np.arange(weights.shape[1 - axis])).sum() for axis in (0, 1)]


def test_missing_keypoints_stay_rows_of_zeros_in_image_pixels():
    affine = preprocess(np.zeros((90, 130, 3), np.uint8), INPUT_SIZE).affine
    keypoints = np.array([[[0, 0, 0], [96, 64, 0.5]]], np.float32)
    mapped = to_image_pixels(Poses(keypoints, np.ones(1, np.float32)), affine).keypoints[0]
    assert (mapped[0] == 0).all()
    assert mapped[1] == pytest.approx([65, 45, 0.5])  # the center of the input and of the image


def test_a_failed_export_leaves_no_folder(tmp_path):
    process = run("export", "checkpoint=gone.ckpt", "predictor.scales=[1,0.5]", cwd=tmp_path)
    assert process.returncode == 1
    assert process.stderr.startswith("error: predictor.scales=[1, 0.5]")
    decoder = build_decoder(BODY)
    spec = ExportSpec(
        make_network(BODY), tmp_path / "gone.ckpt", decoder, INPUT_SIZE, True, license="any"
    )
    with pytest.raises(FileNotFoundError):
        write_bundle(tmp_path / "folder", spec)
    assert not list(tmp_path.iterdir())
    with pytest.raises(FileExistsError, match=r"already exists .* another output_name=NAME"):
        write_bundle(tmp_path, spec)

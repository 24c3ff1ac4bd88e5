"""Exported bundles predict the same people as the Predictor, without torch and without tagpose."""

import hashlib
import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.optimize import linear_sum_assignment

from helpers.run_scripts import ROOT, run, succeeded
from tagpose.codec.decoder import build_decoder
from tagpose.data.preprocessing import resize_to_scales
from tagpose.export.bundle import write_bundle
from tagpose.export.bundle_metadata import ExportSpec, build_metadata
from tagpose.export.decoder_options import decoder_from_dict, decoder_to_dict
from tagpose.export.onnx import InferenceNetwork
from tagpose.export.preprocessing import preprocess, to_image_pixels
from tagpose.geometry import clamp_input_size
from tagpose.inference.predictor import Predictor
from tagpose.models.checkpoint import write_checkpoint
from tagpose.models.network import PoseNetwork
from tagpose.skeletons.coco import BODY, WHOLEBODY
from tagpose.skeletons.custom import make_custom_skeleton
from tagpose.structures import Poses

SIDE = 128
NEAR = 0.1  # image pixels
# lower peaks of an untrained network have similar tags, and are grouped by their last digits
MIN_SCORE = 1.5
SIZES = [(90, 130), (130, 90), (128, 128)]  # height, width of pictures
LONG = (40, 700)

# hides packages that the bundle must not need
SITECUSTOMIZE = """
import sys


class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"cv2", "tagpose", "timm", "torch", "torchvision"}:
            raise ModuleNotFoundError(f"{name} is not installed here")


sys.meta_path.insert(0, Hidden())
"""


def make_network(skeleton, architecture="hrnet_w18_small"):
    """An untrained network with people everywhere: maps have the range of trained ones."""
    torch.manual_seed(3)
    network = PoseNetwork(architecture, skeleton, input_size=SIDE, tag_init_std=0.01).eval()
    torch.nn.init.normal_(network.head.weight[: skeleton.size], std=0.005)
    if network.higher_head:
        torch.nn.init.normal_(network.get_parameter("higher_head.layers.0.0.weight"), std=0.02)
        torch.nn.init.normal_(network.higher_head.head.weight, std=0.17)
    return network


def make_pictures(*sizes):
    """Smooth pictures, like photographs."""
    random = np.random.default_rng(0)
    coarse = [random.integers(0, 256, (h // 10 + 1, w // 10 + 1, 3), np.uint8) for h, w in sizes]
    pairs = zip(coarse, sizes, strict=True)
    return [np.asarray(Image.fromarray(one).resize((w, h))) for one, (h, w) in pairs]


slow = partial(pytest.param, marks=pytest.mark.slow)
CASES = [
    pytest.param(("hrnet_w18_small", BODY, True), id="body"),
    slow(("hrnet_w18_small", WHOLEBODY, False), id="wholebody"),
    slow(("higherhrnet_w18_small", BODY, True), id="higher"),
]
# each bundle compiles its decoder, and only its metadata and network differ from the others'
of_two_bundles = pytest.mark.parametrize("exported", CASES[:2], indirect=True)


@pytest.fixture(scope="module", params=CASES)
def exported(request, tmp_path_factory):
    """A bundle, its network, and whether that includes the flip test."""
    architecture, skeleton, flip_test = request.param
    at = tmp_path_factory.mktemp("exported")
    network = make_network(skeleton, architecture)
    write_checkpoint(at / "best.ckpt", network)
    printed = succeeded(
        run(
            "export", "checkpoint=best.ckpt", f"flip_test={flip_test}", "output=out", "output_name=folder",
            f"predictor.decoder.min_score={MIN_SCORE}", cwd=at,
        )
    ).stdout  # fmt: skip
    assert len(printed.splitlines()) == 2  # torch and onnxscript are quiet
    return at / "out/folder", network, flip_test


def make_predictor(network, flip_test):
    return Predictor(network, flip_test=flip_test, device="cpu", min_score=MIN_SCORE)


def make_session(folder):
    return onnxruntime.InferenceSession(
        str(folder / "network.onnx"), providers=["CPUExecutionProvider"]
    )


def read_metadata(folder):
    return json.loads((folder / "metadata.json").read_text())


def read_keypoints(people, skeleton):
    """Keypoints [P, K, 3] from JSON."""
    return np.array(
        [[one["keypoints"].get(name, (0, 0, 0)) for name in skeleton.keypoints] for one in people]
    )


# Compilation takes most of an example's time, and each bundle has to compile its own decoder.
UNCOMPILED = {"NUMBA_DISABLE_JIT": "1"}


def run_example(script, *arguments, cwd):
    command, plain = [sys.executable, script, *arguments], os.environ | UNCOMPILED
    return subprocess.run(command, cwd=cwd, env=plain, text=True, capture_output=True, check=False)


def with_least(folder, least):
    """A second example in the bundle with another smallest score, and the same compiled code."""
    text, script = (folder / "example.py").read_text(), folder / f"example_{least}.py"
    assert "MIN_PERSON_SCORE = 0.3 " in text
    script.write_text(text.replace("MIN_PERSON_SCORE = 0.3 ", f"MIN_PERSON_SCORE = {least} "))
    return script


def count_near(found, expected):
    """Numbers of keypoints that are near each other, and of all; equal scores have no order."""
    assert found.shape == expected.shape
    near = np.abs(found[:, None, :, :2] - expected[..., :2]).max(-1) < NEAR  # [P, P, K]
    pairs = linear_sum_assignment(near.sum(-1), maximize=True)
    return near[pairs].sum(), near[pairs].size


@pytest.mark.parametrize("shape", [(1, 64, 64), (2, 128, 192), (5, 192, 64)])
def test_the_onnx_file_has_the_outputs_of_the_network_at_any_size(exported, shape):
    folder, network, flip_test = exported
    images = np.random.default_rng(0).integers(0, 256, (shape[0], 3, *shape[1:]), np.uint8)
    with torch.inference_mode():
        expected = InferenceNetwork(network, flip_test=flip_test)(torch.from_numpy(images))
    outputs = make_session(folder).run(None, {"image": images})
    for ours, theirs in zip(outputs, expected, strict=True):
        assert ours.shape == theirs.shape
        assert np.abs(ours - theirs.numpy()).max() < 1e-3 * theirs.abs().max()


def test_the_exported_flip_test_is_that_of_the_predictor(exported):
    _, network, flip_test = exported
    images = torch.randint(0, 256, (2, 3, 64, 128), dtype=torch.uint8)
    predictor = make_predictor(network, flip_test)
    with torch.inference_mode():
        ours = InferenceNetwork(network, flip_test=flip_test)(images)
    for one, other in zip(ours, predictor.predict_maps([images]), strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_people_are_those_of_the_predictor(exported):
    folder, network, flip_test = exported
    predictor, session = make_predictor(network, flip_test), make_session(folder)
    decoder = decoder_from_dict(read_metadata(folder)["decoder"])
    assert decoder == predictor.decoder
    counts = []
    for picture in make_pictures(*SIZES, LONG):
        images, affine = preprocess(picture, SIDE)
        (people,) = decoder(*session.run(None, {"image": images}))
        expected = predictor(picture)
        assert len(people.scores) > 0
        assert people.scores == pytest.approx(expected.scores, abs=1e-4)
        counts.append(count_near(to_image_pixels(people, affine).keypoints, expected.keypoints))
    near, every = np.sum(counts, 0)
    assert near >= 0.99 * every


SWITCHES = [
    "part_mean_tags",
    "require_near_parent",
    "distance_tie_break",
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
    read = decoder_from_dict(json.loads(json.dumps(decoder_to_dict(decoder))))
    assert read == decoder
    assert hash(read) == hash(decoder)  # no list is left, which could be changed later


def test_an_unknown_option_in_the_metadata_is_refused():
    options = decoder_to_dict(build_decoder(BODY))
    with pytest.raises(TypeError, match="min_scoer"):
        decoder_from_dict(options | {"min_scoer": 0.2})
    with pytest.raises(ValueError, match="max_people must be 1 or more, got 0"):
        decoder_from_dict(options | {"max_people": 0})


@of_two_bundles
@pytest.mark.parametrize(
    ("size", "numba"),
    [
        pytest.param(SIZES[0], UNCOMPILED, id="uncompiled"),
        slow(SIZES[0], {}, id="compiled"),
        slow(LONG, {}, id="long"),
    ],
)
def test_the_example_needs_neither_torch_nor_opencv_nor_tagpose(exported, tmp_path, size, numba):
    folder, network, flip_test = exported
    (picture,) = make_pictures(size)
    Image.fromarray(picture).save(tmp_path / "picture.png")
    (tmp_path / "sitecustomize.py").write_text(SITECUSTOMIZE)
    plain = os.environ | {"PYTHONPATH": str(tmp_path)} | numba
    bare = partial(subprocess.run, cwd=tmp_path, env=plain)
    assert bare([sys.executable, "-c", "import torch"], stderr=subprocess.DEVNULL).returncode == 1
    bare([sys.executable, with_least(folder, 0), "picture.png", "people.json"], check=True)
    found = json.loads((tmp_path / "people.json").read_text())["people"]
    expected = make_predictor(network, flip_test)(picture).to_dict()["people"]
    scores = [one["score"] for one in expected]
    assert [one["score"] for one in found] == pytest.approx(scores, abs=2e-4)
    ours, theirs = (read_keypoints(people, network.skeleton) for people in (found, expected))
    near, every = count_near(ours, theirs)
    assert near >= 0.99 * every


@of_two_bundles
def test_the_example_leaves_out_people_with_a_lower_score(exported, tmp_path):
    folder, network, flip_test = exported
    Image.fromarray(make_pictures(SIZES[0])[0]).save(tmp_path / "picture.png")
    scores = make_predictor(network, flip_test)(tmp_path / "picture.png").scores.tolist()
    for least in (0.3, (scores[0] + scores[1]) / 2):
        printed = succeeded(
            run_example(with_least(folder, least), "picture.png", cwd=tmp_path)
        ).stdout
        expected = [score for score in scores if score >= least]
        found = [one["score"] for one in json.loads(printed)["people"]]
        assert found == pytest.approx(expected, abs=2e-4)


@of_two_bundles
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("missing.png",), "error: missing.png is missing"),
        (("text.png",), "error: text.png cannot be read as a picture"),
        (("picture.png", "none/people.json"), "none/people.json"),
    ],
)
def test_an_error_of_the_example_is_one_sentence(exported, tmp_path, arguments, message):
    Image.fromarray(make_pictures(SIZES[0])[0]).save(tmp_path / "picture.png")
    (tmp_path / "text.png").write_text("no picture")
    ended = run_example(exported[0] / "example.py", *arguments, cwd=tmp_path)
    assert ended.returncode == 1
    lines = [line for line in ended.stderr.splitlines() if not line.startswith("Compiling ")]
    assert len(lines) == 1
    assert message in lines[0]


def test_a_bundle_describes_its_network_and_not_this_machine(exported):
    folder, network, flip_test = exported
    metadata, skeleton = read_metadata(folder), network.skeleton
    assert metadata["skeleton"]["flip_indices"] == list(skeleton.flip_indices)
    checkpoint = (folder.parents[1] / "best.ckpt").read_bytes()
    assert metadata["checkpoint"]["sha256"] == hashlib.sha256(checkpoint).hexdigest()
    assert metadata["input_size"] == SIDE
    assert metadata["flip_test"] is flip_test
    assert (metadata["stride"], metadata["heatmap_stride"]) == (4, network.strides[-1])
    assert "numba" in metadata["versions"]
    assert len((folder / "example.py").read_text().splitlines()) <= 40
    assert skeleton.name in (folder / "README.md").read_text()
    for file in folder.rglob("*"):
        if file.is_file() and "__pycache__" not in file.parts:  # other tests have run the example
            content = file.read_bytes()
            assert not any(
                str(here).encode() in content for here in (ROOT, folder.parent, sys.prefix)
            )


def test_a_custom_skeleton_is_described():
    hand = make_custom_skeleton(
        "mitten", ("wrist", "thumb", "tip"), (0.1, 0.1, 0.1), bones=[("wrist", "tip")],
        parts={"root": 1, "ends": 2}, grouping_order=("tip", "wrist", "thumb"),
    )  # fmt: skip
    decoder = build_decoder(hand)
    exported = ExportSpec(
        make_network(hand), Path(__file__), decoder, SIDE, flip_test=True, license="any"
    )
    metadata = json.loads(json.dumps(build_metadata(exported)))
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
def test_preprocessing_is_that_of_opencv(width, height, input_size):
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    images, affine = preprocess(image, input_size)
    expected = resize_to_scales(image, clamp_input_size(width, height, input_size, (1,)), (1,))
    assert (affine == expected.affine.numpy()).all()
    difference = np.abs(images[0].astype(int) - expected.images[0].numpy())
    # 0 for OpenCV 5; OpenCV 4 rounds positions to 1/32 pixel
    assert difference.max() <= 8


def test_missing_keypoints_stay_rows_of_zeros_in_image_pixels():
    affine = preprocess(np.zeros((90, 130, 3), np.uint8), SIDE).affine
    keypoints = np.array([[[0, 0, 0], [96, 64, 0.5]]], np.float32)
    moved = to_image_pixels(Poses(keypoints, np.ones(1, np.float32)), affine).keypoints[0]
    assert (moved[0] == 0).all()
    assert moved[1] == pytest.approx([65, 45, 0.5])  # the centre of the input and of the image


def test_what_cannot_be_exported_is_an_error_and_leaves_no_folder(tmp_path):
    scales = run("export", "checkpoint=gone.ckpt", "predictor.scales=[1,0.5]", cwd=tmp_path)
    assert scales.returncode == 1
    assert scales.stderr.startswith("error: predictor.scales=[1, 0.5]")
    decoder = build_decoder(BODY)
    lost = ExportSpec(
        make_network(BODY), tmp_path / "gone.ckpt", decoder, SIDE, True, license="any"
    )
    with pytest.raises(FileNotFoundError):
        write_bundle(tmp_path / "folder", lost)
    assert not list(tmp_path.iterdir())
    with pytest.raises(FileExistsError, match="already exists"):
        write_bundle(tmp_path, lost)

"""What is exported finds the people that the predictor finds, without torch and without tagpose."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict
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

from crowds import crowd, finer
from running import ROOT, run, succeeded
from tagpose.codec.decode import Decoder, decoder_of
from tagpose.codec.peaks import find_peaks
from tagpose.codec.views import merge_mirror
from tagpose.data.views import show as shown_by_opencv
from tagpose.export.description import Exported, description
from tagpose.export.folder import write_folder
from tagpose.export.network import WholeTest
from tagpose.export.numpy_decoder import NumpyDecoder
from tagpose.export.numpy_peaks import best_maxima
from tagpose.export.numpy_view import in_image, show
from tagpose.geometry import fitting_side
from tagpose.inference.predictor import Predictor
from tagpose.model.files import write_checkpoint
from tagpose.model.network import PoseNetwork
from tagpose.official_skeletons import BODY, WHOLEBODY
from tagpose.own_skeleton import make_skeleton
from tagpose.structures import STRIDE, Fields

SIDE = 128
NEAR = 0.1  # image pixels
# the lower peaks of a network that learned nothing are of nobody, and grouped by the last digit
SURE = 1.5
SIZES = [(90, 130), (130, 90), (128, 128)]  # of pictures
LONG = (40, 700)

# what a process is told before it runs the example
WITHOUT = """
import sys


class Without:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"cv2", "tagpose", "timm", "torch", "torchvision"}:
            raise ModuleNotFoundError(f"{name} is not installed here")


sys.meta_path.insert(0, Without())
"""


def network_of(skeleton, architecture="hrnet_w18_small"):
    """A network that finds somebody anywhere, with heatmaps and tags as large as trained ones."""
    torch.manual_seed(3)
    network = PoseNetwork(architecture, skeleton, side=SIDE, tag_std=0.01).eval()
    torch.nn.init.normal_(network.head.weight[: skeleton.size], std=0.005)
    if network.finer:
        torch.nn.init.normal_(network.get_parameter("finer.layers.0.0.weight"), std=0.02)
        torch.nn.init.normal_(network.finer.head.weight, std=0.17)
    return network


def pictures(*sizes):
    """Smooth pictures, as photographs are."""
    random = np.random.default_rng(0)
    coarse = [random.integers(0, 256, (h // 10 + 1, w // 10 + 1, 3), np.uint8) for h, w in sizes]
    pairs = zip(coarse, sizes, strict=True)
    return [np.asarray(Image.fromarray(one).resize((w, h))) for one, (h, w) in pairs]


CASES = [
    pytest.param(("hrnet_w18_small", BODY, True), id="body"),
    pytest.param(("higherhrnet_w18_small", BODY, True), id="higher"),
    pytest.param(("hrnet_w18_small", WHOLEBODY, False), id="wholebody", marks=pytest.mark.slow),
]


@pytest.fixture(scope="module", params=CASES)
def exported(request, tmp_path_factory):
    """A folder, and the network and test that it is of."""
    architecture, skeleton, mirror = request.param
    at = tmp_path_factory.mktemp("exported")
    network = network_of(skeleton, architecture)
    write_checkpoint(at / "best.ckpt", network)
    printed = succeeded(
        run(
            "export", "checkpoint=best.ckpt", f"mirror={mirror}", "output=out", "as_name=folder",
            f"predictor.decoder.min_score={SURE}", cwd=at,
        )
    ).stdout  # fmt: skip
    assert len(printed.splitlines()) == 2  # torch and onnxscript are quiet
    return at / "out/folder", network, mirror


def predictor_of(network, mirror):
    return Predictor(network, mirror=mirror, device="cpu", min_score=SURE)


def session_of(folder):
    return onnxruntime.InferenceSession(
        str(folder / "network.onnx"), providers=["CPUExecutionProvider"]
    )


def rows(people, skeleton):
    """Keypoints [P, K, 3] of people as JSON has them."""
    return np.array(
        [[one["keypoints"].get(name, (0, 0, 0)) for name in skeleton.keypoints] for one in people]
    )


def example(script, *arguments, cwd):
    """Run an example; its exit code, what it printed, and what it complained of."""
    command = [sys.executable, script, *arguments]
    return subprocess.run(command, cwd=cwd, text=True, capture_output=True, check=False)


def with_least(folder, copy, least):
    """The example in a copy of its folder, telling of people from a score on."""
    shutil.copytree(folder, copy)
    script, text = copy / "example.py", (folder / "example.py").read_text()
    assert "LEAST = 0.3 " in text
    script.write_text(text.replace("LEAST = 0.3 ", f"LEAST = {least} "))
    return script


def agreeing(found, expected):
    """How many keypoints are near, and how many there are; people as sure have no order."""
    assert found.shape == expected.shape
    near = np.abs(found[:, None, :, :2] - expected[..., :2]).max(-1) < NEAR  # [P, P, K]
    pairs = linear_sum_assignment(near.sum(-1), maximize=True)
    return near[pairs].sum(), near[pairs].size


@pytest.mark.parametrize("shape", [(1, 64, 64), (2, 128, 192), (5, 192, 64)])
def test_the_file_has_the_fields_of_the_network_at_any_size(exported, shape):
    folder, network, mirror = exported
    images = np.random.default_rng(0).integers(0, 256, (shape[0], 3, *shape[1:]), np.uint8)
    with torch.inference_mode():
        expected = WholeTest(network, mirror=mirror)(torch.from_numpy(images))
    for ours, theirs in zip(session_of(folder).run(None, {"image": images}), expected, strict=True):
        assert ours.shape == theirs.shape
        assert np.abs(ours - theirs.numpy()).max() < 1e-3 * theirs.abs().max()


def test_the_fields_are_those_of_the_predictor(exported):
    _, network, mirror = exported
    images = torch.randint(0, 256, (2, 3, 64, 128), dtype=torch.uint8)
    predictor = predictor_of(network, mirror)
    with torch.inference_mode():
        ours = WholeTest(network, mirror=mirror)(images)
    for one, other in zip(ours, predictor.fields([images]), strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_people_are_those_of_the_predictor(exported):
    folder, network, mirror = exported
    predictor, session = predictor_of(network, mirror), session_of(folder)
    decoder = NumpyDecoder(stride=STRIDE, **asdict(predictor.decoder))
    counts = []
    for picture in pictures(*SIZES, LONG):
        view, expected = show(picture, SIDE), predictor(picture)
        heatmaps, tags = session.run(None, {"image": view.image})
        people = decoder(heatmaps[0], tags[0])
        assert len(people.scores) > 0
        assert people.scores == pytest.approx(expected.scores, abs=1e-4)
        counts.append(agreeing(in_image(people.keypoints, view.frame), expected.keypoints))
    near, every = np.sum(counts, 0)
    assert near >= 0.99 * every


def test_every_option_of_the_decoder_is_the_exported_one_too():
    options = {"by_limb": True, "near_roots": True, "nearest": True, "anatomical": True}
    decoder = decoder_of(WHOLEBODY, sub_cell=True, **options)
    fields = merge_mirror(*crowd(5, (64, 88), seed=1), WHOLEBODY.mirror)
    found = NumpyDecoder(stride=STRIDE, **asdict(decoder))(*(one[0].numpy() for one in fields))
    near, every = agreeing(found.keypoints, decoder(fields)[0].keypoints)
    assert near >= 0.99 * every


@pytest.mark.parametrize("size", [SIZES[0], LONG])
def test_the_example_needs_neither_torch_nor_opencv_nor_tagpose(exported, tmp_path, size):
    folder, network, mirror = exported
    (picture,) = pictures(size)
    Image.fromarray(picture).save(tmp_path / "picture.png")
    (tmp_path / "sitecustomize.py").write_text(WITHOUT)
    bare = partial(subprocess.run, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(tmp_path)})
    assert bare([sys.executable, "-c", "import torch"], stderr=subprocess.DEVNULL).returncode == 1
    script = with_least(folder, tmp_path / "all", 0)
    bare([sys.executable, script, "picture.png", "people.json"], check=True)
    found = json.loads((tmp_path / "people.json").read_text())["people"]
    expected = predictor_of(network, mirror)(picture).to_dict()["people"]
    assert [one["score"] for one in found] == pytest.approx(
        [p["score"] for p in expected], abs=2e-4
    )
    ours, theirs = (rows(people, network.skeleton) for people in (found, expected))
    near, every = agreeing(ours, theirs)
    assert near >= 0.99 * every


def test_the_example_tells_of_those_from_its_score_on_and_of_nobody_else(exported, tmp_path):
    folder, network, mirror = exported
    Image.fromarray(pictures(LONG)[0]).save(tmp_path / "picture.png")
    scores = predictor_of(network, mirror)(tmp_path / "picture.png").scores.tolist()
    for least in (0.3, (scores[0] + scores[1]) / 2):
        script = with_least(folder, tmp_path / f"{least}", least)
        told = json.loads(succeeded(example(script, "picture.png", cwd=tmp_path)).stdout)
        expected = [score for score in scores if score >= least]
        assert [one["score"] for one in told["people"]] == pytest.approx(expected, abs=2e-4)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("missing.png",), "error: missing.png is missing"),
        (("text.png",), "error: text.png cannot be read as a picture"),
        (("picture.png", "none/people.json"), "none/people.json"),
    ],
)
def test_what_the_example_cannot_do_is_one_sentence(exported, tmp_path, arguments, says):
    Image.fromarray(pictures(SIZES[0])[0]).save(tmp_path / "picture.png")
    (tmp_path / "text.png").write_text("no picture")
    told = example(exported[0] / "example.py", *arguments, cwd=tmp_path)
    assert told.returncode == 1
    assert says in told.stderr
    assert len(told.stderr.splitlines()) == 1


def test_a_folder_says_what_is_in_it_and_nothing_of_this_machine(exported):
    folder, network, mirror = exported
    known = json.loads((folder / "metadata.json").read_text())
    skeleton = network.skeleton
    assert known["skeleton"]["mirror"] == list(skeleton.mirror)
    checkpoint = (folder.parents[1] / "best.ckpt").read_bytes()
    assert known["checkpoint"]["sha256"] == hashlib.sha256(checkpoint).hexdigest()
    assert known["side"] == SIDE
    assert known["mirror_test"] is mirror
    assert (known["stride"], known["heatmap_stride"]) == (4, network.strides[-1])
    assert len((folder / "example.py").read_text().splitlines()) <= 40
    assert skeleton.name in (folder / "README.md").read_text()
    for file in folder.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            assert not any(
                str(here).encode() in content for here in (ROOT, folder.parent, sys.prefix)
            )


def test_a_skeleton_of_ones_own_is_described():
    hand = make_skeleton(
        "mitten", ("wrist", "thumb", "tip"), (0.1, 0.1, 0.1), bones=[("wrist", "tip")],
        parts={"root": 1, "ends": 2}, grouping_order=("tip", "wrist", "thumb"),
    )  # fmt: skip
    network, decoder = network_of(hand), Decoder(hand.grouping_order[::-1])
    said = description(Exported(network, Path(__file__), decoder, SIDE, mirror=True, licence="any"))
    assert said["skeleton"]["parts"] == {"root": [0, 1], "ends": [1, 3], "mitten": [0, 3]}
    assert said["skeleton"]["grouping_order"] == decoder.grouping_order
    assert NumpyDecoder(said["skeleton"]["grouping_order"], said["stride"], **said["decoder"])
    assert json.loads(json.dumps(said))["skeleton"]["bones"] == [[0, 2]]


@pytest.mark.parametrize("change", [lambda fields: fields, finer], ids=["plain", "finer"])
@pytest.mark.parametrize("cells", [(32, 48), (30, 44)])
def test_crowds_are_decoded_as_with_torch(cells, change):
    torched = Decoder(WHOLEBODY.grouping_order)
    decoder, counts = NumpyDecoder(stride=STRIDE, **asdict(torched)), []
    for count in (1, 3, 6):
        fields = change(merge_mirror(*crowd(count, cells, seed=count), WHOLEBODY.mirror))
        people, expected = decoder(*(each[0].numpy() for each in fields)), torched(fields)[0]
        assert people.scores == pytest.approx(expected.scores, abs=1e-5)
        counts.append(agreeing(people.keypoints, expected.keypoints))
    near, every = np.sum(counts, 0)
    assert near >= 0.999 * every


def test_nobody_is_found_where_there_is_nobody_and_nan_is_refused():
    decoder = NumpyDecoder(stride=STRIDE, **asdict(Decoder(BODY.grouping_order)))
    heatmaps, tags = np.zeros((BODY.size, 16, 16), np.float32), np.zeros((2, BODY.size, 16, 16))
    people = decoder(heatmaps, tags)
    assert people.keypoints.shape == (0, BODY.size, 3)
    heatmaps[0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        decoder(heatmaps, tags)


@given(
    seed=st.integers(0, 2**31),
    count=st.integers(1, 40),
    eighths=st.booleans(),
    ratio=st.sampled_from([STRIDE // 2, STRIDE]),
)
def test_peaks_are_those_of_torch_in_their_order(seed, count, eighths, ratio):
    draw = torch.Generator().manual_seed(seed)
    # of eighths bilinear mixtures of quarters are exact, and many are equal
    heatmaps = torch.rand(1, 1, 20, 36, generator=draw)
    heatmaps = (8 * heatmaps).floor() / 8 if eighths else heatmaps
    fields = Fields(heatmaps, torch.zeros(1, 1, 1, 20, 36))
    expected = find_peaks(fields, (ratio * 20, ratio * 36), count, 0.1)
    there = expected.scores[0, 0] > 0
    found = best_maxima(heatmaps[0, 0].numpy(), ratio, count, 0.1)
    assert found.scores == pytest.approx(expected.scores[0, 0, there].numpy(), abs=1e-6)
    for ours, theirs in ((found.x, expected.x), (found.y, expected.y)):
        assert (ours == theirs[0, 0, there].numpy()).all()


@settings(max_examples=30)
@given(width=st.integers(8, 700), height=st.integers(8, 700), side=st.sampled_from([64, 100, 192]))
def test_an_image_is_shown_as_opencv_shows_it(width, height, side):
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    view = show(image, side)
    expected = shown_by_opencv(image, fitting_side(width, height, side, (1,)), (1,))
    assert (view.frame == expected.frame.numpy()).all()
    apart = np.abs(view.image[0].astype(int) - expected.images[0].numpy())
    # 0 to OpenCV 5; OpenCV 4 rounds places to 1/32 pixel
    assert apart.max() <= 8


def test_what_cannot_be_exported_is_told_in_a_sentence_and_leaves_nothing(tmp_path):
    scales = run("export", "checkpoint=gone.ckpt", "predictor.scales=[1,0.5]", cwd=tmp_path)
    assert scales.returncode == 1
    assert scales.stderr.startswith("error: predictor.scales=[1, 0.5]")
    decoder = Decoder(BODY.grouping_order)
    lost = Exported(network_of(BODY), tmp_path / "gone.ckpt", decoder, SIDE, True, licence="any")
    with pytest.raises(FileNotFoundError):
        write_folder(tmp_path / "folder", lost)
    assert not list(tmp_path.iterdir())
    with pytest.raises(FileExistsError, match="is there already"):
        write_folder(tmp_path, lost)

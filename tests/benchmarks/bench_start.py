"""From the command line of `make predict` to the first picture, with everything that is loaded."""

import subprocess
import sys
import time
from subprocess import PIPE

import numpy as np
import pytest
import torch
from PIL import Image
from tagpose.codec.decode import Decoder

from running import ROOT, run, succeeded
from tagpose.data.images import read_image
from tagpose.data.views import show
from tagpose.inference.predictor import Predictor
from tagpose.model.files import write_checkpoint
from tagpose.model.network import PoseNetwork
from tagpose.official_skeletons import WHOLEBODY

_CELLS = 20  # of a keypoint's heatmap that reach the decoder's threshold: a handful of people
_THRESHOLD = Decoder.min_score
_SPREAD = 0.02  # of a heatmap's values and of tags, which put a person's keypoints together


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a picture, and the checkpoint of a network that finds some people in it."""
    folder = tmp_path_factory.mktemp("start")
    image = np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)
    Image.fromarray(image).save(folder / "picture.jpg")
    torch.manual_seed(0)
    network = PoseNetwork("hrnet_w32", WHOLEBODY)
    find_somebody(network, read_image(folder / "picture.jpg"))
    write_checkpoint(folder / "w32.ckpt", network)
    return folder


@torch.no_grad()
def find_somebody(network, image):
    """Set the head so that a few peaks are found: drawn at random, it has thousands or none."""
    views = show(image, side=512, scales=[1.0])
    fields = Predictor(network, device="cpu").fields([one[None] for one in views.images])
    heatmaps, tags = (one.transpose(0, -3).flatten(1) for one in fields)  # [K, values]
    scale = _SPREAD / torch.cat([heatmaps.std(1), tags.std(1)])
    least = heatmaps.topk(_CELLS).values[:, -1]
    network.head.weight *= scale[:, None, None, None]
    network.head.bias[: len(least)] = _THRESHOLD - scale[: len(least)] * least


def test_the_first_picture_is_there_in_eight_seconds(measure, folder):
    arguments = ("checkpoint=w32.ckpt", "images=picture.jpg", "output=out")
    succeeded(run("predict", *arguments, cwd=folder))
    picture = folder / "out/picture.png"

    def predict():
        picture.unlink()
        # as a user starts it; what comes after the picture is not waited for
        process = subprocess.Popen(
            [sys.executable, ROOT / "scripts/predict.py", *arguments], cwd=folder, stderr=PIPE
        )
        while not picture.exists():  # it is there whole, or not at all
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.005)
        process.kill()
        process.communicate()

    measure("start of make predict to the first picture", predict, limit=8.0, rounds=3)

"""From the command line of `make predict` to the first picture, with everything that is loaded."""

import os
import subprocess
import sys
import time
from subprocess import PIPE

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.run_scripts import ROOT, run, succeeded
from tagpose.codec.decoder import AssociativeEmbeddingDecoder
from tagpose.data.images import read_annotated_image
from tagpose.data.preprocessing import resize_to_scales
from tagpose.inference.predictor import Predictor
from tagpose.models.checkpoint import write_checkpoint
from tagpose.models.network import PoseNetwork
from tagpose.skeletons.coco import WHOLEBODY

_PIXELS = 20  # of a keypoint's heatmap that reach the decoder's threshold: a handful of people
_THRESHOLD = AssociativeEmbeddingDecoder.min_score
_SPREAD = 0.02  # of a heatmap's values and of tags, which put a person's keypoints together


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a picture, and the checkpoint of a network that finds some people in it."""
    folder = tmp_path_factory.mktemp("start")
    image = np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)
    Image.fromarray(image).save(folder / "picture.jpg")
    torch.manual_seed(0)
    network = PoseNetwork("hrnet_w32", WHOLEBODY)
    find_somebody(network, read_annotated_image(folder / "picture.jpg"))
    write_checkpoint(folder / "w32.ckpt", network)
    return folder


@torch.no_grad()
def find_somebody(network, image):
    """Set the head so that a few peaks are found: drawn at random, it has thousands or none."""
    views = resize_to_scales(image, input_size=512, scales=[1.0])
    keypoint_maps = Predictor(network, device="cpu").predict_maps(
        [one[None] for one in views.images]
    )
    heatmaps, tags = (one.transpose(0, -3).flatten(1) for one in keypoint_maps)  # [K, values]
    scale = _SPREAD / torch.cat([heatmaps.std(1), tags.std(1)])
    least = heatmaps.topk(_PIXELS).values[:, -1]
    network.head.weight *= scale[:, None, None, None]
    network.head.bias[: len(least)] = _THRESHOLD - scale[: len(least)] * least


ARGUMENTS = ("checkpoint=w32.ckpt", "images=picture.jpg", "output=out")


def predicting(folder, **environment):
    """From the command line to the first picture."""
    picture = folder / "out/picture.png"

    def predict():
        picture.unlink()
        # as a user starts it; what comes after the picture is not waited for
        process = subprocess.Popen(
            [sys.executable, ROOT / "scripts/predict.py", *ARGUMENTS],
            cwd=folder,
            stderr=PIPE,
            env=os.environ | environment,
        )
        while not picture.exists():  # it is there whole, or not at all
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.005)
        process.kill()
        process.communicate()

    return predict


def test_the_first_picture_is_there_in_eight_seconds(measure, folder):
    succeeded(run("predict", *ARGUMENTS, cwd=folder))
    step = "start of make predict to the first picture"
    measure(step, predicting(folder), limit=8.0, rounds=3)


def test_the_first_picture_of_an_installation_is_there_in_twenty(measure, folder, tmp_path):
    succeeded(run("predict", *ARGUMENTS, cwd=folder))
    predict = predicting(folder, NUMBA_CACHE_DIR=str(tmp_path))
    measure("the same with nothing compiled", predict, limit=20.0, rounds=1, warmup=False)

"""Time from the command line of `tagpose predict` to the first picture, including all imports."""

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

_NUM_PEAKS = 20  # heatmap pixels per keypoint above the threshold of the decoder
_THRESHOLD = AssociativeEmbeddingDecoder.min_score
_STD = 0.02  # of heatmap values and tags, small enough that keypoints are grouped


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with an image and the checkpoint of a network that predicts some people."""
    folder = tmp_path_factory.mktemp("start")
    image = np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)
    Image.fromarray(image).save(folder / "picture.jpg")
    torch.manual_seed(0)
    network = PoseNetwork("hrnet_w32", WHOLEBODY)
    calibrate_head(network, read_annotated_image(folder / "picture.jpg"))
    write_checkpoint(folder / "w32.ckpt", network)
    return folder


@torch.no_grad()
def calibrate_head(network, image):
    """Scale the head so that heatmaps have few peaks; a random head has thousands or none."""
    inputs = resize_to_scales(image, input_size=512, scales=[1.0])
    predictor = Predictor(network, device="cpu")
    keypoint_maps = predictor.predict_maps([image[None] for image in inputs.images])
    heatmaps, tags = (maps.transpose(0, -3).flatten(1) for maps in keypoint_maps)  # [K, values]
    scale = _STD / torch.cat([heatmaps.std(1), tags.std(1)])
    lowest_peak = heatmaps.topk(_NUM_PEAKS).values[:, -1]
    network.head.weight *= scale[:, None, None, None]
    network.head.bias[: len(heatmaps)] = _THRESHOLD - scale[: len(heatmaps)] * lowest_peak


ARGUMENTS = ("checkpoint=w32.ckpt", "images=picture.jpg", "output=out")


def make_prediction(folder, **environment):
    """Return a function that runs the program until the first picture exists."""
    picture = folder / "out/picture.png"

    def predict():
        picture.unlink()
        # started like by a user, and ended after the first picture
        process = subprocess.Popen(
            [sys.executable, ROOT / "scripts/predict.py", *ARGUMENTS],
            cwd=folder,
            stderr=PIPE,
            env=os.environ | environment,
        )
        while not picture.exists():  # it is written atomically
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.005)
        process.kill()
        process.communicate()

    return predict


def test_the_first_picture_takes_at_most_eight_seconds(measure, folder):
    succeeded(run("predict", *ARGUMENTS, cwd=folder))
    step = "`tagpose predict`, launch to first picture"
    measure(step, make_prediction(folder), limit=8.0, rounds=3)


def test_the_first_picture_without_compiled_code_takes_at_most_twenty_seconds(
    measure, folder, tmp_path
):
    succeeded(run("predict", *ARGUMENTS, cwd=folder))
    predict = make_prediction(folder, NUMBA_CACHE_DIR=str(tmp_path))
    measure("the same with an empty numba cache", predict, limit=20.0, rounds=1, warmup=False)

"""Decoding of network outputs, compared with two forward passes of HRNet-w32.

The outputs are those of the demo's network, which is trained first if `runs/demo` is missing.
"""

from functools import partial
from itertools import cycle
from time import perf_counter

import numpy as np
import pytest
import torch

from helpers.run_scripts import ROOT
from tagpose.benchmark.workloads import PERSON_HEIGHTS
from tagpose.cli.demo import ensure_demo_checkpoint
from tagpose.codec.decoder import build_decoder
from tagpose.codec.grouping import group_peaks
from tagpose.codec.peaks import find_peaks
from tagpose.codec.tta import merge_flip
from tagpose.data.images import read_annotated_image
from tagpose.data.synthetic import write_synthetic_dataset
from tagpose.data.synthetic.scene import render_crowd
from tagpose.inference.batch_decoding import decode_batch, flipped_outputs
from tagpose.inference.predictor import Predictor
from tagpose.models.checkpoint import load_network
from tagpose.models.network import PoseNetwork
from tagpose.skeletons.coco import WHOLEBODY
from tagpose.structures import KeypointMaps

SIZE, CROWDS = (512, 704), 50
VAL_IMAGES = 200  # validation images of the demo
PASSES = "two w32 forward passes"
IDENTITY = torch.eye(2, 3, dtype=torch.float64)[None]
DECODER = build_decoder(WHOLEBODY, subpixel=True)  # like the demo's network


@pytest.fixture(scope="module")
def checkpoint():
    return ensure_demo_checkpoint(ROOT / "runs")


@torch.inference_mode()
def outputs(checkpoint, people, crowds):
    """Return pairs of network outputs for synthetic crowds and their flipped images."""
    network, random = load_network(checkpoint).eval(), np.random.default_rng(people)
    pairs = []
    for _ in range(crowds):
        crowd = render_crowd(random, SIZE, people, PERSON_HEIGHTS)
        image = torch.from_numpy(crowd).permute(2, 0, 1)[None]
        pair = network(image), network(image.flip(-1))
        pairs.append([KeypointMaps(*(m.contiguous() for m in maps)) for maps in pair])
    return pairs


@pytest.fixture(scope="module", params=[5, 30])
def crowds(request, checkpoint):
    """Return the number of people per crowd and the outputs for all crowds."""
    return request.param, outputs(checkpoint, request.param, CROWDS)


@pytest.fixture(scope="module")
def two_passes():
    """Return two forward passes of HRNet-w32."""
    network = PoseNetwork("hrnet_w32", WHOLEBODY).eval()
    images = torch.randint(0, 256, (1, 3, *SIZE), dtype=torch.uint8)

    @torch.inference_mode()
    def work():
        network(images)
        network(images.flip(-1))

    work()
    return work


def make_decoding(pairs, min_person_score=0.0):
    """Return a function that decodes the next pair of outputs in each call."""
    cycled = cycle(pairs)

    def work():
        keypoint_maps, flipped = next(cycled)
        decode_batch(
            keypoint_maps,
            IDENTITY,
            DECODER,
            flipped=flipped_outputs(flipped, WHOLEBODY.channel_flip_indices()),
            min_person_score=min_person_score,
        )

    return work


def make_single_decoding(checkpoint, people):
    """Return the decoding of a single crowd, for the measurement of memory in a new process."""
    return make_decoding(outputs(checkpoint, people, 1))


LIMITS = {  # ratio to the forward passes: of the median, of the slowest image
    (5, 0.0): (0.02, 0.05),
    (30, 0.0): (0.04, 0.08),
    (5, 0.3): (0.015, 0.02),
    (30, 0.3): (0.015, 0.02),
}


@pytest.mark.timeout(3600)  # the demo may have to be trained
@pytest.mark.parametrize("min_score", [0.0, 0.3])
def test_decode(measure, peak_memory, two_passes, checkpoint, crowds, min_score):
    people, pairs = crowds
    single = partial(make_single_decoding, checkpoint, people)
    limit, worst_limit = LIMITS[people, min_score]
    option = f", min_person_score={min_score}" if min_score else ""
    measure(
        f"decode with flip test, {people} people, 512 x 704{option}",
        make_decoding(pairs, min_score),
        reference_name=PASSES,
        reference=two_passes,
        reference_every=10,
        limit=limit,
        worst_limit=worst_limit,
        rounds=3 * CROWDS,
        num_inputs=CROWDS,
        memory=None if min_score else lambda: peak_memory(single),
        memory_limit=None if min_score else 100,
    )


def test_grouping(measure, crowds):
    people, pairs = crowds
    merged = [merge_flip(*pair, WHOLEBODY.channel_flip_indices()) for pair in pairs]
    prepared = (DECODER.prepare(*(m.numpy() for m in maps)) for maps in merged)
    peaks = cycle(
        [
            find_peaks(maps, DECODER.max_peaks, DECODER.min_score, subpixel=DECODER.subpixel)
            for maps in prepared
        ]
    )

    def work():
        found = next(peaks)
        group_peaks(found.xy[0], found.scores[0], found.tags[0], DECODER.grouping)

    limit = 0.002 if people == 5 else 0.006
    measure(f"grouping alone, {people} people", work, limit=limit, rounds=CROWDS)


@pytest.fixture(scope="module")
def val_outputs(checkpoint, tmp_path_factory):
    """Return the outputs for the demo's validation images, and the seconds of the network."""
    root = tmp_path_factory.mktemp("demo") / "synthetic"
    write_synthetic_dataset(root, train=1, val=VAL_IMAGES)
    predictor, outputs_and_affines, seconds = Predictor(checkpoint, device="cpu"), [], 0.0
    for file in sorted((root / "val2017").iterdir()):
        inputs = predictor.preprocess(read_annotated_image(file))
        start = perf_counter()
        keypoint_maps = predictor.predict_maps([image[None] for image in inputs.images])
        seconds += perf_counter() - start
        outputs_and_affines.append((keypoint_maps, inputs.affine[None]))
    return outputs_and_affines, seconds


def test_decoding_in_the_demo(measure, val_outputs):
    outputs_and_affines, seconds = val_outputs

    def work():
        for keypoint_maps, affine in outputs_and_affines:
            decode_batch(keypoint_maps, affine, DECODER)

    measure(
        f"decode the demo's {VAL_IMAGES} held-out images",
        work,
        reference_name="the demo's network",
        reference=seconds,
        limit=0.5,
        rounds=3,
    )

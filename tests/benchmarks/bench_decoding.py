"""Cost of decoding what a trained network outputs, compared with two passes of HRNet-w32.

The network is the demo's, trained on drawn people; where `runs/demo` is missing the demo is run.
"""

from functools import partial
from itertools import cycle
from time import perf_counter

import numpy as np
import pytest
import torch

from helpers.run_scripts import ROOT
from tagpose.benchmark.workloads import PERSON_HEIGHTS
from tagpose.cli.subprograms import ensure_demo_checkpoint
from tagpose.codec.decoder import build_decoder
from tagpose.codec.grouping import group_peaks
from tagpose.codec.peaks import find_peaks
from tagpose.codec.tta import merge_flip
from tagpose.data.image_files import read_annotated_image
from tagpose.data.synthetic import write_synthetic_dataset
from tagpose.data.synthetic.scene import render_crowd
from tagpose.inference.batch_decoding import decode_batch, flipped_outputs
from tagpose.inference.predictor import Predictor
from tagpose.models.checkpoint import load_network
from tagpose.models.network import PoseNetwork
from tagpose.skeletons.coco import WHOLEBODY
from tagpose.structures import KeypointMaps

SIZE, CROWDS = (512, 704), 50
HELD_OUT = 200  # images of the demo
PASSES = "two w32 forward passes"
IDENTITY = torch.eye(2, 3, dtype=torch.float64)[None]
DECODER = build_decoder(WHOLEBODY, subpixel=True)  # as the demo's network was trained


@pytest.fixture(scope="module")
def checkpoint():
    return ensure_demo_checkpoint(ROOT / "runs", ROOT / "scripts")


@torch.inference_mode()
def outputs(checkpoint, people, crowds):
    """What the network outputs for crowds and for the flipped crowds."""
    network, random = load_network(checkpoint).eval(), np.random.default_rng(people)
    pairs = []
    for _ in range(crowds):
        crowd = render_crowd(random, SIZE, people, PERSON_HEIGHTS)
        image = torch.from_numpy(crowd).permute(2, 0, 1)[None]
        both = network(image), network(image.flip(-1))
        pairs.append([KeypointMaps(*(each.contiguous() for each in one)) for one in both])
    return pairs


@pytest.fixture(scope="module", params=[5, 30])
def crowds(request, checkpoint):
    """People of each crowd, and the outputs of all."""
    return request.param, outputs(checkpoint, request.param, CROWDS)


@pytest.fixture(scope="module")
def two_passes():
    """Two forward passes of HRNet-w32."""
    network = PoseNetwork("hrnet_w32", WHOLEBODY).eval()
    images = torch.randint(0, 256, (1, 3, *SIZE), dtype=torch.uint8)

    @torch.inference_mode()
    def work():
        network(images)
        network(images.flip(-1))

    work()
    return work


def decoding(pairs, min_person_score=0.0):
    """Decoding of the next pair of outputs at each call."""
    following = cycle(pairs)

    def work():
        own, flipped = next(following)
        decode_batch(
            own,
            IDENTITY,
            DECODER,
            flipped=flipped_outputs(flipped, WHOLEBODY.channel_flip_indices()),
            min_person_score=min_person_score,
        )

    return work


def one_decoding(checkpoint, people):
    """The decoding whose memory is measured, in a process of its own."""
    return decoding(outputs(checkpoint, people, 1))


LIMITS = {  # share of the passes: of the median, of the worst image
    (5, 0.0): (0.02, 0.05),
    (30, 0.0): (0.04, 0.08),
    (5, 0.3): (0.015, 0.02),
    (30, 0.3): (0.015, 0.02),
}


@pytest.mark.timeout(3600)  # the demo may have to be trained
@pytest.mark.parametrize("least", [0.0, 0.3])
def test_decode(measure, peak_memory, two_passes, checkpoint, crowds, least):
    people, pairs = crowds
    limit, worst = LIMITS[people, least]
    chosen = f", min_person_score={least}" if least else ""
    measure(
        f"decode with flip test, {people} people, 512 x 704{chosen}",
        decoding(pairs, least),
        against=PASSES,
        yardstick=two_passes,
        every=10,
        limit=limit,
        worst_limit=worst,
        rounds=3 * CROWDS,
        inputs=CROWDS,
        memory=None if least else lambda: peak_memory(partial(one_decoding, checkpoint, people)),
        memory_limit=None if least else 100,
    )


def test_grouping(measure, crowds):
    people, pairs = crowds
    merged = [merge_flip(*pair, WHOLEBODY.channel_flip_indices()) for pair in pairs]
    maps = (DECODER.prepare(*(each.numpy() for each in one)) for one in merged)
    peaks = cycle([find_peaks(one, DECODER.max_peaks, DECODER.min_score) for one in maps])

    def work():
        xy, scores, tags = (each[0] for each in next(peaks))
        group_peaks(xy, scores, tags, DECODER.grouping)

    limit = 0.002 if people == 5 else 0.006
    measure(f"grouping alone, {people} people", work, limit=limit, rounds=CROWDS)


@pytest.fixture(scope="module")
def held_out(checkpoint, tmp_path_factory):
    """Outputs for the demo's held-out images, and the seconds that the network took."""
    root = tmp_path_factory.mktemp("demo") / "synthetic"
    write_synthetic_dataset(root, train=1, val=HELD_OUT)
    predictor, every, taken = Predictor(checkpoint, device="cpu"), [], 0.0
    for file in sorted((root / "val2017").iterdir()):
        views = predictor.preprocess(read_annotated_image(file))
        start = perf_counter()
        keypoint_maps = predictor.predict_maps([one[None] for one in views.images])
        taken += perf_counter() - start
        every.append((keypoint_maps, views.affine[None]))
    return every, taken


def test_decoding_in_the_demo(measure, held_out):
    every, taken = held_out

    def work():
        for keypoint_maps, affine in every:
            decode_batch(keypoint_maps, affine, DECODER)

    measure(
        f"decode the demo's {HELD_OUT} held-out images",
        work,
        against="the demo's network",
        yardstick=taken,
        limit=0.5,
        rounds=3,
    )

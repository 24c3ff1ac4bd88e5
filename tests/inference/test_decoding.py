"""While a batch is decoded, the network computes the next one."""

import threading
import time

import numpy as np
import pytest
import torch

from tagpose.codec.decoder import build_decoder
from tagpose.inference.batch_decoding import PendingQueue, decode_batch, overlap, submit_batch
from tagpose.skeletons.coco import BODY
from tagpose.structures import KeypointMaps, Poses

IDENTITY = torch.eye(2, 3, dtype=torch.float64)[None]


class SlowDecoder:
    """Takes its time, and writes down what happens."""

    def __init__(self, events, seconds=0.05):
        self.events, self.seconds, self.at_once, self.most = events, seconds, 0, 0
        self.lock = threading.Lock()

    def __call__(self, heatmaps, tags, **options):
        number = int(heatmaps[0, 0, 0, 0])
        with self.lock:
            self.at_once += 1
            self.most = max(self.most, self.at_once)
        time.sleep(self.seconds)
        with self.lock:
            self.at_once -= 1
        self.events.append(("decoded", number))
        return [Poses(np.full((1, 17, 3), number, np.float32), np.ones(1, np.float32))]


def run(batches, seconds=0.05, decoding=0.15):
    """Results of slow batches, and the order of what happened."""
    events, decoder = [], SlowDecoder([], decoding)
    decoder.events = events

    def submitted():
        for number in range(batches):
            time.sleep(seconds)  # the network
            events.append(("computed", number))
            maps = torch.full((1, 17, 4, 4), float(number))
            yield number, submit_batch(KeypointMaps(maps, maps[:, None]), IDENTITY, decoder)

    return list(overlap(submitted())), events, decoder


def test_the_network_goes_on_while_batches_are_decoded():
    batches = 6
    results, events, decoder = run(batches)
    assert [number for number, _ in results] == list(range(batches))
    assert [people[0].keypoints[0, 0, 0] for _, people in results] == list(range(batches))
    for number in range(batches - 1):  # one is computed before the last is decoded
        assert events.index(("computed", number + 1)) < events.index(("decoded", number))
    assert decoder.most <= 2


def test_decoding_costs_no_time_beside_a_network_as_slow():
    start = time.perf_counter()
    run(batches=8, seconds=0.1, decoding=0.1)
    assert time.perf_counter() - start < 8 * 0.1 * 1.7  # one after the other would take 2


def test_no_more_than_two_batches_wait():
    queue, taken = PendingQueue(), []

    class Done:
        def result(self):
            return "done"

    for number in range(5):
        taken += [key for key, _ in queue.put(number, Done())]
    assert taken == [0, 1, 2]
    assert [key for key, _ in queue.drain()] == [3, 4]
    assert list(queue.drain()) == []


def test_an_error_of_a_batch_is_raised_where_its_result_is_taken():
    maps = torch.full((1, 17, 4, 4), torch.nan)
    pending = submit_batch(KeypointMaps(maps, maps[:, None]), IDENTITY, build_decoder(BODY))
    with pytest.raises(ValueError, match="contains NaN or infinity"):
        pending.result()


def test_people_come_in_image_pixels_and_weak_ones_may_be_left_out():
    heatmaps = torch.zeros(1, 17, 24, 24)
    heatmaps[0, :, 5, 5], heatmaps[0, :3, 15, 15] = 0.9, 0.5
    tags = torch.zeros_like(heatmaps)[:, None]
    tags[..., 12:] = 9
    affine = torch.tensor([[[2.0, 0, 10], [0, 2.0, 20]]], dtype=torch.float64)
    decoder = build_decoder(BODY)
    (every,) = decode_batch(KeypointMaps(heatmaps, tags), affine, decoder)
    (sure,) = decode_batch(KeypointMaps(heatmaps, tags), affine, decoder, min_person_score=0.3)
    assert len(every.scores) == 2
    assert len(sure.scores) == 1
    assert (sure.keypoints == every.keypoints[:1]).all()
    np.testing.assert_allclose(every.keypoints[0, 0, :2], [(22 - 10) / 2, (22 - 20) / 2], atol=1)

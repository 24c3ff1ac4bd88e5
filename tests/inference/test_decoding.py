"""Batches are decoded in threads while the network computes the next ones."""

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
    """Decoder that sleeps, and records events and the number of concurrent calls."""

    def __init__(self, events, seconds=0.05):
        self.events, self.seconds, self.running, self.max_running = events, seconds, 0, 0
        self.lock = threading.Lock()

    def __call__(self, heatmaps, tags, **options):
        number = int(heatmaps[0, 0, 0, 0])
        with self.lock:
            self.running += 1
            self.max_running = max(self.max_running, self.running)
        time.sleep(self.seconds)
        with self.lock:
            self.running -= 1
        self.events.append(("decoded", number))
        return [Poses(np.full((1, 17, 3), number, np.float32), np.ones(1, np.float32))]


def run(batches, seconds=0.05, decoding=0.15):
    """Return the results of slow batches, the events and the decoder."""
    events, decoder = [], SlowDecoder([], decoding)
    decoder.events = events

    def submitted():
        for number in range(batches):
            time.sleep(seconds)  # the network
            events.append(("computed", number))
            maps = torch.full((1, 17, 4, 4), float(number))
            yield number, submit_batch(KeypointMaps(maps, maps[:, None]), IDENTITY, decoder)

    return list(overlap(submitted())), events, decoder


def test_the_network_computes_while_batches_are_decoded():
    batches = 6
    results, events, decoder = run(batches)
    assert [number for number, _ in results] == list(range(batches))
    assert [poses[0].keypoints[0, 0, 0] for _, poses in results] == list(range(batches))
    for number in range(batches - 1):  # each is computed before the previous one is decoded
        assert events.index(("computed", number + 1)) < events.index(("decoded", number))
    assert decoder.max_running <= 2


def test_decoding_takes_no_extra_time_with_an_equally_slow_network():
    start = time.perf_counter()
    run(batches=8, seconds=0.1, decoding=0.1)
    assert time.perf_counter() - start < 8 * 0.1 * 1.7  # sequentially the factor is 2


def test_at_most_two_batches_are_pending():
    queue, finished = PendingQueue(), []

    class Done:
        def result(self):
            return "done"

    for number in range(5):
        finished += [key for key, _ in queue.put(number, Done())]
    assert finished == [0, 1, 2]
    assert [key for key, _ in queue.drain()] == [3, 4]
    assert list(queue.drain()) == []


def test_a_decoding_error_is_raised_by_result():
    maps = torch.full((1, 17, 4, 4), torch.nan)
    pending = submit_batch(KeypointMaps(maps, maps[:, None]), IDENTITY, build_decoder(BODY))
    with pytest.raises(ValueError, match="contains NaN or infinity"):
        pending.result()


def test_poses_are_in_image_pixels_and_weak_people_can_be_dropped():
    heatmaps = torch.zeros(1, 17, 24, 24)
    heatmaps[0, :, 5, 5], heatmaps[0, :3, 15, 15] = 0.9, 0.5
    tags = torch.zeros_like(heatmaps)[:, None]
    tags[..., 12:] = 9
    affine = torch.tensor([[[2.0, 0, 10], [0, 2.0, 20]]], dtype=torch.float64)
    decoder = build_decoder(BODY)
    (unfiltered,) = decode_batch(KeypointMaps(heatmaps, tags), affine, decoder)
    (filtered,) = decode_batch(KeypointMaps(heatmaps, tags), affine, decoder, min_person_score=0.3)
    assert len(unfiltered.scores) == 2
    assert len(filtered.scores) == 1
    assert (filtered.keypoints == unfiltered.keypoints[:1]).all()
    np.testing.assert_allclose(
        unfiltered.keypoints[0, 0, :2], [(22 - 10) / 2, (22 - 20) / 2], atol=1
    )

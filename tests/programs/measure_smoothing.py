"""Measure smoothing on synthetic videos: python tests/programs/measure_smoothing.py CHECKPOINT.

Prints the jitter (median second difference of the error), the lag (delay behind the ground truth,
by least squares) and the median error, for the raw keypoints and several filters. Includes people
with a score above 0.3 and keypoints with a score above 0.2.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from helpers.synthetic_motion import render_motion
from tagpose import Predictor
from tagpose.video.smoothing import KeypointSmoother
from tagpose.video.video_predictor import VideoPredictor
from tagpose.video.writer import write_video

RATE, FRAMES, SEEDS = 30, 150, (1, 2, 3)
FILTERS = [None, *(KeypointSmoother(beta=beta) for beta in (5.0, 10.0, 20.0, 40.0))]


def predict_video(predictor, seed, folder):
    """Return the ground truth [N, K, 2] and the predictions of a synthetic video."""
    file, ground_truth = Path(folder, f"{seed}.mp4"), []
    with write_video(file, RATE) as writer:
        for number, moment in enumerate(render_motion(seed, FRAMES, rate=RATE)):
            writer.add(moment.image, number / RATE)
            ground_truth.append(moment.keypoints[0])
    options = VideoPredictor()
    with options.open(str(file)) as video:
        return np.stack(ground_truth), list(options.predict(video, predictor))


def best_keypoints(results):
    """Return the keypoints [N, K, 3] of the best person of each frame."""
    return np.stack([frame.result.keypoints[0] for frame in results])


def measure(ground_truth, raw, keypoints):
    """Return jitter in pixels, lag in milliseconds and error in pixels."""
    is_valid = (raw[..., 2] >= 0.2) & (keypoints[..., 2] >= 0.2)
    error = np.where(is_valid[..., None], keypoints[..., :2] - ground_truth, np.nan)
    velocity = np.gradient(ground_truth, 1 / RATE, axis=0)
    jitter = np.linalg.norm(error[2:] - 2 * error[1:-1] + error[:-2], axis=-1)
    lag = -np.nansum(error * velocity) / np.sum(velocity[is_valid] ** 2)
    return np.nanmedian(jitter), 1000 * lag, np.nanmedian(np.linalg.norm(error, axis=-1))


if __name__ == "__main__":
    predictor = Predictor(sys.argv[1])
    with TemporaryDirectory() as folder:
        videos = [predict_video(predictor, seed, folder) for seed in SEEDS]
    print("| filter | jitter (px) | lag (ms) | error (px) |\n|---|---|---|---|")
    for smoothing in FILTERS:
        rows = [
            measure(
                ground_truth,
                best_keypoints(results),
                best_keypoints(smoothing(results) if smoothing else results),
            )
            for ground_truth, results in videos
        ]
        name = f"beta={smoothing.beta:g}" if smoothing else "none"
        print(f"| {name} |", " | ".join(f"{value:.2f}" for value in np.mean(rows, 0)), "|")

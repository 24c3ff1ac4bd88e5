"""Videos predicted as a user does it: folders, animations, streams, stops and resumed calls."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from fractions import Fraction
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from socket import gethostname

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from PIL import Image

from helpers.run_scripts import ROOT, run, started, succeeded
from helpers.sample_videos import decoded, grey, make_video
from tagpose.cli.predict_videos import write_frames
from tagpose.inference.results import make_pose_result
from tagpose.io import remove_stale_files
from tagpose.models.checkpoint import write_checkpoint
from tagpose.models.network import PoseNetwork
from tagpose.skeletons.coco import BODY
from tagpose.structures import Poses
from tagpose.video.frames import Video
from tagpose.video.smoothing import FrameResult
from tagpose.video.summary import is_finished

FAST = ("checkpoint=x.ckpt", "predictor.flip_test=false", "formats=[coco,jsonl,pictures]")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the checkpoint of a network that has learned nothing."""
    folder = tmp_path_factory.mktemp("videos")
    write_checkpoint(folder / "x.ckpt", PoseNetwork("hrnet_w18_small", BODY, input_size=64))
    return folder


def predict(folder, *words):
    return run("predict", *FAST, *words, cwd=folder)


def partial_files(folder):
    return [file for file in folder.rglob("*") if ".tmp" in file.name]


@pytest.fixture
def inputs(folder):
    """A folder of two videos, an animation, a picture, an empty file and a cut one."""
    inputs = folder / "inputs"
    inputs.mkdir(exist_ok=True)
    make_video(inputs / "a.mp4", [grey(90)] * 3, sound="aac")
    make_video(inputs / "b.avi", [grey(90)] * 3, codec="mpeg4")
    frames = [Image.fromarray(grey(level)) for level in (20, 120, 220)]
    frames[0].save(inputs / "c.gif", save_all=True, append_images=frames[1:], duration=100)
    frames[0].save(inputs / "d.png")
    (inputs / "e.mp4").touch()
    content = make_video(inputs / "f.mp4", [grey(90)] * 3).read_bytes()
    (inputs / "f.mp4").write_bytes(content[: len(content) // 2])
    return inputs


def test_each_video_of_a_folder_has_results_of_its_own_and_what_cannot_be_read_is_named(
    folder, inputs
):
    result = predict(folder, f"images={inputs}", "output=all", "video.smooth=true")
    assert result.returncode == 1
    assert "e.mp4 cannot be read as a video" in result.stderr
    assert "f.mp4 cannot be read as a video" in result.stderr
    for name in ("a", "b", "c"):
        results = folder / "all" / name
        assert {file.name for file in results.iterdir()} == {
            f"{name}.mp4", "people.jsonl", "results.json", "video.json"
        }  # fmt: skip
        assert len(decoded(results / f"{name}.mp4")[0]) == 3
        assert len((results / "people.jsonl").read_text().splitlines()) == 3
    assert (folder / "all/d.png").is_file()
    assert not (folder / "all/e").exists()
    assert partial_files(folder) == []


def test_a_resumed_call_skips_what_is_finished_and_nothing_else(folder, inputs):
    words = (f"images={inputs}/[ab].*", "output=resumed")
    assert "resume=true needs output" in predict(folder, words[0], "resume=true").stderr
    succeeded(predict(folder, *words))
    drawn = folder / "resumed/a/a.mp4"
    before = drawn.stat().st_mtime_ns
    make_video(inputs / "b.avi", [grey(50)] * 4, codec="mpeg4")
    again = succeeded(predict(folder, *words, "resume=true"))
    assert "a.mp4 is finished" in again.stdout
    assert drawn.stat().st_mtime_ns == before
    assert len(decoded(folder / "resumed/b/b.mp4")[0]) == 4
    settings = json.loads((folder / "resumed/a/video.json").read_text())["settings"]
    assert is_finished(folder / "resumed/a", str(inputs / "a.mp4"), settings)
    other = settings | {"min_keypoint_score": 0.5}
    assert not is_finished(folder / "resumed/a", str(inputs / "a.mp4"), other)


def test_a_stream_is_a_video_and_its_password_is_not_shown(folder, inputs):
    handler = partial(SimpleHTTPRequestHandler, directory=str(inputs))
    handler.log_message = lambda *_: None
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://me:secret@127.0.0.1:{server.server_port}"
        good = succeeded(predict(folder, f"images={address}/a.mp4", "output=stream"))
        bad = predict(folder, f"images={address}/none.mp4", "output=stream")
        server.shutdown()
    assert len(decoded(folder / "stream/a.mp4")[0]) == 3
    assert "none.mp4 cannot be read as a video" in bad.stderr
    assert "secret" not in good.stdout + good.stderr + bad.stdout + bad.stderr
    assert "secret" not in (folder / "stream/video.json").read_text()


def test_an_error_between_frames_keeps_the_frames_until_then(tmp_path):
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        cfg = compose("predict", ["checkpoint=x", "images=y", "formats=[coco,jsonl,pictures]"])
    nobody = make_pose_result(Poses(np.zeros((0, BODY.size, 3)), np.zeros(0)), (64, 48), BODY)

    def frames():
        for number in range(4):
            yield FrameResult(number, number / 10, grey(90), nobody, 0.1)
        raise RuntimeError("the GPU is full")

    with pytest.raises(RuntimeError, match="the GPU is full"):
        write_frames(cfg, frames(), Video(Fraction(10)), "a.avi", tmp_path)
    assert len(decoded(tmp_path / "a.mp4")[0]) == 4
    assert len((tmp_path / "people.jsonl").read_text().splitlines()) == 4
    assert json.loads((tmp_path / "results.json").read_text()) == []
    assert partial_files(tmp_path) == []


def test_partial_files_of_killed_processes_are_removed_and_others_stay(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    kept = [f"a.{gethostname()}.{os.getpid()}.tmp.mp4", f"a.other.{ended.pid}.tmp.mp4", "a.tmp.mp4"]
    for name in (f"a.b.{gethostname()}.{ended.pid}.tmp.mp4", *kept):
        (tmp_path / name).touch()
    remove_stale_files(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == set(kept)
    remove_stale_files(tmp_path / "missing")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_call_keeps_what_it_did_and_a_resumed_one_does_the_rest(folder, tmp_path, number):
    images = [np.roll(grey(90, 256, 320), n) for n in range(600)]
    (tmp_path / "in").mkdir()
    make_video(tmp_path / "in/long.mp4", images, sound="aac")
    make_video(tmp_path / "in/a.mp4", images[:3])
    output = tmp_path / "out"
    words = (*FAST, f"images={tmp_path}/in", f"output={output}")
    process = started("predict", *words, cwd=folder, log=tmp_path / "log")
    lines = output / "long/people.jsonl"
    while not (lines.is_file() and lines.read_text().count("\n") > 5):
        assert process.poll() is None, (tmp_path / "log").read_text()
        time.sleep(0.1)
    process.send_signal(number)
    process.wait(60)
    done = lines.read_text().count("\n")
    assert 5 < done < 600
    assert (output / "a/video.json").is_file()
    assert not (output / "long/video.json").exists()
    if number != signal.SIGKILL:
        assert process.returncode == 128 + number
        times, _, duration = decoded(output / "long/long.mp4")
        assert len(times) == done
        assert duration == pytest.approx(done / 10, abs=0.2)
        json.loads((output / "long/results.json").read_text())
        assert partial_files(output) == []
    short = ("resume=true", "video.max_frames=8")
    result = succeeded(run("predict", *words, *short, cwd=folder))
    assert len(decoded(output / "long/long.mp4")[0]) == 8, result.stdout
    assert partial_files(output) == []

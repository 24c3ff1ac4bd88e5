"""The predict program on videos: folders, animations, streams, signals and resumed runs."""

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
from PIL import Image

from helpers.run_scripts import run, started, succeeded
from helpers.sample_videos import decode, gray_frame, make_video
from tagpose.inference.image_outputs import OutputOptions
from tagpose.inference.results import make_pose_result
from tagpose.io import remove_stale_files
from tagpose.models.checkpoint import write_checkpoint
from tagpose.models.network import PoseNetwork
from tagpose.skeletons.coco import BODY
from tagpose.structures import Poses
from tagpose.video.frames import FrameResult, Video
from tagpose.video.resume import is_finished
from tagpose.video.writer import write_video_outputs

FAST = ("checkpoint=x.ckpt", "predictor.flip_test=false", "formats=[coco,jsonl,pictures]")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Folder with the checkpoint of an untrained network."""
    folder = tmp_path_factory.mktemp("videos")
    write_checkpoint(folder / "x.ckpt", PoseNetwork("hrnet_w18_small", BODY, input_size=64))
    return folder


def predict(folder, *overrides):
    return run("predict", *FAST, *overrides, cwd=folder)


def partial_files(folder):
    return [file for file in folder.rglob("*") if ".tmp" in file.name]


@pytest.fixture
def inputs(folder):
    """Folder of two videos, an animation, an image, an empty file and a truncated one."""
    inputs = folder / "inputs"
    inputs.mkdir(exist_ok=True)
    make_video(inputs / "a.mp4", [gray_frame(90)] * 3, audio_codec="aac")
    make_video(inputs / "b.avi", [gray_frame(90)] * 3, codec="mpeg4")
    frames = [Image.fromarray(gray_frame(level)) for level in (20, 120, 220)]
    frames[0].save(inputs / "c.gif", save_all=True, append_images=frames[1:], duration=100)
    frames[0].save(inputs / "d.png")
    (inputs / "e.mp4").touch()
    content = make_video(inputs / "f.mp4", [gray_frame(90)] * 3).read_bytes()
    (inputs / "f.mp4").write_bytes(content[: len(content) // 2])
    return inputs


def test_each_video_of_a_folder_has_a_result_folder_and_unreadable_ones_are_reported(
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
        assert len(decode(results / f"{name}.mp4")[0]) == 3
        assert len((results / "people.jsonl").read_text().splitlines()) == 3
    assert (folder / "all/d.png").is_file()
    assert not (folder / "all/e").exists()
    assert partial_files(folder) == []


def test_a_resumed_run_skips_finished_videos_only(folder, inputs):
    overrides = (f"images={inputs}/[ab].*", "output=resumed")
    assert "resume=true needs output" in predict(folder, overrides[0], "resume=true").stderr
    succeeded(predict(folder, *overrides))
    finished = folder / "resumed/a/a.mp4"
    modified = finished.stat().st_mtime_ns
    make_video(inputs / "b.avi", [gray_frame(50)] * 4, codec="mpeg4")
    resumed = succeeded(predict(folder, *overrides, "resume=true"))
    assert "a.mp4 is finished" in resumed.stdout
    assert finished.stat().st_mtime_ns == modified
    assert len(decode(folder / "resumed/b/b.mp4")[0]) == 4
    settings = json.loads((folder / "resumed/a/video.json").read_text())["settings"]
    assert is_finished(folder / "resumed/a", str(inputs / "a.mp4"), settings)
    other = settings | {"min_keypoint_score": 0.5}
    assert not is_finished(folder / "resumed/a", str(inputs / "a.mp4"), other)


def test_a_url_is_read_as_a_video_and_its_password_is_redacted(folder, inputs):
    handler = partial(SimpleHTTPRequestHandler, directory=str(inputs))
    handler.log_message = lambda *_: None
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://me:secret@127.0.0.1:{server.server_port}"
        good = succeeded(predict(folder, f"images={url}/a.mp4", "output=stream"))
        bad = predict(folder, f"images={url}/none.mp4", "output=stream")
        server.shutdown()
    assert len(decode(folder / "stream/a.mp4")[0]) == 3
    assert "none.mp4 cannot be read as a video" in bad.stderr
    assert "secret" not in good.stdout + good.stderr + bad.stdout + bad.stderr
    assert "secret" not in (folder / "stream/video.json").read_text()


def test_results_before_an_error_are_complete(tmp_path):
    options = OutputOptions(("coco", "jsonl", "pictures"))
    empty = make_pose_result(Poses(np.zeros((0, BODY.size, 3)), np.zeros(0)), (64, 48), BODY)

    def frames():
        for number in range(4):
            yield FrameResult(number, number / 10, gray_frame(90), empty, 0.1)
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        write_video_outputs(frames(), Video(Fraction(10)), "a.avi", tmp_path, options)
    assert len(decode(tmp_path / "a.mp4")[0]) == 4
    assert len((tmp_path / "people.jsonl").read_text().splitlines()) == 4
    assert json.loads((tmp_path / "results.json").read_text()) == []
    assert partial_files(tmp_path) == []


def test_only_partial_files_of_dead_processes_of_this_host_are_removed(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    others = [
        f"a.{gethostname()}.{os.getpid()}.tmp.mp4",
        f"a.other.{dead.pid}.tmp.mp4",
        "a.tmp.mp4",
    ]
    for name in (f"a.b.{gethostname()}.{dead.pid}.tmp.mp4", *others):
        (tmp_path / name).touch()
    remove_stale_files(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == set(others)
    remove_stale_files(tmp_path / "missing")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_run_keeps_its_results_and_can_be_resumed(folder, tmp_path, number):
    images = [np.roll(gray_frame(90, 256, 320), n) for n in range(600)]
    (tmp_path / "in").mkdir()
    make_video(tmp_path / "in/long.mp4", images, audio_codec="aac")
    make_video(tmp_path / "in/a.mp4", images[:3])
    output = tmp_path / "out"
    overrides = (*FAST, f"images={tmp_path}/in", f"output={output}")
    process = started("predict", *overrides, cwd=folder, log=tmp_path / "log")
    lines = output / "long/people.jsonl"
    while not (lines.is_file() and lines.read_text().count("\n") > 5):
        assert process.poll() is None, (tmp_path / "log").read_text()
        time.sleep(0.1)
    process.send_signal(number)
    process.wait(60)
    num_frames = lines.read_text().count("\n")
    assert 5 < num_frames < 600
    assert (output / "a/video.json").is_file()
    assert not (output / "long/video.json").exists()
    if number != signal.SIGKILL:
        assert process.returncode == 128 + number
        times, _, duration = decode(output / "long/long.mp4")
        assert len(times) == num_frames
        assert duration == pytest.approx(num_frames / 10, abs=0.2)
        json.loads((output / "long/results.json").read_text())
        assert partial_files(output) == []
    resume = ("resume=true", "video.max_frames=8")
    result = succeeded(run("predict", *overrides, *resume, cwd=folder))
    assert len(decode(output / "long/long.mp4")[0]) == 8, result.stdout
    assert partial_files(output) == []

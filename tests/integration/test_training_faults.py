"""Trainings of the program to which something happens: bad data, a full disk, dead workers."""

import contextlib
import csv
import json
import shutil
import signal
import subprocess
import time

import psutil
import pytest

from helpers.interrupted_training import PROGRAMS, at_step, last, train, words
from helpers.run_scripts import found_first, run, started, succeeded
from tagpose.models.checkpoint import read_global_step

FILE, IMAGES = "annotations/person_keypoints_train2017.json", "train2017"


@pytest.fixture
def broken(people, tmp_path):
    """A data set of which one picture and one annotation are broken."""
    root = tmp_path / "broken"
    shutil.copytree(people, root, ignore=shutil.ignore_patterns(".tagpose"))
    content = json.loads((root / FILE).read_text())
    first, second = (row["id"] for row in content["images"][:2])
    next(row for row in content["annotations"] if row["image_id"] == second)["keypoints"] = [1.0]
    (root / FILE).write_text(json.dumps(content))
    picture = root / IMAGES / next(r["file_name"] for r in content["images"] if r["id"] == first)
    picture.write_bytes(picture.read_bytes()[:-300])
    return root, picture


def test_bad_data_stops_a_training_with_its_name_or_is_left_out_and_listed(broken, tmp_path):
    root, picture = broken
    told = ("data.num_workers=1", "trainer.max_epochs=1")
    strict = train(root, tmp_path, "strict", *told)
    assert strict.returncode == 1
    assert "1 numbers in keypoints" in strict.stderr
    assert "Traceback" not in strict.stderr
    lenient = succeeded(train(root, tmp_path, "lenient", *told, "data.on_error=skip"))
    said = lenient.stdout + lenient.stderr
    assert f"{FILE}: skipped 2 of 12 images with errors" in said
    assert "val2017.json: skipped 0 of 6 images with errors" in said
    listing = last(tmp_path, "lenient").with_name(f"skipped_images_{IMAGES}.txt").read_text()
    assert picture.name in listing
    assert len(listing.splitlines()) == 2
    assert read_global_step(last(tmp_path, "lenient")) == 5


def test_an_error_between_batches_ends_the_run_and_its_workers(people, tmp_path):
    # met where the first batch is awaited
    ended = train(people, tmp_path, "a", "data.num_workers=1", "input_size=x")
    assert ended.returncode == 1
    assert "error: " in ended.stderr
    here = [one for one in psutil.process_iter(["cwd"]) if one.info["cwd"] == str(tmp_path)]
    _, alive = psutil.wait_procs(here, timeout=30)
    assert not alive


@pytest.mark.slow
def test_a_worker_that_is_killed_ends_the_run_within_half_a_minute_and_nothing_stays(
    people, tmp_path
):
    log = tmp_path / "log"
    long = ("data.num_workers=2", "trainer.max_epochs=1000")
    process = started("train", *words(people, "a", *long), cwd=tmp_path, log=log, **PROGRAMS)
    while not last(tmp_path, "a").exists() and process.poll() is None:
        time.sleep(0.1)
    family = psutil.Process(process.pid).children(recursive=True)
    workers = [one for one in family if "train.py" in " ".join(one.cmdline())]
    assert len(workers) >= 2
    workers[0].send_signal(signal.SIGKILL)
    assert process.wait(30) == 1
    _, alive = psutil.wait_procs(family, timeout=30)
    assert not alive
    assert "DataLoader worker" in log.read_text()
    assert "is killed by signal" in log.read_text()
    assert read_global_step(last(tmp_path, "a")) > 0


@contextlib.contextmanager
def disk(place, size):
    """A disk of its own."""
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("disks can be mounted by root alone")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.fixture
def small_disk(tmp_path):
    """A disk with room for one checkpoint, and not for a second one beside it."""
    with disk(tmp_path / "disk", "30m") as place:
        yield place


@pytest.fixture
def large_disk(tmp_path):
    with disk(tmp_path / "disk", "300m") as place:
        yield place


def train_on(place, people, folder, *more):
    """Train with the folder of the run on another disk."""
    often = (
        f"hydra.run.dir={place / 'a'}",
        "callbacks.resumable_checkpoint.interval_minutes=0",
        *more,
    )
    told = [word for word in words(people, "a", *often) if not word.startswith("run=")]
    return run("train", *told, cwd=folder, **PROGRAMS)


@pytest.mark.slow
def test_a_disk_that_cannot_be_written_ends_the_run_and_what_was_written_stays_whole(
    people, large_disk, tmp_path
):
    at = at_step("ReadOnly", step=8, place=large_disk)
    result = train_on(large_disk, people, tmp_path, *at)
    assert result.returncode == 1
    assert "last.ckpt cannot be written (Read-only file system)" in result.stderr
    assert "Traceback" not in result.stderr
    assert read_global_step(large_disk / "a/last.ckpt") == 8
    result = train_on(large_disk, people, tmp_path, "resume=auto")
    assert result.returncode == 1
    assert "Read-only file system" in result.stderr
    assert "Traceback" not in result.stderr
    assert read_global_step(large_disk / "a/last.ckpt") == 8


@pytest.mark.slow
def test_a_full_disk_ends_the_run_and_what_was_written_stays_whole(people, small_disk, tmp_path):
    result = train_on(small_disk, people, tmp_path)
    assert result.returncode == 1
    assert "last.ckpt cannot be written (No space left on device), with" in result.stderr
    assert "Traceback" not in result.stderr
    assert read_global_step(small_disk / "a/last.ckpt") == 1
    assert not list((small_disk / "a").glob("*.tmp*"))
    file = small_disk / "a/metrics.csv"
    assert not file.exists() or list(csv.DictReader(file.open()))


@pytest.fixture(scope="module")
def alone(people, tmp_path_factory):
    """Folder of a run where every address that a program asks for is refused, and noted."""
    folder = tmp_path_factory.mktemp("alone")
    asked = folder / "asked"
    (folder / "sitecustomize.py").write_text(
        "import socket\n"
        "def refuse(*told, **more):\n"
        f"    open({str(asked)!r}, 'a').write(f'{{told}}\\n')\n"
        "    raise OSError('there is no network')\n"
        "socket.getaddrinfo = socket.gethostbyname = refuse\n"
    )
    told = [word for word in words(people, "a", "trainer.max_epochs=1") if word != "logger=csv"]
    succeeded(run("train", *told, cwd=folder, **found_first(folder)))  # wandb and all
    return folder


def test_a_training_asks_no_network_for_anything(alone):
    asked = alone / "asked"
    assert not asked.exists(), asked.read_text()


def test_a_run_writes_down_what_it_is_made_of(alone):
    made_of = json.loads((last(alone, "a").parent / "run.json").read_text())
    assert made_of["seed"] == 0
    assert made_of["processes"] == 1
    assert len(made_of[f"annotations.{FILE}.sha256"]) == 64
    assert {"versions.torch", "versions.numpy", "versions.tagpose", "code"} <= set(made_of)
    assert made_of["model.optimizer.lr"] == 8e-3

"""Training runs with bad data, killed workers, failing disks and no network."""

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
from tagpose.training.resume_checkpoint import read_global_step

FILE, IMAGES = "annotations/person_keypoints_train2017.json", "train2017"


@pytest.fixture
def broken(people, tmp_path):
    """Return a dataset with a truncated image and an invalid annotation, and the image."""
    root = tmp_path / "broken"
    shutil.copytree(people, root, ignore=shutil.ignore_patterns(".tagpose"))
    content = json.loads((root / FILE).read_text())
    first, second = (row["id"] for row in content["images"][:2])
    next(row for row in content["annotations"] if row["image_id"] == second)["keypoints"] = [1.0]
    (root / FILE).write_text(json.dumps(content))
    image = root / IMAGES / next(r["file_name"] for r in content["images"] if r["id"] == first)
    image.write_bytes(image.read_bytes()[:-300])
    return root, image


def test_bad_data_is_an_error_or_is_skipped_and_listed(broken, tmp_path):
    root, image = broken
    overrides = ("data.num_workers=1", "trainer.max_epochs=1")
    strict = train(root, tmp_path, "strict", *overrides)
    assert strict.returncode == 1
    assert "1 number in keypoints" in strict.stderr
    assert "Traceback" not in strict.stderr
    lenient = succeeded(train(root, tmp_path, "lenient", *overrides, "data.on_error=skip"))
    output = lenient.stdout + lenient.stderr
    assert f"{FILE}: skipped 2 of 12 images with errors" in output
    assert "val2017.json: skipped 0 of 6 images with errors" in output
    listing = last(tmp_path, "lenient").with_name(f"skipped_images_{IMAGES}.txt").read_text()
    assert image.name in listing
    assert len(listing.splitlines()) == 2
    assert read_global_step(last(tmp_path, "lenient")) == 5


def test_an_error_between_batches_ends_the_run_and_its_workers(people, tmp_path):
    ended = train(people, tmp_path, "a", "data.num_workers=1", *at_step("Fail", step=2))
    assert ended.returncode == 1
    assert "error: " in ended.stderr
    processes = [p for p in psutil.process_iter(["cwd"]) if p.info["cwd"] == str(tmp_path)]
    _, alive = psutil.wait_procs(processes, timeout=30)
    assert not alive


@pytest.mark.slow
def test_a_killed_worker_ends_all_processes_of_the_run_within_30_seconds(people, tmp_path):
    log = tmp_path / "log"
    long = ("data.num_workers=2", "trainer.max_epochs=1000")
    process = started("train", *words(people, "a", *long), cwd=tmp_path, log=log, **PROGRAMS)
    while not last(tmp_path, "a").exists() and process.poll() is None:
        time.sleep(0.1)
    family = psutil.Process(process.pid).children(recursive=True)
    workers = [child for child in family if "train.py" in " ".join(child.cmdline())]
    assert len(workers) >= 2
    workers[0].send_signal(signal.SIGKILL)
    assert process.wait(30) == 1
    _, alive = psutil.wait_procs(family, timeout=30)
    assert not alive
    assert "DataLoader worker" in log.read_text()
    assert "is killed by signal" in log.read_text()
    assert read_global_step(last(tmp_path, "a")) > 0


@contextlib.contextmanager
def mounted_disk(folder, size):
    """Mount a disk of limited size at a folder."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting a disk requires root")
    yield folder
    while folder.is_mount():
        subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def small_disk(tmp_path):
    """Return a disk with space for one checkpoint but not for two."""
    with mounted_disk(tmp_path / "disk", "30m") as folder:
        yield folder


@pytest.fixture
def large_disk(tmp_path):
    """Return a disk with space for many checkpoints."""
    with mounted_disk(tmp_path / "disk", "300m") as folder:
        yield folder


def train_on(disk, people, folder, *more):
    """Train with the folder of the run on another disk, and a checkpoint after each step."""
    every_step = "callbacks.resumable_checkpoint.interval_minutes=0"
    overrides = words(people, "a", f"hydra.run.dir={disk / 'a'}", every_step, *more)
    overrides = [word for word in overrides if not word.startswith("run=")]
    return run("train", *overrides, cwd=folder, **PROGRAMS)


@pytest.mark.slow
def test_a_read_only_disk_ends_the_run_and_leaves_the_checkpoint_intact(
    people, large_disk, tmp_path
):
    at = at_step("ReadOnly", step=8, disk=large_disk)
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
def test_a_full_disk_ends_the_run_and_leaves_the_checkpoint_intact(people, small_disk, tmp_path):
    result = train_on(small_disk, people, tmp_path)
    assert result.returncode == 1
    assert "last.ckpt cannot be written (No space left on device), with" in result.stderr
    assert "Traceback" not in result.stderr
    assert read_global_step(small_disk / "a/last.ckpt") == 1
    assert not list((small_disk / "a").glob("*.tmp*"))
    file = small_disk / "a/metrics.csv"
    assert not file.exists() or list(csv.DictReader(file.open()))


@pytest.fixture(scope="module")
def offline_run(people, tmp_path_factory):
    """Train without a network, with all requested addresses listed in a file."""
    folder = tmp_path_factory.mktemp("offline")
    requests = folder / "requests"
    (folder / "sitecustomize.py").write_text(
        "import socket\n"
        "def refuse(*address, **options):\n"
        f"    open({str(requests)!r}, 'a').write(f'{{address}}\\n')\n"
        "    raise OSError('there is no network')\n"
        "socket.getaddrinfo = socket.gethostbyname = refuse\n"
    )
    overrides = [o for o in words(people, "a", "trainer.max_epochs=1") if o != "logger=csv"]
    succeeded(run("train", *overrides, cwd=folder, **found_first(folder)))  # with wandb
    return folder


def test_training_uses_no_network(offline_run):
    requests = offline_run / "requests"
    assert not requests.exists(), requests.read_text()


def test_the_manifest_of_a_run_lists_what_determines_its_results(offline_run):
    manifest = json.loads((last(offline_run, "a").parent / "run.json").read_text())
    assert manifest["seed"] == 0
    assert manifest["processes"] == 1
    assert len(manifest[f"annotations.{FILE}.sha256"]) == 64
    assert {"versions.torch", "versions.numpy", "versions.tagpose", "code"} <= set(manifest)
    assert manifest["model.optimizer.lr"] == 8e-3

"""Training on several processes: exact resuming, failures of a process, torchrun and SLURM."""

import csv
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import psutil
import pytest
import torch
from hydra.utils import instantiate

from helpers.interrupted_training import (
    PROGRAMS,
    assert_same,
    at_step,
    last,
    signal_at,
    train,
    words,
)
from helpers.run_scripts import PLAIN, command, started, succeeded
from helpers.short_training import configuration
from tagpose.locks import lock_folder
from tagpose.models.checkpoint import read_tensors
from tagpose.training.resume_checkpoint import read_global_step
from tagpose.training.trainer import make_trainer

TWO = ("trainer=ddp", "trainer.devices=2", "data.batch_size=1")

# otherwise processes that torchrun restarts may get the addresses of the dead ones from its store
# (github.com/pytorch/pytorch/issues/135712)
OWN_STORE = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}

pytestmark = pytest.mark.slow


def free_port():
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return str(opened.getsockname()[1])


@pytest.fixture(scope="module")
def uninterrupted(people, tmp_path_factory):
    """Return the last checkpoint of an uninterrupted run of two processes."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    succeeded(train(people, folder, "uninterrupted", *TWO))
    return last(folder, "uninterrupted")


@pytest.mark.parametrize("workers", [0, 2])
def test_two_processes_stop_together_and_resume_exactly(people, uninterrupted, tmp_path, workers):
    overrides = (*TWO, f"data.num_workers={workers}")
    stopped = train(people, tmp_path, "a", *overrides, *signal_at(8, signal.SIGTERM, rank=1))
    assert stopped.returncode == 143, stopped.stderr
    assert read_global_step(last(tmp_path, "a")) == 8
    succeeded(train(people, tmp_path, "a", *overrides, "resume=auto"))
    assert_same(last(tmp_path, "a"), uninterrupted)


def test_warnings_about_the_data_are_printed_once_and_none_about_reduced_values(people, tmp_path):
    copy = shutil.copytree(people, tmp_path / "copy")
    file = copy / "annotations/person_keypoints_train2017.json"
    content = json.loads(file.read_text())
    for row in content["annotations"]:
        del row["iscrowd"]
    file.write_text(json.dumps(content))
    result = succeeded(train(copy, tmp_path, "a", *TWO, "trainer.max_epochs=1"))
    assert result.stderr.count("annotations without iscrowd") == 1
    assert "sync_dist" not in result.stdout + result.stderr  # Lightning's, about `log`


def test_one_two_and_four_processes_train_the_same_weights(people, tmp_path):
    plain = (
        "~callbacks.ema", "~optimization.optimizer.fused", "data.batch_size=1",
        "optimization.optimizer._target_=torch.optim.SGD", "optimization.optimizer.lr=1.0e-3",
        "trainer.max_epochs=2",
    )  # fmt: skip
    ends = []
    for processes, batches in ((1, 4), (2, 2), (4, 1)):
        ddp = ("trainer=ddp", f"trainer.devices={processes}") if processes > 1 else ()
        accumulate = f"trainer.accumulate_grad_batches={batches}"
        succeeded(train(people, tmp_path, f"{processes}", *ddp, *plain, accumulate))
        content = read_tensors(last(tmp_path, f"{processes}"))
        assert content["global_step"] == 2 * 3
        ends.append(content["state_dict"])
    for end in ends[1:]:
        for name, weight in ends[0].items():
            if "running" not in name and "tracked" not in name:  # each rank has its own statistics
                torch.testing.assert_close(end[name], weight, rtol=1e-4, atol=1e-6)


BROADCASTING = "trainer.strategy={_target_: lightning.pytorch.strategies.DDPStrategy}"


@pytest.mark.parametrize(("overrides", "broadcasts"), [((), False), ((BROADCASTING,), True)])
def test_ddp_does_not_broadcast_buffers_by_default_and_results_do_not_depend_on_it(
    people, uninterrupted, tmp_path, overrides, broadcasts
):
    file = tmp_path / "broadcasts.json"
    callback = ("+callbacks.at._target_=at_step.Broadcasts", f"+callbacks.at.file={file}")
    succeeded(train(people, tmp_path, "a", *TWO, *callback, *overrides))
    assert json.loads(file.read_text()) is broadcasts
    assert_same(last(tmp_path, "a"), uninterrupted)


@pytest.mark.parametrize("ema", [(), ("~callbacks.ema",)])
def test_two_processes_validate_the_weights_and_buffers_that_they_save(people, tmp_path, ema):
    short = ("trainer.max_epochs=2", "callbacks.resumable_checkpoint.interval_minutes=0", *ema)
    succeeded(train(people, tmp_path, "a", *TWO, *short))
    best = last(tmp_path, "a").with_name("best.ckpt")
    with best.with_name("metrics.csv").open(newline="") as stream:
        (logged,) = [row for row in csv.DictReader(stream) if row["val/loss/total"]]
    cfg = configuration(people, tmp_path)
    module = instantiate(cfg.model, _convert_="object")
    module.load_state_dict(read_tensors(best)["state_dict"])
    trainer = make_trainer(
        accelerator="cpu", precision="32-true", logger=False, enable_progress_bar=False,
        callbacks=[instantiate(cfg.callbacks.part_ap)],
    )  # fmt: skip
    (scores,) = trainer.validate(module, instantiate(cfg.data, _convert_="object"), verbose=False)
    for name, score in scores.items():
        assert float(logged[name]) == pytest.approx(score, rel=1e-5), name


@pytest.mark.parametrize("rank", [0, 1])
def test_all_processes_end_within_a_minute_after_one_dies(people, tmp_path, rank):
    killed = (*TWO, "trainer.max_epochs=1000", *signal_at(4, signal.SIGKILL, rank=rank))
    log = tmp_path / "log"
    process = started("train", *words(people, "a", *killed), cwd=tmp_path, log=log, **PROGRAMS)
    family = set()
    while process.poll() is None:
        family |= set(psutil.Process(process.pid).children(recursive=True))
        time.sleep(0.1)
    _, alive = psutil.wait_procs(family, timeout=60)
    for survivor in alive:
        survivor.kill()
    assert not alive, log.read_text()[-2000:]
    assert process.returncode != 0


def test_all_ranks_skip_non_finite_steps_of_one_rank_and_stop_after_too_many(people, tmp_path):
    def train_with_nan(name, steps, *more):
        at = at_step("NotFinite", step=8, steps=steps, rank=1)
        return train(people, tmp_path, name, *TWO, "~callbacks.ema", *at, *more)

    few = succeeded(train_with_nan("a", 2))
    assert "Non-finite loss or gradient at step 8 (images" in few.stderr + few.stdout
    content = read_tensors(last(tmp_path, "a"))
    assert content["global_step"] == 4 * 6
    moments = content["optimizer_states"][0]["state"].values()
    assert {int(state["step"]) for state in moments} == {4 * 6 - 2}
    files = sorted(file.name for file in last(tmp_path, "a").parent.glob("skipped_batches/*"))
    assert files == [f"step_000000{step}_rank_{rank}.pt" for step in (8, 9) for rank in (0, 1)]

    many = train_with_nan(
        "b",
        20,
        "callbacks.nan_guard.max_skipped=2",
        "callbacks.resumable_checkpoint.interval_minutes=0",
    )
    assert many.returncode == 1
    assert "Non-finite loss or gradient at step 10 (images" in many.stderr
    assert "3 of the last 11 steps" in many.stderr
    assert read_global_step(last(tmp_path, "b")) == 10


def test_a_step_that_is_non_finite_on_both_ranks_at_once_is_skipped(people, tmp_path):
    at = at_step("NotFinite", step=8, steps=1, rank=-1)
    ended = succeeded(train(people, tmp_path, "a", *TWO, "~callbacks.ema", *at))
    assert "Non-finite loss or gradient at step 8 (images" in ended.stderr + ended.stdout
    content = read_tensors(last(tmp_path, "a"))
    moments = content["optimizer_states"][0]["state"].values()
    assert {int(state["step"]) for state in moments} == {4 * 6 - 1}
    files = sorted(file.name for file in last(tmp_path, "a").parent.glob("skipped_batches/*"))
    assert files == [f"step_0000008_rank_{rank}.pt" for rank in (0, 1)]


def train_with_one_restart(people, tmp_path, *overrides):
    """Train on two processes of torchrun, which restarts them once, and return its end."""
    saves = ("resume=auto", "callbacks.resumable_checkpoint.interval_minutes=0")
    torchrun = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
        "--max-restarts=1", *command("train", *words(people, "a", *TWO, *saves, *overrides))[1:],
    ]  # fmt: skip
    return subprocess.run(
        torchrun, cwd=tmp_path, env=os.environ | PLAIN | PROGRAMS | OWN_STORE, timeout=300,
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_torchrun_gives_up_after_its_restarts_and_keeps_the_last_checkpoint(people, tmp_path):
    kill = signal_at(8, signal.SIGKILL, rank=1)  # again after each restart
    ended = train_with_one_restart(people, tmp_path, *kill)
    assert ended.returncode != 0
    assert read_global_step(last(tmp_path, "a")) in (7, 8)
    with lock_folder(last(tmp_path, "a").parent):  # no process holds it
        pass


def test_one_of_two_ranks_makes_the_clean_copy_and_the_other_one_waits_for_it(people, tmp_path):
    root = tmp_path / "data"
    shutil.copytree(people, root, ignore=shutil.ignore_patterns(".tagpose"))
    file = root / "annotations/person_keypoints_train2017.json"
    content = json.loads(file.read_text())
    image_id = content["images"][0]["id"]
    next(r for r in content["annotations"] if r["image_id"] == image_id)["keypoints"] = [1.0]
    file.write_text(json.dumps(content))
    short = ("trainer.max_epochs=1", "data.on_error=skip")
    port, tasks = free_port(), []
    # each rank is started separately, so that each has a log
    for rank in range(2):
        variables = {
            "RANK": f"{rank}", "LOCAL_RANK": f"{rank}", "WORLD_SIZE": "2", "GROUP_RANK": "0",
            "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
            "TORCHELASTIC_RUN_ID": "a",
        }  # fmt: skip
        log = tmp_path / f"log{rank}"
        overrides = words(root, "a", *TWO, *short)
        tasks.append(started("train", *overrides, cwd=tmp_path, log=log, **variables))
    assert [task.wait(300) for task in tasks] == [0, 0], (tmp_path / "log0").read_text()
    listing = last(tmp_path, "a").with_name("skipped_images_train2017.txt").read_text()
    assert len(listing.splitlines()) == 1
    assert len(list(root.rglob("*-clean*/**/counts.json"))) == 2  # train and val, once each
    assert read_global_step(last(tmp_path, "a")) == 5  # 11 images, 2 in each step


def test_two_processes_stopped_in_a_validation_exit_and_resume_exactly(
    people, uninterrupted, tmp_path
):
    stop = signal_at(12, signal.SIGTERM, kind="SignalInValidation")
    stopped = train(people, tmp_path, "a", *TWO, *stop)
    assert stopped.returncode == 143, stopped.stderr
    succeeded(train(people, tmp_path, "a", *TWO, "resume=auto"))
    assert_same(last(tmp_path, "a"), uninterrupted)


def test_torchrun_trains_on_two_machines(people, uninterrupted, tmp_path):
    port = free_port()
    nodes = []
    for node in range(2):
        torchrun = [
            sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1",
            f"--node-rank={node}", "--master-addr=127.0.0.1", f"--master-port={port}",
            *command("train", *words(people, "a", *TWO))[1:],
            "trainer.num_nodes=2", "trainer.devices=1",
        ]  # fmt: skip
        nodes.append(subprocess.Popen(torchrun, cwd=tmp_path, env=os.environ | PLAIN))
    assert [node.wait(300) for node in nodes] == [0, 0]
    assert_same(last(tmp_path, "a"), uninterrupted)


def test_torchrun_restarts_all_processes_after_one_dies_and_they_resume(
    people, uninterrupted, tmp_path
):
    kill = signal_at(8, signal.SIGKILL, rank=1, kind="SignalAtFirst")
    ended = train_with_one_restart(people, tmp_path, *kill)
    succeeded(ended)
    assert "Resuming from" in ended.stdout
    assert_same(last(tmp_path, "a"), uninterrupted)


def test_a_requeued_slurm_job_on_two_machines_resumes_exactly(people, uninterrupted, tmp_path):
    port = free_port()

    def job(*more):
        tasks = []
        for task in range(2):
            environment = os.environ | PLAIN | PROGRAMS | slurm_variables(task, port)
            program = command(
                "train",
                *words(people, "4711", *TWO),
                "trainer.num_nodes=2",
                "trainer.devices=1",
                "resume=auto",
                *more,
            )
            tasks.append(subprocess.Popen(program, cwd=tmp_path, env=environment))
        return [task.wait(300) for task in tasks]

    assert job(*signal_at(8, signal.SIGUSR1)) == [138, 138]
    assert job() == [0, 0]
    assert_same(last(tmp_path, "4711"), uninterrupted)


def slurm_variables(task, port):
    """Return the environment variables of a SLURM task, one of two on two machines."""
    return {
        "SLURM_JOB_ID": "4711", "SLURM_JOB_NAME": "pose", "SLURM_NTASKS": "2",
        "SLURM_NTASKS_PER_NODE": "1", "SLURM_NNODES": "2", "SLURM_PROCID": f"{task}",
        "SLURM_LOCALID": "0", "SLURM_NODEID": f"{task}", "MASTER_PORT": port,
        "SLURM_JOB_NODELIST": "127.0.0.1", "SLURM_NODELIST": "127.0.0.1",
    }  # fmt: skip


def start_machines(people, folder, *, slurm):
    """Start a training run on two machines, either by SLURM or manually."""
    port, tasks = free_port(), []
    overrides = words(people, "a", *TWO, "trainer.num_nodes=2", "trainer.devices=1")
    for task in range(2):
        manual = {"NODE_RANK": f"{task}", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        variables = slurm_variables(task, port) if slurm else manual
        log = folder / f"log{task}"
        tasks.append(started("train", *overrides, cwd=folder, log=log, **variables))
    return tasks


@pytest.mark.parametrize("slurm", [True, False])
def test_all_processes_end_if_the_first_one_cannot_lock_the_folder(
    people, uninterrupted, tmp_path, slurm
):
    folder = last(tmp_path, "a").parent
    with lock_folder(folder):
        ends = [task.wait(240) for task in start_machines(people, tmp_path, slurm=slurm)]
        assert ends == [1, 1]
        assert sorted(file.name for file in folder.iterdir()) == [".lock"]
    for task in range(2):
        log = tmp_path / f"log{task}"
        assert f"is in use by process {os.getpid()} on {socket.gethostname()}" in log.read_text()
        assert "Traceback" not in log.read_text()
    assert [task.wait(240) for task in start_machines(people, tmp_path, slurm=slurm)] == [0, 0]
    assert_same(last(tmp_path, "a"), uninterrupted)


def test_two_processes_lock_their_folder_once_and_unlock_it_when_killed(
    people, uninterrupted, tmp_path
):
    long = words(people, "a", *TWO, "resume=auto", "trainer.max_epochs=1000")
    process = started("train", *long, cwd=tmp_path, log=tmp_path / "log")
    while not last(tmp_path, "a").exists():
        assert process.poll() is None, (tmp_path / "log").read_text()
        time.sleep(0.1)
    again = train(people, tmp_path, "a", "resume=auto")
    assert again.returncode == 1
    assert f"in use by process {process.pid} on" in again.stderr
    os.kill(process.pid, signal.SIGKILL)  # the other process ends, too
    process.wait()
    with lock_folder(last(tmp_path, "a").parent):
        pass


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1", "SIGINT", "SIGHUP"])
def test_every_process_ends_after_a_signal_to_the_group(people, tmp_path, workers, name):
    log, number = tmp_path / "log", signal.Signals[name]
    long = (*TWO, f"data.num_workers={workers}", "trainer.max_epochs=1000")
    process = started("train", *words(people, "a", *long), cwd=tmp_path, log=log)
    while not last(tmp_path, "a").exists() and process.poll() is None:
        time.sleep(0.1)
    os.killpg(process.pid, number)
    assert process.wait(60) == 128 + number, log.read_text()[-2000:]
    assert read_global_step(last(tmp_path, "a")) > 0

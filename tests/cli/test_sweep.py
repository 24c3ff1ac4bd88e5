"""Sweeps: overrides of trials, the table of results, cached outputs, and files of conf/sweep."""

import csv
import json
import math
import time
from pathlib import Path

import psutil
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.utils import instantiate
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from torch.utils.data import default_collate

from helpers.run_scripts import ROOT, run, started, succeeded
from tagpose.cli.main import PROGRAMS
from tagpose.codec.encoder import HeatmapEncoder
from tagpose.data.annotations import read_annotations
from tagpose.data.datasets import ValDataset
from tagpose.evaluation.cached_outputs import (
    CachedOutput,
    CacheManifest,
    read_cached_output,
    read_manifest,
    write_cached_output,
    write_manifest,
)
from tagpose.inference.oracle import build_oracle_maps
from tagpose.locks import lock_folder
from tagpose.models.checkpoint import write_checkpoint
from tagpose.models.network import PoseNetwork
from tagpose.skeletons.coco import BODY
from tagpose.structures import KeypointMaps
from tagpose.sweeps.search_space import list_overrides, parse_sweep
from tagpose.sweeps.trials import (
    claim_trial,
    make_trial,
    merge_trials,
    read_trials,
    sort_trials,
    write_trials,
)
from tagpose.training.history import best_logged_value

CONF = ROOT / "conf"
SWEEPS = sorted(file.stem for file in (CONF / "sweep").glob("*.yaml"))
RANDOM = {"method": "random", "run_cap": 1}


def sweep(**changes):
    """Return the content of a small sweep file, with changes."""
    grid = {"a.b": {"values": [1, 2.5e-4]}, "c": {"values": [True, None, "x"]}, "d": {"value": 3}}
    content = {"program": "p.py", "method": "grid", "metric": {"name": "m", "goal": "maximize"}}
    return content | {"parameters": grid} | changes


def between(distribution, low, high):
    return {"distribution": distribution, "min": low, "max": high}


def random_sweep(runs):
    """Return a random sweep."""
    parameters = {
        "low": between("log_uniform_values", 1e-4, 1e-1),
        "integer": between("int_uniform", 2, 4),
        "flat": between("uniform", -1.0, 1.0),
        "choice": {"values": ["x", "y"]},
    }
    return parse_sweep(sweep(method="random", run_cap=runs, parameters=parameters))


def test_a_grid_contains_every_combination_once():
    overrides = list_overrides(parse_sweep(sweep()))
    assert len({tuple(trial.items()) for trial in overrides}) == len(overrides) == 6
    assert overrides[0] == {"a.b": "1", "c": "true", "d": "3"}
    assert overrides[-1] == {"a.b": "0.00025", "c": "x", "d": "3"}


@given(st.integers(1, 30), st.integers(0, 30))
def test_samples_are_in_range_and_a_longer_sweep_starts_with_a_shorter_one(runs, more):
    overrides = list_overrides(random_sweep(runs))
    assert len(overrides) == runs
    assert list_overrides(random_sweep(runs + more))[:runs] == overrides
    for trial in overrides:
        assert 1e-4 <= float(trial["low"]) <= 1e-1
        assert trial["integer"] in "234"
        assert -1 <= float(trial["flat"]) <= 1
        assert trial["choice"] in "xy"


def test_samples_differ_and_cover_the_range():
    overrides = list_overrides(random_sweep(200))
    powers = [math.log10(float(trial["low"])) for trial in overrides]
    assert len(set(powers)) > 180
    assert min(powers) < -3.9
    assert max(powers) > -1.1
    assert {trial["integer"] for trial in overrides} == {"2", "3", "4"}


@pytest.mark.parametrize("value", [True, None, 2, 1e-7, 2.5e-4, [1, 0.5], "exp", "runs/a/b.ckpt"])
def test_hydra_parses_the_original_value(value):
    (overrides,) = list_overrides(parse_sweep(sweep(parameters={"a.b": {"value": value}})))
    (override,) = OverridesParser.create().parse_overrides([f"a.b={overrides['a.b']}"])
    assert override.value() == value


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "bayes"}, "unknown method 'bayes'"),
        ({"metric": {}, "program": None, "parameters": {}}, "no program, metric, parameters"),
        ({"method": "random"}, "number of runs must be an integer"),
        ({"run_cap": "many"}, "number of runs must be an integer"),
        ({"parameters": {"a": [1, 2]}}, r"parameter a is \[1, 2\]; write it as a: {values: "),
        ({"parameters": {"a": 3}}, "parameter a is 3; write it as a: {value: 3}"),
        ({"parameters": {"a": {"values": 3}}}, "values: 3, which is not a list; use value: 3"),
        ({"parameters": ["a"]}, "parameters is .*; use a mapping of options"),
        ({"metric": "val/ap/body"}, "metric is 'val/ap/body'; use a mapping with `name`"),
        ({"metric": {"name": "m", "gaol": "maximize"}}, "unknown key metric.gaol"),
        ({"metric": {"name": "m", "goal": "max"}}, "metric.goal is 'max'; use minimize or"),
        ({"metod": "grid"}, "unknown key metod in the sweep; did you mean method?"),
        ({"early_terminate": {"type": "hyperband"}}, "early_terminate is not supported; remove it"),
        (
            {"method": "random", "parameters": {"a": between("uniform", "1e-3", 1)}},
            "min: '1e-3', which is not a finite number",
        ),
        ({"parameters": {"a": {"min": 1, "max": 2}}}, "parameter a is .* use `value`, "),
        ({"parameters": {"a": {"distribution": "beta", "min": 1, "max": 2}}}, "parameter a is"),
        (
            {"parameters": {"a": {"distribution": "uniform", "min": 1, "max": 2}}},
            "parameter a has a distribution, but a grid needs",
        ),
        (
            {
                "method": "random",
                "run_cap": 1,
                "parameters": {"a": {"distribution": "log_uniform_values", "min": 0, "max": 2}},
            },
            "parameter a has the empty range from 0 to 2",
        ),
    ],
)
def test_unsupported_sweeps_are_errors(changes, message):
    with pytest.raises(ValueError, match=message):
        parse_sweep(sweep(**changes))


def test_trials_are_read_back_and_failed_ones_are_not_done(tmp_path):
    plan = parse_sweep(sweep())
    overrides = list_overrides(plan)
    trials = [
        make_trial(0, overrides[0], 0, 0.25, 1.0),
        make_trial(1, overrides[1], 0, 0.5, 2.0),
        make_trial(2, overrides[2], 1, 0.9, 3.0),
        make_trial(3, overrides[3], 0, math.nan, 4.0),
    ]
    assert [trial.number for trial in sort_trials(trials, maximize=True)] == [1, 0, 2, 3]
    assert [trial.number for trial in sort_trials(trials, maximize=False)] == [0, 1, 2, 3]
    write_trials(tmp_path / "runs.csv", trials, plan)
    back = read_trials(tmp_path / "runs.csv", overrides)
    assert back[:2] == trials[:2]
    assert [trial.state for trial in back] == [trial.state for trial in trials]
    with pytest.raises(ValueError, match="belongs to another sweep"):
        read_trials(tmp_path / "runs.csv", overrides[1:])
    assert read_trials(tmp_path / "none.csv", overrides) == []


def test_processes_that_share_a_sweep_merge_their_trials(tmp_path):
    plan = parse_sweep(sweep())
    overrides = list_overrides(plan)
    assert merge_trials(tmp_path, [], plan) == []
    merge_trials(tmp_path, [make_trial(3, overrides[3], 1, math.nan, 1.0)], plan)
    merge_trials(tmp_path, [make_trial(1, overrides[1], 0, 0.5, 1.0)], plan)
    merged = merge_trials(
        tmp_path, [make_trial(3, overrides[3], 0, 0.7, 2.0)], plan
    )  # a second attempt
    assert [(trial.number, trial.value) for trial in merged] == [(1, 0.5), (3, 0.7)]
    assert merged == read_trials(tmp_path / "runs.csv", overrides)


def test_a_trial_is_free_if_no_process_runs_it_and_it_is_not_done(tmp_path):
    plan = parse_sweep(sweep())
    overrides = list_overrides(plan)
    (tmp_path / "0").mkdir()
    (tmp_path / "0/left").touch()
    with claim_trial(tmp_path, 0, plan) as trial_folder:
        assert not trial_folder.exists()  # files of an interrupted trial are removed
        with claim_trial(tmp_path, 0, plan) as again, claim_trial(tmp_path, 1, plan) as other:
            assert again is None
            assert other == tmp_path / "1"
    # the training of a killed sweep, or one that was resumed separately
    with lock_folder(tmp_path / "2"), claim_trial(tmp_path, 2, plan) as trial_folder:
        assert trial_folder is None
        assert (tmp_path / "2").exists()
    merge_trials(tmp_path, [make_trial(2, overrides[2], 0, 0.5, 1.0)], plan)
    with claim_trial(tmp_path, 2, plan) as trial_folder:
        assert trial_folder is None
        assert (tmp_path / "2").exists()


def test_the_best_value_of_a_trial_ignores_non_finite_numbers(tmp_path):
    assert math.isnan(best_logged_value(tmp_path, "m", maximize=True))
    (tmp_path / "metrics.csv").write_text("step,m,n\n0,1,\n1,nan,\n2,3,5\n3,2,inf\n")
    assert best_logged_value(tmp_path, "m", maximize=True) == 3
    assert best_logged_value(tmp_path, "m", maximize=False) == 1
    assert best_logged_value(tmp_path, "n", maximize=True) == 5


def listed_values(choice):
    """Return the values of a parameter, or the ends of its range."""
    return choice.get("values") or [choice[end] for end in ("value", "min", "max") if end in choice]


@pytest.mark.parametrize("name", SWEEPS)
def test_every_value_of_every_sweep_can_be_built(name, tmp_path):
    content = OmegaConf.to_container(OmegaConf.load(CONF / "sweep" / f"{name}.yaml"))
    plan = parse_sweep(content)
    assert plan.program in PROGRAMS
    fixed = {n: c["value"] for n, c in plan.parameters.items() if "value" in c}
    for varied in plan.varied_parameters:
        for value in listed_values(plan.parameters[varied]):
            parameters = {n: {"value": v} for n, v in (fixed | {varied: value}).items()}
            (overrides,) = list_overrides(plan._replace(parameters=parameters, method="grid"))
            build(
                plan.program,
                [f"{n}={v}" for n, v in overrides.items()],
                tmp_path,
                plan.metric,
            )


def build(root, overrides, folder, metric):
    """Compose a configuration and instantiate the objects that a sweep may change."""
    small = ["model.network.architecture=hrnet_w18_small", "model.network.pretrained=false"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        words = [*overrides, *(small if root == "train" else ())]
        cfg = compose(root, words, return_hydra_config=True)
        cfg.hydra.runtime.output_dir = str(folder)
        HydraConfig.instance().set_config(cfg)
        if root == "tune":
            instantiate(cfg.predictor.decoder)(BODY)
            return
        model = instantiate(cfg.model, _convert_="object")
        model.optimizer(model.parameters())
        instantiate(cfg.callbacks, _convert_="object")
        instantiate(cfg.trainer, logger=False, _convert_="object")
        assert cfg.monitor == metric


def test_wandb_runs_the_same_command():
    logger = OmegaConf.load(CONF / "logger/wandb.yaml")
    for name in SWEEPS:
        content = OmegaConf.to_container(OmegaConf.load(CONF / "sweep" / f"{name}.yaml"))
        assert content["project"] == logger.wandb.project
        command = content["command"]
        assert command[:5] == ["${env}", ".venv/bin/python", "-m", "tagpose", "${program}"]
        assert command[-1] == "${args_no_hyphens}"
        assert "logger.wandb.online=true" in command
        # a preempted run keeps its id, which names its folder, and resumes
        resumes = {"run=${oc.env:WANDB_RUN_ID}", "resume=auto"} <= set(command)
        assert resumes == (content["program"] == "train")
        # None and 1e-3, which PyYAML reads as a string, are not passed on correctly
        for choice in content["parameters"].values():
            assert None not in listed_values(choice)
            for word in listed_values(choice):
                assert not (isinstance(word, str) and word[0].isdigit())


def test_cached_outputs_have_half_precision_and_must_be_finite(tmp_path):
    keypoint_maps = KeypointMaps(torch.randn(1, 17, 6, 8), torch.randn(1, 2, 17, 6, 8))
    saved = CachedOutput(7, keypoint_maps, torch.randn(1, 2, 3, dtype=torch.float64))
    write_cached_output(tmp_path, saved)
    back = read_cached_output(tmp_path, 7)
    assert torch.equal(back.affine, saved.affine)
    for read, written in zip(back.keypoint_maps, keypoint_maps, strict=True):
        assert torch.equal(read, written.half())
    with pytest.raises(ValueError, match="image 8: the network outputs contain NaN or values"):
        write_cached_output(
            tmp_path,
            saved._replace(
                image_id=8, keypoint_maps=KeypointMaps(*(1e6 * f for f in keypoint_maps))
            ),
        )
    with pytest.raises(ValueError, match="000000000008"):
        read_cached_output(tmp_path, 8)
    with pytest.raises(FileNotFoundError, match=r"manifest\.json is missing"):
        read_manifest(tmp_path)
    for text in ("{", "[]", '{"skeleton": {"name": "body"}}'):
        (tmp_path / "manifest.json").write_text(text)
        with pytest.raises(ValueError, match="is not a manifest of cached outputs"):
            read_manifest(tmp_path)


@pytest.fixture(scope="module")
def oracle_outputs(people, tmp_path_factory):
    """Return a folder of cached outputs that are encoded ground truth."""
    folder = tmp_path_factory.mktemp("outputs")
    ground_truth = people / "annotations/person_keypoints_val2017.json"
    dataset = ValDataset(
        read_annotations(ground_truth, people / "val2017", BODY, only_annotated=False), 192
    )
    samples = [dataset[i] for i in range(len(dataset))]
    for sample in samples:
        keypoint_maps = build_oracle_maps(default_collate([sample]), [HeatmapEncoder()])
        write_cached_output(
            folder, CachedOutput(int(sample.image_id), keypoint_maps, sample.affine[None])
        )
    ids = tuple(int(sample.image_id) for sample in samples)
    provenance = {"checkpoint": {"file": "runs/best.ckpt"}, "overrides": ["data=synthetic_body"]}
    write_manifest(folder, CacheManifest("drawn", BODY, ground_truth, ids, provenance))
    return folder


def test_the_manifest_of_cached_outputs_is_read_back(oracle_outputs):
    manifest = read_manifest(oracle_outputs)
    assert manifest.skeleton == BODY
    assert manifest.title == "drawn"
    assert len(manifest.image_ids) == 6


TWO = """
program: tune
method: grid
metric: {name: val/ap/body, goal: maximize}
parameters:
  cached_outputs: {value: OUTPUTS}
  predictor.decoder.min_score: {values: [-1.0, 0.1]}
"""


@pytest.mark.slow
def test_a_sweep_continues_after_a_failed_trial_and_resumes(oracle_outputs, tmp_path):
    file = tmp_path / "two.yaml"
    file.write_text(TWO.replace("OUTPUTS", str(oracle_outputs)))
    words = (f"sweep={file}", "folder=out")
    first = run("sweep", *words, cwd=tmp_path)
    assert first.returncode == 1
    assert "min_score=-1.0 is invalid; use a number of 0 or more" in first.stderr
    assert "failed, exit code 1" in first.stdout
    expected = "checkpoint=runs/best.ckpt data=synthetic_body predictor.decoder.min_score=0.1"
    assert first.stdout.splitlines()[-1] == f"best: tagpose evaluate {expected}"
    with (tmp_path / "out/runs.csv").open() as lines:
        failed, done = csv.DictReader(lines)
    assert failed["val/ap/body"] == "nan"
    assert float(done["val/ap/body"]) > 0.9
    parts = json.loads((tmp_path / "out/1/metrics.json").read_text())["parts"]
    assert parts["body"]["ap"] == pytest.approx(float(done["val/ap/body"]))
    again = run("sweep", *words, cwd=tmp_path)
    assert "2 runs, 1 done" in again.stdout
    assert "metrics: " not in again.stdout  # the finished trial does not run again


def test_options_that_were_fixed_by_the_cache_cannot_be_overridden(oracle_outputs, tmp_path):
    result = run(
        "tune", f"cached_outputs={oracle_outputs}", "predictor.flip_test=false", cwd=tmp_path
    )
    assert result.returncode == 1
    assert "predictor.flip_test=false was fixed when the outputs were cached" in result.stderr


def test_outputs_are_cached_once_and_tuned_without_the_network(people, tmp_path):
    write_checkpoint(tmp_path / "x.ckpt", PoseNetwork("hrnet_w18_small", BODY, input_size=64))
    words = (
        "checkpoint=x.ckpt",
        "data=synthetic_body",
        f"data.root={people}",
        "data.num_workers=0",
    )
    succeeded(run("cache_outputs", *words, "num_images=3", "output=outputs", cwd=tmp_path))
    manifest = read_manifest(tmp_path / "outputs")
    assert len(manifest.image_ids) == 3
    assert manifest.provenance["test"]["input_size"] == 64
    assert manifest.provenance["overrides"] == list(words[1:])
    result = succeeded(run("tune", "cached_outputs=outputs", "hydra.run.dir=tuned", cwd=tmp_path))
    assert "synthetic data: 3 images" in result.stdout
    assert (tmp_path / "tuned/metrics.csv").exists()
    twice = run("cache_outputs", *words, "output=outputs", cwd=tmp_path)
    assert "has cached outputs already" in twice.stderr


WAITING = """
program: PROGRAM
method: grid
metric: {name: val/ap/body, goal: maximize}
parameters:
  wait: {value: 4.0}
  x: {values: [0, 1, 2, 3, 4, 5]}
"""


def is_running(file):
    """Return whether the process whose id is in a file is running."""
    number = file.read_text()
    return number and psutil.pid_exists(int(number))


@pytest.mark.slow
def test_processes_that_share_a_sweep_run_each_trial_once_even_if_one_is_killed(tmp_path):
    file = tmp_path / "sweep.yaml"
    file.write_text(WAITING.replace("PROGRAM", str(ROOT / "tests/programs/trial.py")))
    words = (f"sweep={file}", "folder=out")
    out, logs = tmp_path / "out", [tmp_path / f"{number}" for number in range(3)]
    processes = [started("sweep", *words, cwd=tmp_path, log=log) for log in logs]
    sweeps = {process.pid: process for process in processes}
    while not all("6 runs" in log.read_text() for log in logs):
        time.sleep(0.1)
    # of three running trials, the two other sweeps are past the first one and do not return to it
    while len(running := sorted(filter(is_running, out.glob("*/process")))) < len(logs):
        time.sleep(0.1)
    # the program of a killed sweep keeps running until it ends
    first = running[0]
    orphan = psutil.Process(int(first.read_text()))
    killed = sweeps.pop(orphan.ppid())
    killed.kill()
    killed.wait()
    inside = first.stat().st_ino
    assert [process.wait(120) for process in sweeps.values()] == [0, 0]
    begun = (out / "started.txt").read_text().split()
    assert sorted(begun) == list("012345")
    assert first.stat().st_ino == inside  # it was not removed
    with (out / "runs.csv").open() as lines:
        rows = {row["run"]: row for row in csv.DictReader(lines)}
    lost = first.parent.name
    assert set(rows) == set("012345") - {lost}
    assert {row["val/ap/body"] for row in rows.values()} == {f"{n}.0" for n in rows}
    assert not [log for log in logs if "Traceback" in log.read_text()]
    psutil.wait_procs([orphan], timeout=30)
    again = succeeded(run("sweep", *words, cwd=tmp_path))
    assert "6 runs, 5 done" in again.stdout
    assert sorted((out / "started.txt").read_text().split()) == sorted([*"012345", lost])


@pytest.mark.slow
def test_a_sweep_of_trainings_prints_the_command_for_the_best_trial(people, tmp_path):
    words = (
        "count=2", "folder=out", f"data.root={people}", "data.batch_size=4", "data.num_workers=0",
        "input_size=64", "trainer.accelerator=cpu",
    )  # fmt: skip
    result = succeeded(run("sweep", *words, cwd=tmp_path))
    assert "best: tagpose train experiment=demo_pretrain" in result.stdout
    assert "optimization.optimizer.lr=0.004" in result.stdout
    for number in "01":
        assert list(Path(tmp_path / "out" / number / "wandb").glob("offline-run-*"))

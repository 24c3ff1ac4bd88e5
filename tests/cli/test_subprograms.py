"""Subprograms: each runs once per folder, and only with the same options."""

import shutil

import pytest

from helpers.run_scripts import run
from tagpose.cli.subprograms import Step, is_done, run_once


def test_a_program_that_succeeded_is_not_run_again(tmp_path, capfd):
    folder = tmp_path / "out"
    words = ("train=1", "val=1", "image_size=64")
    step = Step(folder, "data synthesize", (*words, f"root={folder}"))
    first = run_once(step)
    assert first.seconds > 0
    assert first.memory > 0
    assert is_done(folder)
    shutil.rmtree(folder / "annotations")
    assert run_once(step) == first
    assert not (folder / "annotations").exists()
    assert f"{folder} is done and is skipped" in capfd.readouterr().out
    with pytest.raises(ValueError, match=r"with other options \(train=1, train=2\); repeat the"):
        run_once(step._replace(overrides=("train=2", *step.overrides[1:])))


def test_a_program_that_failed_runs_again(tmp_path, capfd):
    words = ("results=none.json", "ground_truth=none.json")
    for _ in range(2):
        with pytest.raises(SystemExit) as error:
            run_once(Step(tmp_path, "score", words))
        assert error.value.code == 1
        assert "none.json" in capfd.readouterr().err
        assert not is_done(tmp_path)


def test_options_of_the_machine_may_differ(tmp_path):
    (tmp_path / "step.json").write_text(
        '{"verb": "train", "overrides": ["seed=1", "data.root=/a"], "seconds": 2, "memory": 3}'
    )
    assert run_once(Step(tmp_path, "train", ("data.root=/b", "seed=1"))) == (2, 3)


def test_an_interrupted_program_says_how_to_resume(tmp_path, capfd):
    launcher = ("/bin/sh", "-c", "kill -USR1 $$")
    with pytest.raises(SystemExit) as error:
        run_once(Step(tmp_path, "train", ()), launcher)
    assert error.value.code == 138
    assert f"{tmp_path} was interrupted; run the same command" in capfd.readouterr().err
    assert not is_done(tmp_path)


@pytest.mark.parametrize(
    ("program", "override", "message"),
    [
        ("ablate", "evaluate_overrides=[predictor.decoder.max_people=-1]", "max_people=-1"),
        ("ablate", "synthesize=[train=many]", "train=many"),
        ("ablate", "train_overrides=[optimizer.lr=1]", "unknown key optimizer"),
        ("demo", "train_overrides=[experiment=none]", "experiment"),
        ("reproduce", "train_overrides=[trainer.max_epochs=0.5]", "trainer.max_epochs=0.5"),
    ],
)
def test_options_of_all_steps_are_checked_before_the_first_one(
    tmp_path, program, override, message
):
    result = run(program, override, "run=out", cwd=tmp_path)
    assert result.returncode == 1
    assert message in result.stderr
    assert "$ tagpose" not in result.stdout
    assert not (tmp_path / "out").exists()

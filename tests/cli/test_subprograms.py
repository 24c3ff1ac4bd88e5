"""Subprograms: each runs once per folder, and only with the same options."""

import shutil

import pytest

from tagpose.cli.subprograms import is_done, run_once


def test_a_program_that_succeeded_is_not_run_again(tmp_path, capfd):
    folder = tmp_path / "out"
    words = ("train=1", "val=1", "image_size=64")
    first = run_once(folder, "data synthesize", *words, f"root={folder}")
    assert first.seconds > 0
    assert first.memory > 0
    assert is_done(folder)
    shutil.rmtree(folder / "annotations")
    assert run_once(folder, "data synthesize", *words, f"root={folder}") == first
    assert not (folder / "annotations").exists()
    assert f"{folder} is done and is skipped" in capfd.readouterr().out
    with pytest.raises(ValueError, match=r"with other options \(train=1, train=2\); repeat the"):
        run_once(folder, "data synthesize", "train=2", *words[1:], f"root={folder}")


def test_a_program_that_failed_runs_again(tmp_path, capfd):
    words = ("results=none.json", "ground_truth=none.json")
    for _ in range(2):
        with pytest.raises(SystemExit) as error:
            run_once(tmp_path, "score", *words)
        assert error.value.code == 1
        assert "none.json" in capfd.readouterr().err
        assert not is_done(tmp_path)


def test_options_of_the_machine_may_differ(tmp_path):
    (tmp_path / "step.json").write_text(
        '{"verb": "train", "overrides": ["seed=1", "data.root=/a"], "seconds": 2, "memory": 3}'
    )
    assert run_once(tmp_path, "train", "data.root=/b", "seed=1") == (2, 3)


def test_an_interrupted_program_says_how_to_resume(tmp_path, capfd):
    launcher = ("/bin/sh", "-c", "kill -USR1 $$")
    with pytest.raises(SystemExit) as error:
        run_once(tmp_path, "train", launcher=launcher)
    assert error.value.code == 138
    assert f"{tmp_path} was interrupted; run the same command" in capfd.readouterr().err
    assert not is_done(tmp_path)

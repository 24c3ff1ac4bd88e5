"""Nothing that is read runs code, and no name leads out of its folder."""

import pickle
import zipfile

import pytest
import torch

from helpers.interrupted_training import last, signal_at, train, words
from helpers.run_scripts import run
from tagpose.models.checkpoint import (
    SPEC_KEY,
    load_network,
    read_tensors,
    write_checkpoint,
    write_torch,
)
from tagpose.models.network import PoseNetwork
from tagpose.skeletons.coco import BODY


class Evil:
    """Makes a file when it is unpickled."""

    def __init__(self, made):
        self.made = str(made)

    def __reduce__(self):
        return open, (self.made, "w")


@pytest.fixture(scope="module")
def evil(tmp_path_factory):
    """A folder with a sound checkpoint into which code was put, once each way."""
    folder = tmp_path_factory.mktemp("evil")
    network = PoseNetwork("hrnet_w18_small", BODY, input_size=64)
    write_checkpoint(folder / "sound.ckpt", network)
    content = read_tensors(folder / "sound.ckpt")
    more = {
        "optimizer_states": [],
        "global_step": 3,
        "callbacks": {"x": Evil(folder / "made_by_evil")},
    }
    torch.save(content | more, folder / "zip.ckpt")
    torch.save(content | more, folder / "old.ckpt", _use_new_zipfile_serialization=False)
    (folder / "bare.ckpt").write_bytes(pickle.dumps(content | more))
    with zipfile.ZipFile(folder / "slip.ckpt", "w") as slip:
        slip.writestr("../../made_by_evil", b"outside")
        slip.writestr("archive/data.pkl", pickle.dumps({}))
    return folder


PROGRAMS = {
    "resume": ("train", "experiment=demo_pretrain", "resume={}"),
    "init_from": ("train", "experiment=demo_finetune", "init_from={}"),
    "predict": ("predict", "checkpoint={}", "images={images}"),
    "evaluate": ("evaluate", "checkpoint={}", "data=synthetic_body"),
    "cache_outputs": ("cache_outputs", "checkpoint={}", "data=synthetic_body"),
    "export": ("export", "checkpoint={}"),
    "publish": ("publish", "checkpoint={}"),
    "import_weights": ("import_weights", "checkpoint={}"),
    "app": ("app", "checkpoint={}"),
}


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS)
def test_no_program_runs_what_is_in_a_checkpoint(people, evil, tmp_path, program):
    script, *arguments = PROGRAMS[program]
    told = [a.format(evil / "zip.ckpt", images=people / "val2017") for a in arguments]
    if script in ("train", "evaluate", "cache_outputs"):
        told.append(f"data.root={people}")
    result = run(script, *told, cwd=tmp_path)
    assert result.returncode == 1
    assert "zip.ckpt is not a complete checkpoint, or its pickle contains objects" in result.stderr
    assert not (evil / "made_by_evil").exists()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("name", ["zip", "old", "bare", "slip"])
def test_code_in_a_checkpoint_of_any_form_is_refused(evil, name):
    with pytest.raises(ValueError, match=rf"{name}\.ckpt"):
        read_tensors(evil / f"{name}.ckpt")
    assert not list(evil.parent.rglob("made_by_evil"))


@pytest.mark.parametrize("skeleton", [
    {"_target_": "builtins.open", "file": "made", "mode": "w"},
    {"name": "x", "keypoints": {"_target_": "os.system", "command": "touch made"}},
    "body; touch made",
    ["os.system"],
])  # fmt: skip
def test_nothing_but_a_skeleton_is_made_of_what_a_checkpoint_says_it_is_of(
    evil, tmp_path, skeleton, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    content = read_tensors(evil / "sound.ckpt")
    content[SPEC_KEY]["skeleton"] = skeleton
    write_torch(tmp_path / "x.ckpt", content)
    with pytest.raises(ValueError, match=r"x\.ckpt"):
        load_network(tmp_path / "x.ckpt")
    assert not (tmp_path / "made").exists()


@pytest.mark.slow
def test_a_configuration_in_a_checkpoint_is_told_and_never_made(people, tmp_path):
    train(people, tmp_path, "a", *signal_at(2, 15))
    file = last(tmp_path, "a")
    content = read_tensors(file)
    crafted = {"_target_": "builtins.open", "file": str(tmp_path / "made"), "mode": "w"}
    content["hyper_parameters"] = {"_instantiator": "builtins.open", **crafted}
    content["callbacks"]["Record"] |= {"model": crafted}
    write_torch(file, content)
    result = run("train", *words(people, "a", "resume=auto", "trainer.max_epochs=1"), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "changed since the checkpoint: model was {'_target_'" in result.stderr + result.stdout
    assert not (tmp_path / "made").exists()


def test_yaml_with_objects_is_refused(people, tmp_path):
    folder = tmp_path / "own" / "experiment"
    folder.mkdir(parents=True)
    (folder / "evil.yaml").write_text(
        f"# @package _global_\nseed: !!python/object/apply:os.system ['touch {tmp_path}/made']\n"
    )
    result = run("train", "--config-dir", str(tmp_path / "own"), "experiment=evil", cwd=tmp_path)
    assert result.returncode != 0
    assert "could not determine a constructor for the tag" in result.stderr
    assert not (tmp_path / "made").exists()

"""Files never execute code when they are read, and paths in them never leave their folder."""

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


class Exploit:
    """Creates a file when it is unpickled."""

    def __init__(self, file):
        self.file = str(file)

    def __reduce__(self):
        return open, (self.file, "w")


@pytest.fixture(scope="module")
def exploits(tmp_path_factory):
    """Return a folder with a valid checkpoint, and copies with code in each file format."""
    folder = tmp_path_factory.mktemp("exploits")
    network = PoseNetwork("hrnet_w18_small", BODY, input_size=64)
    write_checkpoint(folder / "valid.ckpt", network)
    content = read_tensors(folder / "valid.ckpt") | {
        "optimizer_states": [],
        "global_step": 3,
        "callbacks": {"x": Exploit(folder / "created_by_exploit")},
    }
    torch.save(content, folder / "zip.ckpt")
    torch.save(content, folder / "old.ckpt", _use_new_zipfile_serialization=False)
    (folder / "bare.ckpt").write_bytes(pickle.dumps(content))
    with zipfile.ZipFile(folder / "slip.ckpt", "w") as slip:
        slip.writestr("../../created_by_exploit", b"outside")
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
    "convert": ("convert", "checkpoint={}"),
    "app": ("app", "checkpoint={}"),
}


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS)
def test_no_program_executes_code_in_a_checkpoint(people, exploits, tmp_path, program):
    script, *templates = PROGRAMS[program]
    images = people / "val2017"
    overrides = [t.format(exploits / "zip.ckpt", images=images) for t in templates]
    if script in ("train", "evaluate", "cache_outputs"):
        overrides.append(f"data.root={people}")
    result = run(script, *overrides, cwd=tmp_path)
    assert result.returncode == 1
    assert "zip.ckpt is not a complete checkpoint, or its pickle contains objects" in result.stderr
    assert not (exploits / "created_by_exploit").exists()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("name", ["zip", "old", "bare", "slip"])
def test_code_in_a_checkpoint_of_any_format_is_rejected(exploits, name):
    with pytest.raises(ValueError, match=rf"{name}\.ckpt"):
        read_tensors(exploits / f"{name}.ckpt")
    assert not list(exploits.parent.rglob("created_by_exploit"))


@pytest.mark.parametrize("skeleton", [
    {"_target_": "builtins.open", "file": "created", "mode": "w"},
    {"name": "x", "keypoints": {"_target_": "os.system", "command": "touch created"}},
    "body; touch created",
    ["os.system"],
])  # fmt: skip
def test_the_skeleton_in_a_checkpoint_cannot_instantiate_other_objects(
    exploits, tmp_path, skeleton, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    content = read_tensors(exploits / "valid.ckpt")
    content[SPEC_KEY]["skeleton"] = skeleton
    write_torch(tmp_path / "x.ckpt", content)
    with pytest.raises(ValueError, match=r"x\.ckpt"):
        load_network(tmp_path / "x.ckpt")
    assert not (tmp_path / "created").exists()


@pytest.mark.slow
def test_the_configuration_in_a_checkpoint_is_shown_but_not_instantiated(people, tmp_path):
    train(people, tmp_path, "a", *signal_at(2, 15))
    file = last(tmp_path, "a")
    content = read_tensors(file)
    crafted = {"_target_": "builtins.open", "file": str(tmp_path / "created"), "mode": "w"}
    content["hyper_parameters"] = {"_instantiator": "builtins.open", **crafted}
    content["callbacks"]["RunManifest"] |= {"model": crafted}
    write_torch(file, content)
    result = run("train", *words(people, "a", "resume=auto", "trainer.max_epochs=1"), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "changed since the checkpoint: model was {'_target_'" in result.stderr + result.stdout
    assert not (tmp_path / "created").exists()


def test_yaml_with_python_objects_is_rejected(people, tmp_path):
    folder = tmp_path / "own" / "experiment"
    folder.mkdir(parents=True)
    (folder / "exploit.yaml").write_text(
        f"# @package _global_\nseed: !!python/object/apply:os.system ['touch {tmp_path}/created']\n"
    )
    result = run("train", "--config-dir", str(tmp_path / "own"), "experiment=exploit", cwd=tmp_path)
    assert result.returncode != 0
    assert "could not determine a constructor for the tag" in result.stderr
    assert not (tmp_path / "created").exists()

"""Published models are downloaded once by name, verified, and found again offline."""

import hashlib
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

from helpers.run_scripts import run, succeeded
from tagpose import Predictor
from tagpose.cli.checkpoint_options import resolve_checkpoints
from tagpose.models import zoo
from tagpose.models.checkpoint import write_checkpoint
from tagpose.models.network import PoseNetwork
from tagpose.skeletons.coco import BODY


class Handler(SimpleHTTPRequestHandler):
    """Serve a folder, and record the paths."""

    def do_GET(self):
        self.server.paths.append(self.path)
        super().do_GET()

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    """A server on localhost with the checkpoint of a small network."""
    folder = tmp_path_factory.mktemp("host")
    write_checkpoint(folder / "small.ckpt", PoseNetwork("hrnet_w18_small", BODY))
    digest = hashlib.sha256((folder / "small.ckpt").read_bytes()).hexdigest()
    (folder / "small.ckpt").rename(folder / f"small-{digest[:8]}_20261129.pth")
    handler = partial(Handler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.paths, server.folder = [], folder
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def small(host, tmp_path, monkeypatch):
    """The name of the small model in the zoo, whose cache is empty."""
    (file,) = host.folder.iterdir()
    model = zoo.ZooModel("small", "hrnet_w18_small", "wholebody", file.name)
    monkeypatch.setattr(zoo, "MODELS", (model,))
    monkeypatch.setattr(zoo, "_RETRY_DELAYS", ())
    monkeypatch.setenv("TAGPOSE_ZOO_URL", f"http://127.0.0.1:{host.server_port}")
    monkeypatch.setattr(zoo, "user_cache_path", lambda name: tmp_path / "cache" / name)
    host.paths.clear()
    return model


def test_a_model_is_downloaded_once_and_then_found_offline(small, host, monkeypatch, capsys):
    file = zoo.resolve_checkpoint("small")
    assert file == zoo.cache_folder() / small.file_name
    assert "small was trained on COCO-WholeBody" in capsys.readouterr().err
    assert host.paths == [f"/{small.file_name}"]
    monkeypatch.setenv("TAGPOSE_ZOO_URL", "http://127.0.0.1:9")  # no server
    assert zoo.resolve_checkpoint("small") == file
    assert capsys.readouterr().err == ""


def test_a_predictor_takes_the_name_of_a_model(small):
    image = np.random.default_rng(0).integers(0, 255, (96, 128, 3), np.uint8)
    by_name, by_file = (
        Predictor(source, device="cpu", input_size=64)
        for source in ("small", zoo.resolve_checkpoint("small"))
    )
    assert np.array_equal(by_name(image).keypoints, by_file(image).keypoints)


def test_an_existing_file_takes_precedence_over_a_model(small, host, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small").touch()
    assert zoo.resolve_checkpoint("small").resolve() == (tmp_path / "small").resolve()
    assert host.paths == []


def test_other_names_are_files():
    assert zoo.resolve_checkpoint("hrnet_w47") == Path("hrnet_w47")
    with pytest.raises(FileNotFoundError, match=r"hrnet_w47 is missing; .* `tagpose models` lists"):
        Predictor("hrnet_w47")


@pytest.mark.parametrize("key", ["checkpoint", "init_from"])
def test_programs_take_the_name_of_a_model(small, key):
    cfg = OmegaConf.create({key: "small"})
    resolve_checkpoints(cfg)
    assert cfg[key] == str(zoo.cache_folder() / small.file_name)
    for value in ("runs/best.ckpt", None, "???"):
        untouched = OmegaConf.create({key: value})
        resolve_checkpoints(untouched)
        assert untouched == OmegaConf.create({key: value})


def test_the_models_are_listed_with_their_published_results(tmp_path):
    output = succeeded(run("models", cwd=tmp_path)).stdout
    assert all(model.name in output for model in zoo.MODELS)
    assert ".487" in output


def test_a_damaged_file_is_refused(small):
    file = zoo.resolve_checkpoint("small")
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ValueError, match=small.checksum):
        zoo.resolve_checkpoint("small")


def test_an_offline_error_names_the_url_and_the_cached_file(small, monkeypatch):
    monkeypatch.setenv("TAGPOSE_ZOO_URL", "http://127.0.0.1:9")
    with pytest.raises(ConnectionError) as caught:
        zoo.resolve_checkpoint("small")
    assert f"http://127.0.0.1:9/{small.file_name}" in str(caught.value)
    assert str(zoo.cache_folder() / small.file_name) in str(caught.value)


DOWNLOAD = """
import sys
from pathlib import Path
from tagpose.models import zoo

name, folder = sys.argv[1:]
print(zoo.download_model(zoo.ZooModel("small", "hrnet_w18_small", "body", name), Path(folder)))
"""


def test_processes_that_start_at_once_download_once(small, host, tmp_path):
    command = [sys.executable, "-c", DOWNLOAD, small.file_name, str(tmp_path / "models")]
    processes = [subprocess.Popen(command) for _ in range(4)]
    assert [process.wait() for process in processes] == [0] * 4
    assert host.paths == [f"/{small.file_name}"]


def test_every_model_has_a_name_of_its_own_and_a_checksum():
    assert len({model.name for model in zoo.MODELS}) == len(zoo.MODELS)
    assert all(len(model.checksum) == 8 and int(model.checksum, 16) for model in zoo.MODELS)
    for model in zoo.MODELS:
        assert zoo.find_model(model.architecture, model.skeleton) == model

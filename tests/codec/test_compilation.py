"""Compilation cache: one compilation per installation, shared by processes and read-only safe."""

import ast
import importlib
import json
import os
import pkgutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, Event, current_thread, main_thread
from typing import Any, get_args, get_type_hints

import numba
import numpy as np
import pytest
import torch

from helpers.run_scripts import ROOT
from tagpose import codec
from tagpose.codec.compilation import BACKGROUND_TASKS, _thread_pool, cache_folder, run_parallel
from tagpose.codec.decoder import build_decoder
from tagpose.codec.decoding_maps import FlippedOutputs
from tagpose.codec.tta import merge_flip, merge_scales
from tagpose.codec.warm_up import warm_up
from tagpose.inference.batch_decoding import flipped_outputs
from tagpose.skeletons.coco import BODY
from tagpose.structures import KeypointMaps

# prints the person scores for fixed maps, and the cache folder
DECODE = """
import numba
import numpy as np
from tagpose.codec.compilation import cache_folder
from tagpose.codec.decoder import build_decoder
from tagpose.codec.decoding_maps import FlippedOutputs
from tagpose.skeletons.coco import BODY
maps = np.random.default_rng(0).random((1, 17, 16, 16), np.float32)
print(build_decoder(BODY)(maps, maps[:, None])[0].scores.tolist(), cache_folder(), sep=";")
"""


def decode(code=DECODE, package=ROOT / "src", **environment):
    """Return the person scores, the cache folder and the stderr of a new process."""
    process = run_code(code, package, **environment)
    scores, folder = process.stdout.strip().split(";")
    return scores, Path(folder), process.stderr


def run_code(code, package=ROOT / "src", **environment):
    """Run code in a new process and return it with its output."""
    return subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(package)} | environment,
        capture_output=True,
        text=True,
        check=True,
    )


def codec_modules():
    """Import and return all modules of `tagpose.codec`."""
    names = pkgutil.iter_modules(codec.__path__, f"{codec.__name__}.")
    return [importlib.import_module(info.name) for info in names]


def compiled_functions():
    """Return the compiled functions of the decoder by their names."""
    members = [member for module in codec_modules() for member in vars(module).items()]
    return {name: f for name, f in members if hasattr(f, "signatures")}


def test_entry_points_are_compiled_once_for_the_installation_and_all_kinds_of_maps():
    warm_up()
    random = torch.Generator().manual_seed(0)
    heatmaps, tags = (torch.rand(2, 17, 16, 24, generator=random) for _ in range(2))
    outputs = KeypointMaps(heatmaps, tags[:, None])
    merged = merge_flip(outputs, outputs, BODY.channel_flip_indices())
    read_only = merged.heatmaps.numpy().copy()
    read_only.flags.writeable = False
    maps = [
        (outputs.heatmaps.numpy(), outputs.tags.numpy()),
        (merged.heatmaps.half().numpy(), merged.tags.double().numpy()),
        (read_only, merged.tags.numpy()),
        (merged.heatmaps.numpy()[:, :, ::-1], merged.tags.numpy()),
        [tensor.numpy() for tensor in merge_scales([outputs], 0, (64, 96))],
    ]
    flipped = flipped_outputs(outputs, BODY.channel_flip_indices())
    read_only_flipped = FlippedOutputs(*(array.copy() for array in flipped))
    for array in read_only_flipped:
        array.flags.writeable = False
    for options in (
        {},
        {
            "part_mean_tags": True,
            "require_near_parent": True,
            "person_score_tie_break": True,
            "subpixel": True,
        },
    ):
        decoder = build_decoder(BODY, **options)
        for heatmaps_and_tags in maps:
            assert len(decoder(*heatmaps_and_tags)) == 2
        decoder(*maps[0], flipped=flipped)
        decoder(*maps[0], flipped=read_only_flipped)
    signatures = {name: f.signatures for name, f in compiled_functions().items()}
    assert signatures.keys() == set(BACKGROUND_TASKS.values())
    assert {n: len(s) for n, s in signatures.items() if len(s) > 1} == {}


def functions_without_reference_counts():
    """Return the functions with the decorator `compilable`, which does not change them."""
    for module in codec_modules():
        for statement in ast.parse(Path(module.__file__).read_text()).body:
            decorators = getattr(statement, "decorator_list", [])
            if "compilable" in map(ast.unparse, decorators):
                yield getattr(module, statement.name)


def test_functions_compiled_without_reference_counts_return_numbers_only():
    # an array that is returned would be freed twice
    without_counts = list(functions_without_reference_counts())
    assert len(without_counts) > 20
    for function in without_counts:
        returned = get_type_hints(function)["return"]
        kinds = get_args(returned) or (returned,)
        assert set(kinds) <= {Any, bool, type(None)}, function.__name__


@pytest.mark.slow
def test_concurrent_processes_share_one_cache(tmp_path):
    expected, _, _ = decode()
    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(lambda _: decode(NUMBA_CACHE_DIR=str(tmp_path)), range(3)))
    assert {scores for scores, _, _ in results} == {expected}
    scores, folder, message = decode(NUMBA_CACHE_DIR=str(tmp_path))
    assert (scores, message) == (expected, "")  # nothing is left to compile
    assert folder.parent == tmp_path


@pytest.mark.slow
def test_only_the_first_decoding_announces_the_compilation(tmp_path):
    _, _, first = decode(NUMBA_CACHE_DIR=str(tmp_path))
    _, _, second = decode(NUMBA_CACHE_DIR=str(tmp_path))
    assert first.count("Compiling the decoder, once per installation") == 1
    assert second == ""


def deny_writes(*folders):
    """Return code that makes writing into these folders fail, even for root."""
    return f"""
import pathlib, tempfile
denied = {[str(folder) for folder in folders]!r}
make, temporary = pathlib.Path.mkdir, tempfile.TemporaryFile
def check(path):
    if any(str(path).startswith(folder) for folder in denied):
        raise PermissionError(13, "Permission denied", str(path))
def mkdir(self, *args, **kwargs):
    check(self)
    make(self, *args, **kwargs)
def temporary_file(*args, **kwargs):
    check(kwargs.get("dir", ""))
    return temporary(*args, **kwargs)
pathlib.Path.mkdir, tempfile.TemporaryFile = mkdir, temporary_file
"""


@pytest.mark.slow
def test_cache_falls_back_to_the_user_cache_and_then_to_a_private_folder(tmp_path):
    home, temporary = tmp_path / "home", tmp_path / "tmp"
    home.mkdir()
    temporary.mkdir()
    environment = {"XDG_CACHE_HOME": str(home), "TMPDIR": str(temporary)}
    expected, _, _ = decode()
    package = ROOT / "src/tagpose"
    scores, folder, _ = decode(deny_writes(package) + DECODE, **environment)
    assert (scores, folder.parent) == (expected, home / "tagpose")
    scores, folder, message = decode(deny_writes(package, home) + DECODE, **environment)
    assert (scores, folder.parents[1]) == (expected, temporary)
    assert folder.parent.stat().st_mode & 0o077 == 0
    assert message == ""  # the code compiled at installation is copied
    # a folder that other users can write to could contain their code
    folder.parent.chmod(0o777)
    scores, private, _ = decode(deny_writes(package, home) + DECODE, **environment)
    assert scores == expected
    assert private.parent != folder.parent


FOLDER = "from tagpose.codec.compilation import cache_folder; print('', cache_folder(), sep=';')"


@pytest.mark.parametrize("fallbacks", range(3))
def test_processes_in_the_background_use_the_same_cache_folder(tmp_path, fallbacks):
    denied = [ROOT / "src/tagpose", tmp_path / "home"][:fallbacks]
    environment = {"XDG_CACHE_HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path)}
    _, folder, _ = decode(deny_writes(*denied) + FOLDER, **environment)
    _, in_background, _ = decode(FOLDER, NUMBA_CACHE_DIR=str(folder.parent))
    assert in_background == folder


def test_cache_name_depends_on_all_sources_of_compiled_code(tmp_path):
    package = tmp_path / "tagpose"
    subprocess.run(["cp", "-r", ROOT / "src/tagpose", package], check=True)
    _, before, _ = decode(FOLDER, tmp_path)
    with (package / "codec/interpolation.py").open("a") as file:
        file.write("# changed\n")
    _, after, _ = decode(FOLDER, tmp_path)
    assert before.parent == after.parent
    assert before.name != after.name
    assert cache_folder().exists()


@pytest.mark.parametrize("count", [0, 1, 2, 5, 100])
def test_run_parallel_processes_each_item_once(count):
    calls = np.zeros(count, int)

    def work(start, stop):
        calls[start:stop] += 1

    run_parallel(work, count)
    assert (calls == 1).all()


@pytest.fixture
def two_threads(monkeypatch):
    monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", 2)
    _thread_pool.cache_clear()
    yield
    _thread_pool.cache_clear()


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("error", [ValueError, IndexError])
@pytest.mark.parametrize("failing", ["calling thread", "other threads"])
def test_run_parallel_raises_errors_of_all_threads(error, failing):
    both_started = Barrier(2)

    def fail(start, stop):
        both_started.wait(60)
        if (current_thread() is main_thread()) == (failing == "calling thread"):
            raise error("broken")

    with pytest.raises(error, match="broken"):
        run_parallel(fail, 2)


@pytest.mark.usefixtures("two_threads")
def test_run_parallel_does_not_wait_for_threads_that_are_busy():
    end, calls = Event(), np.zeros(5, int)
    busy = _thread_pool().submit(end.wait, 60)

    def work(start, stop):
        calls[start:stop] += 1

    run_parallel(work, len(calls))
    assert (calls == 1).all()
    assert not busy.done()
    end.set()


def test_a_forked_process_decodes_with_its_own_threads():
    code = DECODE.replace("print(", "expected = ").replace(
        '[0].scores.tolist(), cache_folder(), sep=";")', "[0].scores.tolist()"
    )
    code += """
import os
child = os.fork()
if child == 0:
    again = build_decoder(BODY)(maps, maps[:, None])[0].scores.tolist()
    os._exit(again != expected)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), ".", sep=";")
"""
    assert decode(code)[0] == "0"


# compiles in this process, and prints the compiled functions as JSON: name, types
COMPILE = """
import json
from numba.core import event
from tagpose.codec.warm_up import compile_grouping, compile_missing_keypoints, compile_peaks
with event.install_recorder("numba:compile") as recorder:
    compile_peaks()
    compile_grouping()
    compile_missing_keypoints()
starts = [record.data for _, record in recorder.buffer if record.is_start]
print(json.dumps([(d["dispatcher"].py_func.__qualname__, str(d["args"])) for d in starts]))
"""


@pytest.mark.slow
def test_inner_functions_are_compiled_once_and_without_array_assignments(tmp_path):
    process = run_code(COMPILE, NUMBA_CACHE_DIR=str(tmp_path))
    functions = json.loads(process.stdout)
    assert not [name for name, _ in functions if "shape_context" in name]
    types = {}
    for name, arguments in functions:
        types.setdefault(name, set()).add(arguments)
    assert len(types) > 40
    assert {n: len(t) for n, t in types.items() if len(t) > 1 and "<locals>" not in n} == {}
    assert any((tmp_path / cache_folder().name).rglob("*.nbi"))


@pytest.mark.slow
def test_decoding_waits_for_the_compilation_in_the_background(tmp_path):
    background = "from tagpose.codec.compilation import compile_in_background as start\nstart()"
    expected, _, _ = decode()
    scores, _, message = decode(f"{background}{DECODE}", NUMBA_CACHE_DIR=str(tmp_path))
    assert scores == expected
    assert message.count("Compiling the decoder") == 1
    scores, _, message = decode(f"{background}{DECODE}", NUMBA_CACHE_DIR=str(tmp_path))
    assert (scores, message) == (expected, "")


@pytest.mark.slow
def test_processes_in_the_background_compile_everything(tmp_path):
    (tmp_path / "numba.py").write_text("raise SystemExit(1)")  # not on the path of a program
    code = f"""
import os, sys
sys.path.remove("")
from tagpose.codec.compilation import compile_in_background
os.chdir({str(tmp_path)!r})
print([process.wait() for process in compile_in_background()])
"""
    cache = str(tmp_path / "cache")
    assert run_code(code, NUMBA_CACHE_DIR=cache).stdout == "[0, 0, 0]\n"
    assert json.loads(run_code(COMPILE, NUMBA_CACHE_DIR=cache).stdout) == []


def test_a_failure_in_the_background_is_reported(tmp_path):
    code = """
from tagpose.codec import compilation
compilation.BACKGROUND_TASKS["missing"] = "missing"
compilation.finish_compilation()
"""
    process = run_code(code)
    assert process.stderr.count("Compiling the decoder") == 1
    assert process.stderr.count("continues in this process") == 1

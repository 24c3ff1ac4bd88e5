"""Compiled code is invisible: cached, shared by processes, and never in the way."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.run_scripts import ROOT
from tagpose.codec import flip_test, grouping, interpolation, missing_keypoints, peaks
from tagpose.codec.compilation import cache_folder, run_parallel
from tagpose.codec.decoder import build_decoder
from tagpose.codec.flip_test import FlippedOutputs
from tagpose.codec.tta import merge_flip, merge_scales
from tagpose.inference.batch_decoding import flipped_outputs
from tagpose.skeletons.coco import BODY
from tagpose.structures import KeypointMaps

# prints the person scores of fixed maps, and where the compiled code is
DECODE = """
import numpy as np
from tagpose.codec.compilation import cache_folder
from tagpose.codec.decoder import build_decoder
from tagpose.codec.flip_test import FlippedOutputs
from tagpose.skeletons.coco import BODY
maps = np.random.default_rng(0).random((1, 17, 16, 16), np.float32)
print(build_decoder(BODY)(maps, maps[:, None])[0].scores.tolist(), cache_folder(), sep=";")
"""


def decode(code=DECODE, package=ROOT / "src", **environment):
    """Scores and cache folder of a new process, and what it printed to stderr."""
    done = run_code(code, package, **environment)
    scores, folder = done.stdout.strip().split(";")
    return scores, Path(folder), done.stderr


def run_code(code, package=ROOT / "src", **environment):
    """What code printed in a new process."""
    return subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(package)} | environment,
        capture_output=True,
        text=True,
        check=True,
    )


def test_one_compilation_serves_maps_of_every_kind():
    random = torch.Generator().manual_seed(0)
    one = KeypointMaps(
        *(torch.rand(2, 17, 16, 24, generator=random)[at] for at in (..., np.s_[:, None]))
    )
    flipped = merge_flip(one, one, BODY.channel_flip_indices())
    read_only = flipped.heatmaps.numpy().copy()
    read_only.flags.writeable = False
    maps = [
        (one.heatmaps.numpy(), one.tags.numpy()),
        (flipped.heatmaps.half().numpy(), flipped.tags.double().numpy()),
        (read_only, flipped.tags.numpy()),
        (flipped.heatmaps.numpy()[:, :, ::-1], flipped.tags.numpy()),
        [each.numpy() for each in merge_scales([one], 0, (64, 96))],
    ]
    for options in (
        {},
        {
            "part_mean_tags": True,
            "require_near_parent": True,
            "distance_tie_break": True,
            "subpixel": True,
        },
    ):
        decoder = build_decoder(BODY, **options)
        for some in maps:
            assert len(decoder(*some)) == 2
        other = flipped_outputs(one, BODY.channel_flip_indices())
        decoder(*maps[0], flipped=other)
        fixed = [each.copy() for each in other]
        for each in fixed:
            each.flags.writeable = False
        decoder(*maps[0], flipped=FlippedOutputs(*fixed))
    for module in (flip_test, grouping, interpolation, missing_keypoints, peaks):
        compiled = {n: f for n, f in vars(module).items() if hasattr(f, "signatures")}
        assert {n: len(f.signatures) for n, f in compiled.items() if len(f.signatures) > 1} == {}


@pytest.mark.slow
def test_processes_that_start_at_once_compile_into_one_cache(tmp_path):
    expected, _, _ = decode()
    with ThreadPoolExecutor(3) as pool:
        every = list(pool.map(lambda _: decode(NUMBA_CACHE_DIR=str(tmp_path)), range(3)))
    assert {scores for scores, _, _ in every} == {expected}
    scores, folder, message = decode(NUMBA_CACHE_DIR=str(tmp_path))
    assert (scores, message) == (expected, "")  # nothing to compile any more
    assert folder.parent == tmp_path


@pytest.mark.slow
def test_a_first_decoding_says_that_it_compiles_and_the_next_one_nothing(tmp_path):
    _, _, first = decode(NUMBA_CACHE_DIR=str(tmp_path))
    _, _, second = decode(NUMBA_CACHE_DIR=str(tmp_path))
    assert first.count("Compiling the decoder, once per installation") == 1
    assert second == ""


def refusing(*folders):
    """Code that decodes where these folders cannot be written to, even by root."""
    return f"""
import pathlib, tempfile
refused = {[str(folder) for folder in folders]!r}
make, temporary = pathlib.Path.mkdir, tempfile.TemporaryFile
def check(path):
    if any(str(path).startswith(one) for one in refused):
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
def test_a_read_only_installation_and_home_fall_back_to_the_users_and_to_a_private_cache(tmp_path):
    home, temporary = tmp_path / "home", tmp_path / "tmp"
    home.mkdir()
    temporary.mkdir()
    places = {"XDG_CACHE_HOME": str(home), "TMPDIR": str(temporary)}
    expected, _, _ = decode()
    package = ROOT / "src/tagpose"
    scores, folder, _ = decode(refusing(package) + DECODE, **places)
    assert (scores, folder.parent) == (expected, home / "tagpose")
    scores, folder, message = decode(refusing(package, home) + DECODE, **places)
    assert (scores, folder.parent) == (expected, temporary)
    assert folder.stat().st_mode & 0o077 == 0
    assert message == ""  # what the installation has compiled is copied
    # a folder that others can write to could contain their code
    folder.chmod(0o777)
    scores, other, _ = decode(refusing(package, home) + DECODE, **places)
    assert scores == expected
    assert other != folder


def test_the_name_of_the_cache_changes_with_any_source_of_compiled_code(tmp_path):
    package = tmp_path / "tagpose"
    code = "from tagpose.codec.compilation import cache_folder; print('', cache_folder(), sep=';')"
    subprocess.run(["cp", "-r", ROOT / "src/tagpose", package], check=True)
    _, before, _ = decode(code, tmp_path)
    with (package / "codec/interpolation.py").open("a") as file:
        file.write("# changed\n")
    _, after, _ = decode(code, tmp_path)
    assert before.parent == after.parent
    assert before.name != after.name
    assert cache_folder().exists()


@pytest.mark.parametrize("count", [0, 1, 2, 5, 100])
def test_work_is_done_once_in_every_number_of_pieces(count):
    done = np.zeros(count, int)

    def work(start, stop):
        done[start:stop] += 1

    run_parallel(work, count)
    assert (done == 1).all()


def test_a_failure_in_a_thread_is_raised():
    def fail(start, stop):
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        run_parallel(fail, 3)


def test_a_forked_process_decodes_with_threads_of_its_own():
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


# prints the functions of numba's library that were compiled with the decoder
COMPILE = """
from numba.core import event
from tagpose.codec.warm_up import warm_up
with event.install_recorder("numba:compile") as recorder:
    warm_up()
names = {each.data["dispatcher"].py_func.__qualname__ for _, each in recorder.buffer}
print(*(name for name in names if "shape_context" in name), cache_folder(), sep=";")
"""


@pytest.mark.slow
def test_no_array_assignment_brings_in_the_message_of_its_shape_error(tmp_path):
    code = f"from tagpose.codec.compilation import cache_folder{COMPILE}"
    done = run_code(code, NUMBA_CACHE_DIR=str(tmp_path))
    assert done.stdout.strip() == str(tmp_path / cache_folder().name)


@pytest.mark.slow
def test_a_compilation_in_the_background_is_waited_for_and_used(tmp_path):
    background = "from tagpose.codec.compilation import compile_in_background as start\nstart()"
    expected, _, _ = decode()
    scores, _, message = decode(f"{background}{DECODE}", NUMBA_CACHE_DIR=str(tmp_path))
    assert scores == expected
    assert message.count("Compiling the decoder") == 1
    scores, _, message = decode(f"{background}{DECODE}", NUMBA_CACHE_DIR=str(tmp_path))
    assert (scores, message) == (expected, "")

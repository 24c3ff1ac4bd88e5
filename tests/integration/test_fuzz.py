"""Fuzz tests: readers accept any bytes, or reject them with one of their documented errors.

Each reader gets random bytes, and valid files with random changes. `make fuzz` runs each test for
ten minutes, `make test` for a moment; TAGPOSE_FUZZ sets the number of seconds.
"""

import copy
import json
import os
import random
import time
import warnings

import pytest
import torch
from PIL import Image

from tagpose.data.annotations import read_annotations
from tagpose.data.images import read_annotated_image
from tagpose.evaluation.coco_results import from_coco_results, read_results, to_coco_results
from tagpose.evaluation.ground_truth import read_ground_truth
from tagpose.models.checkpoint import (
    load_network,
    read_tensors,
    write_checkpoint,
    write_mmpose_checkpoint,
    write_torch,
)
from tagpose.models.network import PoseNetwork
from tagpose.skeletons.coco import BODY
from tagpose.structures import Poses
from tagpose.training.resume_checkpoint import read_global_step

SECONDS = float(os.environ.get("TAGPOSE_FUZZ", "0.3"))
DOCUMENTED_ERRORS = (ValueError, FileNotFoundError)
VALUES = [
    None, True, [], {}, "", "x", "1", -1, 0, 2**31, 2**63, 2**64, 1e308, -1e308, 1e-320, "\ud800",
    float("nan"), float("inf"), [[]], [1, [2]], {"a": 1}, "../x", "/etc/passwd", [None] * 51,
]  # fmt: skip


def mutate_bytes(content, draw):
    """Overwrite, delete, insert, truncate or copy random bytes."""
    mutated = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 5, 50))):
        start = draw.randrange(len(mutated)) if mutated else 0
        kind = draw.randrange(5)
        if kind == 0 and mutated:
            mutated[start] = draw.randrange(256)
        elif kind == 1:
            del mutated[start : start + draw.choice((1, 2, 8, 1000))]
        elif kind == 2:
            mutated[start:start] = draw.randbytes(draw.choice((1, 4, 16)))
        elif kind == 3:
            mutated = mutated[:start]
        else:
            other = draw.randrange(len(mutated)) if mutated else 0
            mutated[start : start + 8] = mutated[other : other + 8]
    return bytes(mutated)


def mutate_json(tree, draw):
    """Replace or delete random values of a JSON tree."""
    tree = json.loads(json.dumps(tree))
    for _ in range(draw.choice((1, 1, 2, 5))):
        node = tree
        while True:
            keys = list(node) if isinstance(node, dict) else list(range(len(node)))
            if not keys:
                break
            key = draw.choice(keys)
            if isinstance(node[key], dict | list) and node[key] and draw.random() < 0.8:
                node = node[key]
                continue
            if draw.random() < 0.2:
                del node[key]
            else:
                node[key] = copy.deepcopy(draw.choice(VALUES))
            break
    return tree


def assert_robust(read, make_variant):
    """Check that a reader accepts or rejects all variants that are made within the time limit."""
    end, tried, rejected = time.monotonic() + SECONDS, 0, 0
    while time.monotonic() < end:
        file = make_variant(random.Random(tried))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                read(file)
        except DOCUMENTED_ERRORS:
            rejected += 1
        except BaseException:
            print(f"variant {tried}: {file.read_bytes()[:3000]!r}")
            raise
        tried += 1
    print(f"{tried} variants, {rejected} rejected")
    assert 0 < rejected <= tried


@pytest.fixture
def write_file(tmp_path):
    """Return a function that writes bytes or JSON to a file, which it overwrites."""

    def write(content):
        file = tmp_path / "fuzzed"
        text = json.dumps(content) if not isinstance(content, bytes) else content
        file.write_bytes(text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text)
        return file

    return write


def json_variants(valid, write_file):
    """Return a function that writes random bytes, or mutations of a valid JSON tree."""
    content = json.dumps(valid).encode()

    def make_variant(draw):
        kind = draw.random()
        if kind < 0.1:
            return write_file(draw.randbytes(draw.randrange(300)))
        return write_file(mutate_bytes(content, draw) if kind < 0.4 else mutate_json(valid, draw))

    return make_variant


@pytest.mark.parametrize("read", ["annotations", "ground_truth"])
def test_any_annotation_file_is_read_or_rejected(people, write_file, read):
    folder = people / "val2017"
    valid = json.loads((people / "annotations/person_keypoints_val2017.json").read_text())

    def read_and_delete_cache(file):
        read_annotations(file, folder, BODY)
        for cache in file.parent.glob(".tagpose/*/*/*"):
            cache.unlink()

    assert_robust(
        read_and_delete_cache if read == "annotations" else lambda f: read_ground_truth(f, BODY),
        json_variants(valid, write_file),
    )


def test_any_result_file_is_read_or_rejected(write_file):
    torch.manual_seed(0)
    poses = Poses(torch.rand(3, BODY.size, 3).numpy(), torch.rand(3).numpy())
    valid = to_coco_results(7, poses, BODY)
    assert_robust(
        lambda file: from_coco_results(read_results(file), BODY), json_variants(valid, write_file)
    )


@pytest.mark.parametrize("read", [load_network, read_global_step])
@pytest.mark.parametrize("name", ["own.ckpt", "published.pth", "published.safetensors"])
def test_any_checkpoint_is_read_or_rejected(tmp_path, name, read):
    network = PoseNetwork("hrnet_w18_small", BODY, input_size=64)
    write = write_checkpoint if name == "own.ckpt" else write_mmpose_checkpoint
    write(tmp_path / name, network)
    if name == "own.ckpt":  # like the checkpoints of a training run
        write_torch(tmp_path / name, read_tensors(tmp_path / name) | {"global_step": 7})
    content = (tmp_path / name).read_bytes()
    head, tail = content[:20_000], content[-60_000:]

    def make_variant(draw):
        file = tmp_path / f"fuzzed{(tmp_path / name).suffix}"
        kind = draw.random()
        if kind < 0.2:
            file.write_bytes(draw.randbytes(draw.randrange(300)))
        elif kind < 0.6:  # mutates names and offsets, but not the tensors
            file.write_bytes(mutate_bytes(head, draw) + content[20_000:])
        elif kind < 0.8:
            file.write_bytes(content[:-60_000] + mutate_bytes(tail, draw))
        else:
            file.write_bytes(mutate_bytes(content, draw))
        return file

    assert_robust(read, make_variant)


@pytest.mark.parametrize("extension", ["jpg", "png", "gif", "bmp", "tif", "webp", "dds"])
def test_any_image_file_is_read_or_rejected(tmp_path, extension):
    image = Image.effect_noise((40, 30), 60).convert("RGB")
    image.save(tmp_path / f"valid.{extension}")
    content = (tmp_path / f"valid.{extension}").read_bytes()

    def make_variant(draw):
        file = tmp_path / f"fuzzed.{extension}"
        if draw.random() < 0.5:
            file.write_bytes(mutate_bytes(content[:80], draw) + content[80:])
        else:
            file.write_bytes(mutate_bytes(content, draw))
        return file

    assert_robust(read_annotated_image, make_variant)

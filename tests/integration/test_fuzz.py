"""Whatever bytes come from outside, what reads them answers, or says why not in its own words.

Each reader gets arbitrary bytes and files of its own that were changed here and there. `make fuzz`
gives each ten minutes, make test a moment; TAGPOSE_FUZZ says how many seconds.
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
from tagpose.data.image_files import read_annotated_image
from tagpose.evaluation.coco_results import from_coco_results, read_results, to_coco_results
from tagpose.evaluation.ground_truth import read_ground_truth
from tagpose.models.checkpoint import (
    load_network,
    read_global_step,
    read_tensors,
    write_checkpoint,
    write_mmpose_checkpoint,
    write_torch,
)
from tagpose.models.network import PoseNetwork
from tagpose.skeletons.coco import BODY
from tagpose.structures import Poses

SECONDS = float(os.environ.get("TAGPOSE_FUZZ", "0.3"))
OWN = (ValueError, FileNotFoundError)  # what the readers say that they raise
VALUES = [
    None, True, [], {}, "", "x", "1", -1, 0, 2**31, 2**63, 2**64, 1e308, -1e308, 1e-320, "\ud800",
    float("nan"), float("inf"), [[]], [1, [2]], {"a": 1}, "../x", "/etc/passwd", [None] * 51,
]  # fmt: skip


def damaged(content, draw):
    """Bytes of a file after something has happened to them."""
    changed = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 5, 50))):
        place = draw.randrange(len(changed)) if changed else 0
        kind = draw.randrange(5)
        if kind == 0 and changed:
            changed[place] = draw.randrange(256)
        elif kind == 1:
            del changed[place : place + draw.choice((1, 2, 8, 1000))]
        elif kind == 2:
            changed[place:place] = bytes(
                draw.randrange(256) for _ in range(draw.choice((1, 4, 16)))
            )
        elif kind == 3:
            changed = changed[:place]
        else:
            other = draw.randrange(len(changed)) if changed else 0
            changed[place : place + 8] = changed[other : other + 8]
    return bytes(changed)


def changed(tree, draw):
    """A tree of JSON in which values were put in place of others, or taken away."""
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


def holds_out(read, variants):
    """See that a reader takes everything that variants make within the time; how many that were."""
    end, tried, refused = time.monotonic() + SECONDS, 0, 0
    while time.monotonic() < end:
        file = variants(random.Random(tried))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                read(file)
        except OWN:
            refused += 1
        except BaseException:
            print(f"variant {tried}: {file.read_bytes()[:3000]!r}")
            raise
        tried += 1
    print(f"{tried} variants, {refused} refused")
    assert 0 < refused <= tried


@pytest.fixture
def written(tmp_path):
    """Writes bytes or JSON into one file, again and again."""

    def write(content):
        file = tmp_path / "fuzzed"
        text = json.dumps(content) if not isinstance(content, bytes) else content
        file.write_bytes(text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text)
        return file

    return write


def json_of(sound, written):
    """Makes files of arbitrary bytes, and of JSON to which something has happened."""
    content = json.dumps(sound).encode()

    def variants(draw):
        kind = draw.random()
        if kind < 0.1:
            return written(draw.randbytes(draw.randrange(300)))
        return written(damaged(content, draw) if kind < 0.4 else changed(sound, draw))

    return variants


@pytest.mark.parametrize("read", ["annotations", "ground_truth"])
def test_annotations_of_any_content_are_read_or_refused(people, written, read):
    folder = people / "val2017"
    sound = json.loads((people / "annotations/person_keypoints_val2017.json").read_text())

    def annotations(file):
        read_annotations(file, folder, BODY)
        for cache in file.parent.glob(".tagpose/*/*/*"):
            cache.unlink()

    holds_out(
        annotations if read == "annotations" else lambda f: read_ground_truth(f, BODY),
        json_of(sound, written),
    )


def test_result_files_of_any_content_are_read_or_refused(written):
    torch.manual_seed(0)
    found = Poses(torch.rand(3, BODY.size, 3).numpy(), torch.rand(3).numpy())
    sound = to_coco_results(7, found, BODY)
    holds_out(lambda file: from_coco_results(read_results(file), BODY), json_of(sound, written))


@pytest.mark.parametrize("read", [load_network, read_global_step])
@pytest.mark.parametrize("name", ["own.ckpt", "published.pth", "published.safetensors"])
def test_checkpoints_of_any_content_are_read_or_refused(tmp_path, name, read):
    network = PoseNetwork("hrnet_w18_small", BODY, input_size=64)
    write = write_checkpoint if name == "own.ckpt" else write_mmpose_checkpoint
    write(tmp_path / name, network)
    if name == "own.ckpt":  # as a run writes it
        write_torch(tmp_path / name, read_tensors(tmp_path / name) | {"global_step": 7})
    content = (tmp_path / name).read_bytes()
    head, tail = content[:20_000], content[-60_000:]

    def variants(draw):
        file = tmp_path / f"fuzzed{(tmp_path / name).suffix}"
        kind = draw.random()
        if kind < 0.2:
            file.write_bytes(draw.randbytes(draw.randrange(300)))
        elif kind < 0.6:  # where names and places are, the tensors left as they are
            file.write_bytes(damaged(head, draw) + content[20_000:])
        elif kind < 0.8:
            file.write_bytes(content[:-60_000] + damaged(tail, draw))
        else:
            file.write_bytes(damaged(content, draw))
        return file

    holds_out(read, variants)


@pytest.mark.parametrize("ending", ["jpg", "png", "gif", "bmp", "tif", "webp", "dds"])
def test_pictures_of_any_content_are_read_or_refused(tmp_path, ending):
    picture = Image.effect_noise((40, 30), 60).convert("RGB")
    picture.save(tmp_path / f"sound.{ending}")
    content = (tmp_path / f"sound.{ending}").read_bytes()

    def variants(draw):
        file = tmp_path / f"fuzzed.{ending}"
        head = draw.random() < 0.5
        file.write_bytes(
            damaged(content[:80], draw) + content[80:] if head else damaged(content, draw)
        )
        return file

    holds_out(read_annotated_image, variants)

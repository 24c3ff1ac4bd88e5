"""Reading ahead: in order, within a memory limit, and large JPEG files at a reduced size."""

import time
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageFilter

from tagpose import Predictor
from tagpose.data.images import decode_image
from tagpose.data.preprocessing import resize_to_scales
from tagpose.inference import image_prefetching
from tagpose.inference.image_prefetching import LoadedImage, ReadingOptions, prefetch_chunks
from tagpose.models.network import PoseNetwork
from tagpose.skeletons.coco import BODY

SIDE, COUNT = 200, 12
DECODING_BYTES = 13 * SIDE**2  # of an RGB image, estimated


def preprocess(image):
    return resize_to_scales(image, 64, (1,))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    paths = [folder / f"{number:02}.png" for number in range(COUNT)]
    for number, path in enumerate(paths):
        Image.new("RGB", (SIDE, SIDE), (number, 0, 0)).save(path)
    return paths


@pytest.fixture
def in_memory(monkeypatch):
    """The most images at a time that were requested and are not released yet, as a list of one."""
    alive, highest = [0], [0]
    load = image_prefetching._load

    class Tracked(LoadedImage):
        def __del__(self):
            alive[0] -= 1

    def tracked_load(source, options):
        alive[0] += 1
        highest[0] = max(highest[0], alive[0])
        return Tracked(*load(source, options))

    monkeypatch.setattr(image_prefetching, "_load", tracked_load)
    return highest


@pytest.mark.parametrize("batch_size", [1, 4])
@pytest.mark.parametrize("budget", [0, 2.5, 5.5, 1000])
def test_images_arrive_in_order_and_within_the_limit(files, in_memory, batch_size, budget):
    options = ReadingOptions(preprocess, batch_size, max_bytes=int(budget * DECODING_BYTES))
    numbers = []
    for chunk in prefetch_chunks(files, options):
        assert len(chunk) <= batch_size
        numbers += [int(loaded.image.pixels[0, 0, 0]) for loaded in chunk]
    assert numbers == list(range(COUNT))
    # a decoded image takes a quarter of the memory of decoding it, and one image is always read
    assert in_memory[0] <= max(13 / 3 * budget + 1, 3)


def test_without_a_tight_limit_many_images_are_read_ahead(files, in_memory):
    chunks = prefetch_chunks(files, ReadingOptions(preprocess, batch_size=1))
    next(chunks)
    end = time.monotonic() + 30
    while in_memory[0] < 8 and time.monotonic() < end:  # the threads read while this one waits
        time.sleep(0.01)
    assert in_memory[0] >= 8


def test_pixels_are_dropped_if_results_do_not_need_them(files):
    for chunk in prefetch_chunks(files, ReadingOptions(preprocess, 4, keep_pixels=False)):
        for loaded in chunk:
            assert loaded.image.pixels.size == 0
            assert loaded.image.size == (SIDE, SIDE)


def test_the_limit_of_pixels_is_an_error_of_that_image_only(files, tmp_path):
    large = tmp_path / "large.png"
    Image.new("RGB", (SIDE + 1, SIDE)).save(large)
    options = ReadingOptions(preprocess, batch_size=4, max_pixels=SIDE**2)
    loaded = [image for chunk in prefetch_chunks([large, *files], options) for image in chunk]
    assert "large.png has 201 x 200 pixels" in str(loaded[0].error)
    assert all(image.error is None for image in loaded[1:])


@pytest.fixture
def photograph(tmp_path):
    """A JPEG file without fine structures, much larger than the network's input."""
    noise = Image.effect_noise((151, 113), 120).filter(ImageFilter.GaussianBlur(3))
    colors = Image.merge("RGB", [noise, noise.rotate(180), noise.transpose(0)])
    colors.resize((1509, 1131), Image.Resampling.BICUBIC).save(tmp_path / "a.jpg", quality=95)
    return tmp_path / "a.jpg"


def test_a_reduced_file_has_the_inputs_of_the_full_one(photograph: Path):
    """Poses follow from the inputs and the affine to image pixels."""
    full, reduced = decode_image(photograph), decode_image(photograph, min_side=128)
    assert reduced.pixels.shape == (142, 189, 3)
    first, second = preprocess(full), preprocess(reduced)
    assert torch.equal(first.affine, second.affine)
    difference = first.images[0].float() - second.images[0].float()
    assert difference.abs().mean() < 2


def test_results_without_images_are_in_pixels_of_the_full_size(photograph: Path):
    torch.manual_seed(3)
    network = PoseNetwork("hrnet_w18_small", BODY, input_size=64, tag_init_std=0.5).eval()
    torch.nn.init.normal_(network.head.weight[: BODY.size], std=0.05)
    predictor = Predictor(network, device="cpu", flip_test=False)
    (full,) = predictor.predict_iter([photograph])
    (reduced,) = predictor.predict_iter([photograph], keep_images=False)
    assert full.image.shape == (1131, 1509, 3)
    assert reduced.image is None
    assert reduced.result.size == full.result.size == (1509, 1131)
    assert reduced.result.keypoints[..., 0].max() > 800
    with pytest.raises(ValueError, match="use result_or_raise"):
        reduced.get_or_raise()

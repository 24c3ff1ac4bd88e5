"""Networks with a static shape, in float16 and in int8: static graphs, types and small losses."""

import copy
import json
import math
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

from helpers.exportable_network import MIN_SCORE, make_images, make_network, make_predictor
from tagpose.cli.export import check_exportable
from tagpose.cli.option_rules import find_rule
from tagpose.cli.option_table import find_rules
from tagpose.codec.decoder import build_decoder, decoder_from_dict
from tagpose.export.bundle import ExportSpec, bundle_name, write_bundle
from tagpose.export.bundle_runtime import preprocess
from tagpose.export.onnx import ExportableNetwork, max_relative_difference, write_onnx
from tagpose.export.precision import convert_to_float16, convert_to_int8, find_calibration_images
from tagpose.geometry import to_image_pixels
from tagpose.skeletons.coco import BODY

SHAPE = (128, 192)  # height, width


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A bundle with a static shape, and its network."""
    network = make_network(BODY)
    folder = tmp_path_factory.mktemp("static")
    (folder / "x.ckpt").touch()
    decoder = build_decoder(BODY, min_score=MIN_SCORE, **network.decoder_options)
    spec = ExportSpec(
        network, folder / "x.ckpt", decoder, min(SHAPE), True, license="any", static_shape=SHAPE
    )
    assert bundle_name(spec) == "hrnet_w18_small_body_128x192"
    write_bundle(folder / "bundle", spec)
    return folder / "bundle", network


def run_network(file, images):
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return session.run(None, {"image": images})


def convert(exported, tmp_path, precision):
    """Return the file of a converted copy of the network, and inputs like those of calibration."""
    file = Path(shutil.copy(exported[0] / "network.onnx", tmp_path))
    inputs = [preprocess(image, 0, SHAPE).images for image in make_images((90, 130), (128, 192))]
    convert_to_float16(file) if precision == "float16" else convert_to_int8(file, inputs)
    return file, inputs


def test_all_tensors_of_a_static_network_have_static_shapes(exported):
    model = onnx.load(exported[0] / "network.onnx")
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    values = [*inferred.input, *inferred.output, *inferred.value_info]
    shapes = {value.name: value.type.tensor_type.shape.dim for value in values}
    assert {name for node in inferred.node for name in node.output} <= shapes.keys()
    assert all(dim.HasField("dim_value") for shape in shapes.values() for dim in shape)
    assert [dim.dim_value for dim in shapes["image"]] == [1, 3, *SHAPE]


def test_a_static_network_predicts_the_poses_of_the_padded_image_in_image_pixels(exported):
    folder, network = exported
    metadata = json.loads((folder / "metadata.json").read_text())
    (image,) = make_images((128, 96))  # fills the height of the input
    images, affine = preprocess(image, metadata["input_size"], metadata["static_shape"])
    decoder = decoder_from_dict(metadata["decoder"])
    (people,) = decoder(*run_network(folder / "network.onnx", images))
    actual = to_image_pixels(people, affine).keypoints
    padding = (192 - 96) // 2
    padded = np.pad(image, ((0, 0), (padding, padding), (0, 0)))
    expected = make_predictor(network, flip_test=True)(padded).keypoints
    present = expected[..., 2] > 0
    assert present.any()
    expected[present, 0] -= padding
    close = np.abs(actual - expected)[present, :2].max(-1) < 0.1  # image pixels
    assert close.mean() >= 0.99


def test_a_nan_in_any_output_is_a_difference(exported):
    folder, network = exported
    faulty = copy.deepcopy(network)
    with torch.no_grad():
        faulty.head.bias[-1] = torch.nan  # of a tag map; the heatmaps come first
    module = ExportableNetwork(faulty, flip_test=True)
    assert math.isnan(max_relative_difference(folder / "network.onnx", module, SHAPE))


def test_the_readme_of_a_static_bundle_states_its_shape(exported):
    assert "B is 1, H is 128 and W is 192" in (exported[0] / "README.md").read_text()


@pytest.mark.parametrize(
    ("precision", "tolerance", "size"), [("float16", 0.01, 0.55), ("int8", 0.2, 0.35)]
)
def test_lower_precision_has_a_smaller_file_and_close_outputs_in_float32(
    exported, tmp_path, precision, tolerance, size
):
    file, inputs = convert(exported, tmp_path, precision)
    assert file.stat().st_size < size * (exported[0] / "network.onnx").stat().st_size
    for images in inputs:
        expected = run_network(exported[0] / "network.onnx", images)
        for actual, reference in zip(run_network(file, images), expected, strict=True):
            assert actual.dtype == np.float32
            assert np.abs(actual - reference).max() < tolerance * np.abs(reference).max()


@pytest.mark.slow
def test_spatial_tags_are_exported_at_any_size_and_in_float16(tmp_path):
    network = make_network(BODY, spatial_tags=4.0, tag_sharing="part")
    module, file = ExportableNetwork(network, flip_test=True), tmp_path / "network.onnx"
    write_onnx(file, module)  # compares the outputs at another size
    for size in ((64, 192), (192, 64)):
        images = torch.zeros(1, 3, *size, dtype=torch.uint8)
        with torch.inference_mode():
            expected = module(images).tags.numpy()
        assert expected.shape[1:3] == (6, 1)
        np.testing.assert_allclose(run_network(file, images.numpy())[1], expected, atol=1e-3)
    convert_to_float16(file)
    assert max_relative_difference(file, module, None) < 0.01


def test_only_the_head_stays_in_float32(exported, tmp_path):
    for precision in ("float16", "int8"):
        graph = onnx.load(convert(exported, tmp_path, precision)[0]).graph
        weights = [tensor for tensor in graph.initializer if len(tensor.dims) == 4]
        in_float = [w.name for w in weights if w.data_type == onnx.TensorProto.FLOAT]
        assert in_float == ["network.head.weight"]


@pytest.mark.parametrize("value", [[128], [128, 100], [32, 128], [128.0, 128], 128, [0, 64]])
def test_a_static_shape_that_the_network_cannot_have_is_an_error(value):
    rule = find_rule("static_shape", find_rules("export"))
    with pytest.raises(ValueError, match=r"static_shape=.* each entry is a multiple of 32 from 64"):
        rule.check("static_shape", value)
    rule.check("static_shape", [64, 96])


def test_options_that_contradict_each_other_are_errors_that_say_what_to_do(tmp_path):
    predictor = {"scales": [1], "precision": "float32"}
    cfg = OmegaConf.create({"predictor": predictor, "input_size": 128, "static_shape": [128, 128]})
    with pytest.raises(ValueError, match="both set the size of the input; remove one"):
        check_exportable(cfg)
    with pytest.raises(ValueError, match="calibration_images is missing; set it to a folder"):
        find_calibration_images("int8", None)
    with pytest.raises(ValueError, match="no effect with precision=float16; remove it"):
        find_calibration_images("float16", "photos")
    with pytest.raises(FileNotFoundError, match=r"no images found at .*; set calibration_images="):
        find_calibration_images("int8", str(tmp_path))


def test_calibration_images_are_spread_over_the_folder(tmp_path):
    for n in range(70):
        Image.new("RGB", (1, 1)).save(tmp_path / f"{n:03}.png")
    files = find_calibration_images("int8", str(tmp_path))
    assert [file.stem for file in files[:3]] == ["000", "002", "004"]
    assert len(files) == 32

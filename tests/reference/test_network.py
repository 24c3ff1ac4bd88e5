"""Network outputs equal those of MMPose, for weights derived from the names of tensors."""

import zlib

import numpy as np
import pytest
import torch

from tagpose.models.mmpose_weights import from_mmpose, to_mmpose
from tagpose.models.network import PoseNetwork


def make_weight(key, shape):
    """Return the tensor for a name, as defined in the README of the reference figures."""
    if key.endswith("num_batches_tracked"):
        return torch.zeros((), dtype=torch.int64)
    random = np.random.RandomState(zlib.crc32(key.encode()))
    x = np.asarray(random.standard_normal(shape), np.float32)
    if key.endswith("running_mean"):
        x = 0.1 * x
    elif key.endswith("running_var"):
        x = 1 + 0.1 * np.abs(x)
    elif x.ndim == 4:
        x = x * np.float32(np.sqrt(1 / np.prod(shape[1:])))
    elif key.endswith("weight"):
        x = np.float32(0.7) + np.float32(0.1) * x
    else:
        x = 0.1 * x
    return torch.from_numpy(np.asarray(x, np.float32))


@pytest.mark.parametrize("name", ["hrnet_w32_body", "hrnet_w32_wholebody", "higherhrnet_w32_body"])
def test_mmpose_weights_give_the_outputs_of_mmpose(figure, name):
    with np.load(figure(f"network/{name}.npz")) as file:
        figures = dict(file)
    layout = [key.partition(" ") for key in figures["keys"].tolist()]
    mmpose_state = {
        key: make_weight(key, tuple(int(length) for length in shape.split("x") if length))
        for key, _, shape in layout
    }
    spec, state = from_mmpose(mmpose_state)
    assert f"{spec.architecture}_{spec.skeleton.name}" == name
    network = PoseNetwork(spec.architecture, spec.skeleton).eval()
    network.load_state_dict(state)
    assert to_mmpose(network.state_dict(), network.spec).keys() == mmpose_state.keys()
    inputs = np.random.RandomState(0).standard_normal((1, 3, 128, 192))
    with torch.inference_mode():
        heatmaps, tags, offsets = network.forward_normalized(torch.from_numpy(inputs).float())
    assert offsets is None
    outputs = [torch.cat([heatmaps[0], tags[:, 0]], dim=1), *heatmaps[1:]]
    assert sum(key.startswith("shape_") for key in figures) == len(outputs)
    for number, output in enumerate(outputs):
        assert list(output.shape) == figures[f"shape_{number}"].tolist()
        values = output.flatten().numpy()[figures[f"index_{number}"]]
        expected = figures[f"value_{number}"]
        assert np.abs(values - expected).max() < 1e-3 * np.std(expected)

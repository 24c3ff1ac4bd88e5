"""Save network outputs for `tune`: tagpose cache_outputs checkpoint=FILE [KEY=VALUE ...]."""

from pathlib import Path
from typing import Any, Final

from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf, open_dict
from torch.utils.data import DataLoader, Subset
from tqdm import tqdm

from tagpose.cli.checkpoint_options import resolve_checkpoints
from tagpose.cli.program import program
from tagpose.data.datasets import TestTimeDataset
from tagpose.data.loader_workers import worker_init
from tagpose.data.preprocessing import ScaledInputs
from tagpose.data.samplers import pick_evenly
from tagpose.evaluation.cached_outputs import (
    CachedOutput,
    CacheManifest,
    write_cached_output,
    write_manifest,
)
from tagpose.inference.predictor import Predictor
from tagpose.io import check_free_space
from tagpose.models.checkpoint import load_network
from tagpose.provenance import fingerprint, package_versions
from tagpose.skeletons.custom import skeleton_to_config

_NOT_OF_EVALUATE: Final = ("checkpoint=", "output=", "num_images=")  # overrides it does not take


@program("cache_outputs")
def main(cfg: DictConfig) -> None:
    """Save the network outputs of the validation images, and a manifest."""
    resolve_checkpoints(cfg)
    versions, network = package_versions(), load_network(Path(cfg.checkpoint))
    with open_dict(cfg):
        cfg.skeleton = skeleton_to_config(network.skeleton)
        cfg.input_size = cfg.input_size or network.input_size
    folder = Path(cfg.output)
    if (folder / "manifest.json").exists():
        raise FileExistsError(f"{folder} has cached outputs already; use another output=FOLDER")
    data = instantiate(cfg.data, _convert_="object")
    data.setup("validate")
    predictor = instantiate(cfg.predictor, _convert_="object")(network)
    images = TestTimeDataset(
        data.annotations[data.val_split], predictor.input_size, predictor.scales
    )
    indices = pick_evenly(len(images), cfg.num_images)
    loader = DataLoader(
        Subset(images, indices), num_workers=data.num_workers, worker_init_fn=worker_init
    )
    manifest = CacheManifest(
        title=f"{data.description}: {len(indices)} images",
        skeleton=network.skeleton,
        ground_truth=data.ground_truth_file.resolve(),
        image_ids=write_outputs(folder, predictor, loader),
        subpixel=network.subpixel,
        tag_sharing=network.tag_sharing,
        provenance=describe_provenance(cfg) | {"versions": versions},
    )
    write_manifest(folder, manifest)
    print(f"cached outputs: {folder}")


def describe_provenance(cfg: DictConfig) -> dict[str, Any]:
    """Return the checkpoint, the predictor's options other than the decoder, and the overrides."""
    test: Any = OmegaConf.to_container(cfg.predictor, resolve=True)
    del test["decoder"]
    overrides = HydraConfig.get().overrides.task
    overrides = [override for override in overrides if not override.startswith(_NOT_OF_EVALUATE)]
    return {"checkpoint": fingerprint(Path(cfg.checkpoint)), "test": test, "overrides": overrides}


def write_outputs(
    folder: Path, predictor: Predictor, loader: DataLoader[ScaledInputs]
) -> tuple[int, ...]:
    """Save the network outputs of all images, and return the image ids."""
    image_ids: list[int] = []
    for inputs in tqdm(loader, desc="cache outputs", unit="image"):
        keypoint_maps = predictor.predict_maps(inputs.images)
        file = write_cached_output(
            folder, CachedOutput(int(inputs.image_id), keypoint_maps, inputs.affine)
        )
        if not image_ids:  # an estimate from the first image, before a long run
            required = file.stat().st_size * (len(loader) - 1)
            check_free_space(folder, required, "cache fewer images with num_images=N")
        image_ids.append(int(inputs.image_id))
    return tuple(image_ids)

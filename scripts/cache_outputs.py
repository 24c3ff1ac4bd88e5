"""Save what a network says of images: python scripts/cache_outputs.py checkpoint=FILE [key=value]."""

import shutil
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf, open_dict
from torch.utils.data import DataLoader, Subset
from tqdm import tqdm

from tagpose.cli.errors import friendly_errors, run_main
from tagpose.cli.memory import keep_freed_memory
from tagpose.data.datasets import TestTimeDataset, worker_init
from tagpose.data.preprocessing import ScaledInputs
from tagpose.data.samplers import pick_evenly
from tagpose.evaluation.cached_outputs import (
    CachedOutput,
    CacheManifest,
    write_cached_output,
    write_manifest,
)
from tagpose.inference.predictor import Predictor
from tagpose.models.checkpoint import load_network
from tagpose.provenance import fingerprint, package_versions
from tagpose.skeletons.custom import skeleton_to_config

_NOT_FOR_EVALUATION = (
    "checkpoint=",
    "output=",
    "num_images=",
)  # overrides that an evaluation lacks


@hydra.main(version_base="1.3", config_path="../conf", config_name="cache_outputs")
def main(cfg: DictConfig) -> None:
    """Run the network over the validation half of a data set, once, and keep its keypoint_maps."""
    keep_freed_memory()
    with friendly_errors():
        cache_outputs(cfg)


def cache_outputs(cfg: DictConfig) -> None:
    """Save the fields that the configuration describes."""
    environment, network = package_versions(), load_network(Path(cfg.checkpoint))
    with open_dict(cfg):
        cfg.skeleton, cfg.input_size = (
            skeleton_to_config(network.skeleton),
            cfg.input_size or network.input_size,
        )
    folder = Path(cfg.output)
    if (folder / "manifest.json").exists():
        raise FileExistsError(f"{folder} has fields already; name another output=")
    data = instantiate(cfg.data, _convert_="object")
    data.setup("validate")
    predictor = instantiate(cfg.predictor, _convert_="object")(network)
    views = TestTimeDataset(
        data.annotations[data.val_split], predictor.input_size, predictor.scales
    )
    chosen = pick_evenly(len(views), cfg.num_images)
    loader = DataLoader(
        Subset(views, chosen), num_workers=data.num_workers, worker_init_fn=worker_init
    )
    manifest = CacheManifest(
        title=f"{data.description}: {len(chosen)} images",
        skeleton=network.skeleton,
        ground_truth=data.ground_truth_file.resolve(),
        image_ids=write_outputs(folder, predictor, loader),
        subpixel=network.subpixel,
        tag_sharing=network.tag_sharing,
        provenance=describe_provenance(cfg) | {"versions": environment},
    )
    write_manifest(folder, manifest)
    print(f"fields: {folder}")


def describe_provenance(cfg: DictConfig) -> dict[str, Any]:
    """The checkpoint, the test but for its decoder, which comes later, and what was told."""
    test: Any = OmegaConf.to_container(cfg.predictor, resolve=True)
    del test["decoder"]
    overrides = HydraConfig.get().overrides.task
    overrides = [override for override in overrides if not override.startswith(_NOT_FOR_EVALUATION)]
    return {"checkpoint": fingerprint(Path(cfg.checkpoint)), "test": test, "overrides": overrides}


def write_outputs(
    folder: Path, predictor: Predictor, loader: DataLoader[ScaledInputs]
) -> tuple[int, ...]:
    """Save the fields of all images, one after the other; their ids."""
    ids: list[int] = []
    for views in tqdm(loader, desc="save fields", unit="image"):
        keypoint_maps = predictor.predict_maps(views.images)
        file = write_cached_output(
            folder, CachedOutput(int(views.image_id), keypoint_maps, views.affine)
        )
        if not ids:
            check_disk_space(folder, file.stat().st_size * (len(loader) - 1))
        ids.append(int(views.image_id))
    return tuple(ids)


def check_disk_space(folder: Path, needed: int) -> None:
    """See that as many bytes as are needed are free, before hours are spent on filling a disk."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ValueError(
            f"the fields need about {needed / 1e9:.0f} GB, and {folder} has {free / 1e9:.0f} GB "
            "free; num_images=N saves those of fewer images"
        )


if __name__ == "__main__":
    run_main(main)

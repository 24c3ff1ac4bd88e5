"""Save what a network says of images: python scripts/save_fields.py checkpoint=FILE [key=value]."""

import shutil
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf, open_dict
from torch.utils.data import DataLoader, Subset
from tqdm import tqdm

from tagpose.allocation import keep_freed_memory
from tagpose.complaints import told, told_in_a_sentence
from tagpose.data.dataset import single_threaded
from tagpose.data.sampling import evenly
from tagpose.data.view_set import ViewSet
from tagpose.data.views import Views
from tagpose.evaluation.provenance import fingerprint, versions
from tagpose.evaluation.saved_fields import Contents, SavedFields, write_contents, write_fields
from tagpose.inference.predictor import Predictor
from tagpose.model.weights import load_network
from tagpose.own_skeleton import node

_ONLY_OF_SAVING = ("checkpoint=", "output=", "images=")  # overrides that an evaluation lacks


@hydra.main(version_base="1.3", config_path="../conf", config_name="fields")
def main(cfg: DictConfig) -> None:
    """Run the network over the validation half of a data set, once, and keep its fields."""
    keep_freed_memory()
    with told_in_a_sentence():
        save_fields(cfg)


def save_fields(cfg: DictConfig) -> None:
    """Save the fields that the configuration describes."""
    made_with, network = versions(), load_network(Path(cfg.checkpoint))
    with open_dict(cfg):
        cfg.skeleton, cfg.side = node(network.skeleton), cfg.side or network.side
    folder = Path(cfg.output)
    if (folder / "fields.json").exists():
        raise FileExistsError(f"{folder} has fields already; name another output=")
    data = instantiate(cfg.data, _convert_="object")
    data.setup("validate")
    predictor = instantiate(cfg.predictor, _convert_="object")(network)
    views = ViewSet(data.opened[data.val_split], predictor.side, predictor.scales)
    chosen = evenly(len(views), cfg.images)
    loader = DataLoader(
        Subset(views, chosen), num_workers=data.workers, worker_init_fn=single_threaded
    )
    contents = Contents(
        title=f"{data.description}: {len(chosen)} images",
        skeleton=network.skeleton,
        truth=data.truth_file.resolve(),
        image_ids=save_each(folder, predictor, loader),
        sub_cell=network.sub_cell,
        tags=network.tags,
        made_by=origin(cfg) | {"versions": made_with},
    )
    write_contents(folder, contents)
    print(f"fields: {folder}")


def origin(cfg: DictConfig) -> dict[str, Any]:
    """The checkpoint, the test but for its decoder, which comes later, and what was told."""
    test: Any = OmegaConf.to_container(cfg.predictor, resolve=True)
    del test["decoder"]
    words = HydraConfig.get().overrides.task
    words = [word for word in words if not word.startswith(_ONLY_OF_SAVING)]
    return {"checkpoint": fingerprint(Path(cfg.checkpoint)), "test": test, "told": words}


def save_each(folder: Path, predictor: Predictor, loader: DataLoader[Views]) -> tuple[int, ...]:
    """Save the fields of all images, one after the other; their ids."""
    ids: list[int] = []
    for views in tqdm(loader, desc="save fields", unit="image"):
        fields = predictor.fields(views.images)
        file = write_fields(folder, SavedFields(int(views.image_id), fields, views.frame))
        if not ids:
            check_room(folder, file.stat().st_size * (len(loader) - 1))
        ids.append(int(views.image_id))
    return tuple(ids)


def check_room(folder: Path, needed: int) -> None:
    """See that as many bytes as are needed are free, before hours are spent on filling a disk."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ValueError(
            f"the fields need about {needed / 1e9:.0f} GB, and {folder} has {free / 1e9:.0f} GB "
            "free; images=N saves those of fewer images"
        )


if __name__ == "__main__":
    told(main)

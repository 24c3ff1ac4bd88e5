"""Score perfect maps, what encoding alone costs: python scripts/perfect.py [data=... key=value]."""

from pathlib import Path

import hydra
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch.utils.data import DataLoader, Subset
from tqdm import tqdm

from tagpose.allocation import keep_freed_memory
from tagpose.complaints import told, told_in_a_sentence
from tagpose.data.dataset import WholeSet, single_threaded
from tagpose.data.sampling import evenly
from tagpose.evaluation.part_ap import part_scores
from tagpose.evaluation.rows import write_json
from tagpose.evaluation.table import numbers, table
from tagpose.evaluation.truth import read_truth, select
from tagpose.inference.perfect import perfect_people
from tagpose.output import print_tables


@hydra.main(version_base="1.3", config_path="../conf", config_name="perfect")
def main(cfg: DictConfig) -> None:
    """Print the table and write the numbers."""
    keep_freed_memory()
    with told_in_a_sentence():
        perfect(cfg)


def perfect(cfg: DictConfig) -> None:
    """Encode and decode as the configuration describes."""
    data = instantiate(cfg.data, _convert_="object")
    data.setup("validate")
    model = instantiate(cfg.model, _convert_="object")
    network = model.network
    decoder = instantiate(cfg.predictor.decoder)(
        network.skeleton, subpixel=network.sub_cell, tag_index=network.tag_index
    )
    images = WholeSet(data.opened[data.val_split], cfg.side)
    chosen = evenly(len(images), cfg.images)
    loader = DataLoader(
        Subset(images, chosen), num_workers=data.workers, worker_init_fn=single_threaded
    )
    samples = tqdm(loader, desc="perfect maps", unit="image")
    found = perfect_people(samples, model.encoders, decoder)
    truth = select(read_truth(data.truth_file, network.skeleton), found)
    scores = part_scores(truth, found, network.skeleton)
    title = f"{data.description}, perfect maps: {len(chosen)} images"
    write_json(Path(cfg.output) / "metrics.json", {"title": title, "parts": numbers(scores)})
    print_tables(table(scores, title))


if __name__ == "__main__":
    told(main)

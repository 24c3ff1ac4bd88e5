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
from tagpose.model.weights import load_network
from tagpose.output import print_tables
from tagpose.structures import Fields
from tagpose.training.module import network_encoders


@hydra.main(version_base="1.3", config_path="../conf", config_name="perfect")
def main(cfg: DictConfig) -> None:
    """Print the table and write the numbers."""
    keep_freed_memory()
    with told_in_a_sentence():
        perfect(cfg)


def perfect(cfg: DictConfig) -> None:
    """Encode and decode as the configuration describes."""
    learned = list(cfg.learned)
    if not set(learned) <= set(Fields._fields) or bool(learned) != bool(cfg.checkpoint):
        raise ValueError(
            f"learned={learned} and checkpoint={cfg.checkpoint} do not go together; name heatmaps "
            "or tags and the checkpoint that they are taken from, or neither"
        )
    data = instantiate(cfg.data, _convert_="object")
    data.setup("validate")
    model = instantiate(cfg.model, _convert_="object")
    network, encoders = model.network, model.encoders
    if cfg.checkpoint:
        network = load_network(Path(cfg.checkpoint))
        encoders = network_encoders(network, instantiate(cfg.encoder))
    decoder = instantiate(cfg.predictor.decoder)(network.skeleton, **network.decoder_options)
    images = WholeSet(data.opened[data.val_split], cfg.side)
    chosen = evenly(len(images), cfg.images)
    loader = DataLoader(
        Subset(images, chosen), num_workers=data.workers, worker_init_fn=single_threaded
    )
    samples = tqdm(loader, desc="perfect maps", unit="image")
    found = perfect_people(samples, encoders, decoder, network, learned)
    truth = select(read_truth(data.truth_file, network.skeleton, data.options), found)
    scores = part_scores(truth, found, network.skeleton)
    title = f"{data.description}, {maps_of(learned)}: {len(chosen)} images"
    write_json(Path(cfg.output) / "metrics.json", {"title": title, "parts": numbers(scores)})
    print_tables(table(scores, title))


def maps_of(learned: list[str]) -> str:
    """What was decoded, for the title of the table."""
    if not learned:
        return "perfect maps"
    perfect = [name for name in Fields._fields if name not in learned]
    return " and ".join([*(f"learned {n}" for n in learned), *(f"perfect {n}" for n in perfect)])


if __name__ == "__main__":
    told(main)

"""Score perfect maps, what encoding alone costs: python scripts/oracle.py [data=... key=value]."""

from pathlib import Path

import hydra
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch.utils.data import DataLoader, Subset
from tqdm import tqdm

from tagpose.cli.console import print_tables
from tagpose.cli.errors import friendly_errors, run_main
from tagpose.cli.memory import keep_freed_memory
from tagpose.data.datasets import ValDataset, worker_init
from tagpose.data.samplers import pick_evenly
from tagpose.evaluation.coco_results import write_json
from tagpose.evaluation.ground_truth import read_ground_truth, select_images
from tagpose.evaluation.keypoint_ap import evaluate_parts
from tagpose.evaluation.score_tables import score_table, scores_to_dict
from tagpose.inference.oracle import decode_oracle_maps
from tagpose.models.checkpoint import load_network
from tagpose.structures import KeypointMaps
from tagpose.training.module import build_encoders


@hydra.main(version_base="1.3", config_path="../conf", config_name="oracle")
def main(cfg: DictConfig) -> None:
    """Print the table and write the numbers."""
    keep_freed_memory()
    with friendly_errors():
        evaluate_oracle(cfg)


def evaluate_oracle(cfg: DictConfig) -> None:
    """Encode and decode as the configuration describes."""
    network_maps = list(cfg.network_maps)
    if not set(network_maps) <= set(KeypointMaps._fields) or bool(network_maps) != bool(
        cfg.checkpoint
    ):
        raise ValueError(
            f"network_maps={network_maps} and checkpoint={cfg.checkpoint} do not go together; name heatmaps "
            "or tags and the checkpoint that they are taken from, or neither"
        )
    data = instantiate(cfg.data, _convert_="object")
    data.setup("validate")
    model = instantiate(cfg.model, _convert_="object")
    network, encoders = model.network, model.encoders
    if cfg.checkpoint:
        network = load_network(Path(cfg.checkpoint))
        encoders = build_encoders(network, instantiate(cfg.encoder))
    decoder = instantiate(cfg.predictor.decoder)(network.skeleton, **network.decoder_options)
    images = ValDataset(data.annotations[data.val_split], cfg.input_size)
    chosen = pick_evenly(len(images), cfg.num_images)
    loader = DataLoader(
        Subset(images, chosen), num_workers=data.num_workers, worker_init_fn=worker_init
    )
    samples = tqdm(loader, desc="perfect maps", unit="image")
    predictions = decode_oracle_maps(samples, encoders, decoder, network, network_maps)
    ground_truth = select_images(
        read_ground_truth(data.ground_truth_file, network.skeleton, data.options), predictions
    )
    scores = evaluate_parts(ground_truth, predictions, network.skeleton)
    title = f"{data.description}, {describe_maps(network_maps)}: {len(chosen)} images"
    write_json(Path(cfg.output) / "metrics.json", {"title": title, "parts": scores_to_dict(scores)})
    print_tables(score_table(scores, title))


def describe_maps(network_maps: list[str]) -> str:
    """What was decoded, for the title of the table."""
    if not network_maps:
        return "perfect maps"
    perfect = [name for name in KeypointMaps._fields if name not in network_maps]
    return " and ".join(
        [*(f"learned {n}" for n in network_maps), *(f"perfect {n}" for n in perfect)]
    )


if __name__ == "__main__":
    run_main(main)

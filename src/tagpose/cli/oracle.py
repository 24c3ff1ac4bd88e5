"""Evaluate decoded ground truth, an upper bound on accuracy: tagpose oracle [KEY=VALUE ...]."""

from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig
from torch.utils.data import DataLoader, Subset
from tqdm import tqdm

from tagpose.cli.checkpoint_options import resolve_checkpoints
from tagpose.cli.console import print_tables
from tagpose.cli.program import program
from tagpose.data.datasets import ValDataset
from tagpose.data.loader_workers import worker_init
from tagpose.data.samplers import pick_evenly
from tagpose.evaluation.ground_truth import read_ground_truth, select_images
from tagpose.evaluation.keypoint_ap import evaluate_parts, scores_to_dict
from tagpose.evaluation.score_tables import score_table
from tagpose.inference.oracle import decode_oracle_maps
from tagpose.io import write_json
from tagpose.models.checkpoint import load_network
from tagpose.structures import KeypointMaps
from tagpose.training.module import build_encoders


@program("oracle")
def main(cfg: DictConfig) -> None:
    """Encode the ground truth, decode the maps, and print and write the scores."""
    network_maps = list(cfg.network_maps)
    is_known = set(network_maps) <= set(KeypointMaps._fields)
    if not is_known or bool(network_maps) != bool(cfg.checkpoint):
        raise ValueError(
            f"network_maps={network_maps} and checkpoint={cfg.checkpoint} do not match; set "
            "network_maps to heatmaps or tags and the checkpoint that predicts them, or neither"
        )
    data = instantiate(cfg.data, _convert_="object")
    data.setup("validate")
    model = instantiate(cfg.model, _convert_="object")
    network, encoders = model.network, model.encoders
    if cfg.checkpoint:
        resolve_checkpoints(cfg)
        network = load_network(Path(cfg.checkpoint))
        encoders = build_encoders(network, instantiate(cfg.encoder))
    decoder = instantiate(cfg.predictor.decoder)(network.skeleton, **network.decoder_options)
    dataset = ValDataset(data.annotations[data.val_split], cfg.input_size)
    indices = pick_evenly(len(dataset), cfg.num_images)
    loader = DataLoader(
        Subset(dataset, indices), num_workers=data.num_workers, worker_init_fn=worker_init
    )
    samples = tqdm(loader, desc="oracle", unit="image")
    predictions = decode_oracle_maps(samples, encoders, decoder, network, network_maps)
    ground_truth = select_images(
        read_ground_truth(data.ground_truth_file, network.skeleton, data.options), predictions
    )
    scores = evaluate_parts(ground_truth, predictions, network.skeleton)
    title = f"{data.description}, {describe_maps(network_maps)}: {len(indices)} images"
    write_json(Path(cfg.output) / "metrics.json", {"title": title, "parts": scores_to_dict(scores)})
    print_tables(score_table(scores, title))


def describe_maps(network_maps: list[str]) -> str:
    """Return which maps are ground truth and which are predicted, for the title of the table."""
    if not network_maps:
        return "ground-truth maps"
    encoded = [name for name in KeypointMaps._fields if name not in network_maps]
    predicted_names = [f"predicted {name}" for name in network_maps]
    return " and ".join([*predicted_names, *(f"ground-truth {name}" for name in encoded)])

"""Draw a dataset of synthetic people: tagpose data synthesize [root=FOLDER ...]."""

from pathlib import Path

from omegaconf import DictConfig

from tagpose.cli.program import program
from tagpose.data.synthetic import write_synthetic_dataset


@program("data_synthesize")
def main(cfg: DictConfig) -> None:
    """Write the dataset in COCO's layout to a new folder."""
    write_synthetic_dataset(
        Path(cfg.root),
        train=cfg.train,
        val=cfg.val,
        image_size=cfg.image_size,
        max_people=cfg.max_people,
        min_people=cfg.min_people,
        seed=cfg.seed,
        sparse=cfg.sparse,
    )
    print(f"synthetic dataset: {cfg.root}")

"""Draw a data set of synthetic people: python scripts/synthesize.py [train=N val=N image_size=PIXELS]."""

from pathlib import Path

import hydra
from omegaconf import DictConfig

from tagpose.cli.errors import friendly_errors, run_main
from tagpose.data.synthetic import write_synthetic_dataset


@hydra.main(version_base="1.3", config_path="../conf", config_name="synthesize")
def main(cfg: DictConfig) -> None:
    """Write it in the official layout, once."""
    with friendly_errors():
        write_synthetic_dataset(
            Path(cfg.root),
            train=cfg.train,
            val=cfg.val,
            image_size=cfg.image_size,
            max_people=cfg.max_people,
            seed=cfg.seed,
            sparse=cfg.sparse,
        )
        print(f"synthetic people: {cfg.root}")


if __name__ == "__main__":
    run_main(main)

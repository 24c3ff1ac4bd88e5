"""Draw a data set of synthetic people: python scripts/synthesise.py [train=N val=N side=PIXELS]."""

from pathlib import Path

import hydra
from omegaconf import DictConfig

from tagpose.complaints import told, told_in_a_sentence
from tagpose.data.synthetic import write_synthetic


@hydra.main(version_base="1.3", config_path="../conf", config_name="synthesise")
def main(cfg: DictConfig) -> None:
    """Write it in the official layout, once."""
    with told_in_a_sentence():
        write_synthetic(
            Path(cfg.root),
            train=cfg.train,
            val=cfg.val,
            side=cfg.side,
            max_people=cfg.max_people,
            seed=cfg.seed,
            sparse=cfg.sparse,
        )
        print(f"synthetic people: {cfg.root}")


if __name__ == "__main__":
    told(main)

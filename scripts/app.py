"""Show people in pictures on a page in the browser: python scripts/app.py checkpoint=FILE."""

import hydra
from hydra.utils import instantiate
from omegaconf import DictConfig

from tagpose.allocation import keep_freed_memory
from tagpose.complaints import told, told_in_a_sentence
from tagpose.page.kept import Kept
from tagpose.page.viewer import MOST_PEOPLE, Thresholds, Viewer

with told_in_a_sentence():  # gradio is an extra
    from tagpose.page.serving import serve

MILLION = 1_000_000


@hydra.main(version_base="1.3", config_path="../conf", config_name="app")
def main(cfg: DictConfig) -> None:
    """Serve the page until it is stopped."""
    keep_freed_memory()
    with told_in_a_sentence():
        app(cfg)


def app(cfg: DictConfig) -> None:
    """Serve the page that the configuration describes."""
    predictor = instantiate(cfg.predictor, _convert_="object")(cfg.checkpoint)
    if predictor.by_size:
        raise ValueError("the page decodes merged scales; predictor.by_size=false does so")
    kept = Kept(weight=cfg.kept_memory * MILLION, seconds=60 * cfg.kept_minutes)
    decoder = predictor.decoder
    start = Thresholds(
        min_person_score=cfg.min_person_score,
        min_keypoint_score=cfg.min_keypoint_score,
        min_score=decoder.min_score,
        max_tag_distance=decoder.grouping.max_tag_distance,
        max_people=decoder.max_people or MOST_PEOPLE,
    )
    viewer = Viewer(predictor, kept, max_pixels=int(cfg.max_pixels * MILLION))
    serve(viewer, start, host=cfg.host, port=cfg.port, max_upload=cfg.max_upload)


if __name__ == "__main__":
    told(main)

"""Serve a web page that shows poses in uploaded images: tagpose app checkpoint=FILE."""

from typing import Final

from hydra.utils import instantiate
from omegaconf import DictConfig

from tagpose.app.server import serve
from tagpose.app.session_cache import SessionCache
from tagpose.app.viewer import MAX_PEOPLE, PoseViewer, ViewerThresholds
from tagpose.cli.program import program

_MILLION: Final = 1_000_000


@program("app")
def main(cfg: DictConfig) -> None:
    """Load the predictor and serve the page."""
    predictor = instantiate(cfg.predictor, _convert_="object")(cfg.checkpoint)
    if predictor.fuse_by_size:
        raise ValueError(
            "predictor.fuse_by_size=true is not supported by the app, which decodes merged scales; "
            "use predictor.fuse_by_size=false"
        )
    cache = SessionCache(
        max_bytes=cfg.cache_megabytes * _MILLION, max_idle_seconds=60 * cfg.cache_minutes
    )
    decoder = predictor.decoder
    thresholds = ViewerThresholds(
        min_person_score=cfg.min_person_score,
        min_keypoint_score=cfg.min_keypoint_score,
        min_score=decoder.min_score,
        max_tag_distance=decoder.grouping.max_tag_distance,
        max_people=decoder.max_people or MAX_PEOPLE,
    )
    viewer = PoseViewer(predictor, cache, max_pixels=int(cfg.max_megapixels * _MILLION))
    serve(viewer, thresholds, host=cfg.host, port=cfg.port, max_upload=cfg.max_upload_megabytes)

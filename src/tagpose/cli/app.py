"""Serve a web page that shows poses in uploaded images and videos: tagpose app checkpoint=FILE."""

from typing import Final

from hydra.utils import instantiate
from omegaconf import DictConfig

from tagpose.app.server import serve
from tagpose.app.sessions import SessionCache
from tagpose.app.settings import MAX_PEOPLE, ViewerSettings, ViewerThresholds
from tagpose.app.video_processor import VideoProcessor
from tagpose.app.viewer import PoseViewer
from tagpose.cli.predict import output_options
from tagpose.cli.program import program

_MILLION: Final = 1_000_000


@program("app")
def main(cfg: DictConfig) -> None:
    """Load the predictor and serve the page."""
    output = output_options(cfg)  # errors come before the checkpoint is loaded
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
    predictor.skeleton.keypoint_mask(cfg.parts)  # raises for unknown parts
    max_pixels = int(cfg.max_megapixels * _MILLION)
    viewer = PoseViewer(predictor, cache, max_pixels)
    videos = VideoProcessor(predictor, instantiate(cfg.video), cfg.max_video_seconds, max_pixels)
    serve(
        viewer,
        videos,
        ViewerSettings(thresholds, output),
        host=cfg.host,
        port=cfg.port,
        max_upload=cfg.max_upload_megabytes,
    )

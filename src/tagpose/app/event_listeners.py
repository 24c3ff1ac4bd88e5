"""Event listeners of the app: which component of the page calls which event handler."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import gradio as gr
from gradio.data_classes import ImageData, ListFiles

from tagpose.app.event_handlers import EventHandlers
from tagpose.app.layout import AppComponents
from tagpose.app.settings import ViewerThresholds

_PEAK_SCORE: Final = ViewerThresholds._fields.index("min_score")  # slider
# The network processes one image at a time; further requests wait in the queue.
_NETWORK_OPTIONS: Final[Mapping[str, Any]] = MappingProxyType(
    {"api_visibility": "private", "concurrency_id": "network", "concurrency_limit": 1}
)
# A video takes minutes, during which images are still processed.
_VIDEO_OPTIONS: Final[Mapping[str, Any]] = MappingProxyType(
    {**_NETWORK_OPTIONS, "concurrency_id": "video"}
)
_REDRAW_OPTIONS: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "api_visibility": "private",
        "concurrency_id": "redraw",
        "concurrency_limit": 4,
        "show_progress": "minimal",
        "trigger_mode": "always_last",  # while a slider moves, only its last position is rendered
    }
)
_PAGE_OPTIONS: Final[Mapping[str, Any]] = MappingProxyType(
    {"api_visibility": "private", "queue": False, "show_progress": "hidden"}
)
_START_DOWNLOAD: Final = """(file) => {
  if (!file) return;
  const link = document.createElement("a");
  link.href = file.url;
  link.download = file.orig_name;
  link.click();
}"""


def add_event_listeners(handlers: EventHandlers, page: AppComponents) -> None:
    """Connect the components of the page with the event handlers."""
    inputs, images = page.inputs, gr.State([])
    # gradio would open images itself and only show "Error" for unreadable files.
    inputs.files.preprocess = _upload_paths  # type: ignore[method-assign, assignment]
    inputs.camera.preprocess = _upload_path  # type: ignore[method-assign, assignment]
    settings = [*page.sliders, *page.drawing]
    _connect_images(handlers, page, settings, images)
    _connect_downloads(handlers, page, settings, images)
    _connect_videos(handlers, page, settings)


def _connect_images(
    handlers: EventHandlers, page: AppComponents, settings: list[Any], images: gr.State
) -> None:
    """Connect the inputs for images with the pictures and the table."""
    inputs, tabs, peak, error = page.inputs, page.tabs, page.sliders[_PEAK_SCORE], gr.State("")
    update = handlers.update, [error, *settings], [page.message, tabs.people, page.table]
    heatmaps = handlers.heatmaps, tabs.heatmaps_part, tabs.heatmaps
    tags = handlers.tags, [tabs.tags_part, peak], tabs.tags
    listed = gr.on(
        [inputs.files.change, inputs.camera.change],
        handlers.list_images,
        [images, inputs.files, inputs.camera],
        [images, inputs.choice],
        **_PAGE_OPTIONS,
    )
    for select in (listed.then, inputs.choice.input):
        analyzed = select(
            handlers.analyze,
            [images, inputs.choice],
            error,
            show_progress_on=tabs.people,
            **_NETWORK_OPTIONS,
        )
        analyzed.then(*update, **_REDRAW_OPTIONS).then(*heatmaps, **_REDRAW_OPTIONS).then(
            *tags, **_REDRAW_OPTIONS
        )
    gr.on([setting.change for setting in settings[:-1]], *update, **_REDRAW_OPTIONS)
    tabs.heatmaps_part.change(*heatmaps, **_REDRAW_OPTIONS)
    gr.on([tabs.tags_part.change, peak.change], *tags, **_REDRAW_OPTIONS)


def _connect_downloads(
    handlers: EventHandlers, page: AppComponents, settings: list[Any], images: gr.State
) -> None:
    """Connect the buttons that prepare a file and start its download."""
    downloads = page.downloads
    for button, prepare, values in (
        (downloads.picture, handlers.prepare_picture, settings),
        (downloads.image, handlers.prepare_image_files, settings),
        (downloads.all_images, handlers.prepare_all_files, [images, *settings]),
    ):
        prepared = button.click(
            prepare,
            values,
            [page.message, downloads.prepared],
            show_progress_on=page.message,
            **_NETWORK_OPTIONS,
        )
        prepared.then(None, downloads.prepared, js=_START_DOWNLOAD, **_PAGE_OPTIONS)


def _connect_videos(handlers: EventHandlers, page: AppComponents, settings: list[Any]) -> None:
    """Connect the inputs and outputs of videos, which replace those of images."""
    inputs = page.inputs
    for tabs, is_video in ((inputs.image_tabs, False), ([inputs.video_tab], True)):
        visible = {
            page.image_output: gr.update(visible=not is_video),
            page.downloads.row: gr.update(visible=not is_video),
            page.video_output: gr.update(visible=is_video),
            page.video_download: gr.update(visible=is_video),
        }
        gr.on([tab.select for tab in tabs], visible.copy, None, list(visible), **_PAGE_OPTIONS)
    inputs.start.click(
        handlers.predict_video,
        [inputs.video, inputs.smooth, *settings],
        [page.message, page.drawn_video, page.video_download],
        show_progress_on=page.drawn_video,
        **_VIDEO_OPTIONS,
    )
    inputs.stop.click(handlers.stop_video, **_PAGE_OPTIONS)


def _upload_paths(uploads: ListFiles | None) -> list[Path]:
    """Return the paths of uploads; gradio has checked that they lie in the upload folder."""
    return [Path(upload.path) for upload in uploads.root] if uploads else []


def _upload_path(upload: ImageData | None) -> Path | None:
    """Return the path of an upload, as `_upload_paths` does."""
    return Path(upload.path) if upload and upload.path else None

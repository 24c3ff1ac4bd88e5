"""Event handlers of the app and their connections to the components of the page."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from io import BytesIO
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import gradio as gr
import numpy as np
from gradio.data_classes import ImageData
from gradio.processing_utils import save_bytes_to_cache
from PIL import Image

from tagpose.app.layout import AppComponents
from tagpose.app.rendering import people_html_table
from tagpose.app.viewer import PoseViewer, ViewerThresholds

# The network processes one image at a time; further requests wait in the queue.
_NETWORK_OPTIONS: Final[Mapping[str, Any]] = MappingProxyType(
    {"api_visibility": "private", "concurrency_id": "network", "concurrency_limit": 1}
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
_JPEG_QUALITY: Final = 92  # without chroma subsampling, because lines are a few pixels wide


@dataclass(frozen=True)
class EventHandlers:
    """Gradio event handlers that convert the viewer's results to files and HTML.

    Attributes:
        viewer: viewer that computes the results.
        folder: folder for images and downloads, deleted by the server.
    """

    viewer: PoseViewer
    folder: str

    def analyze(self, file: str | None, request: gr.Request) -> str:
        """Run the network on an upload and return an error message, or ""."""
        return self.viewer.analyze(_session_id(request), Path(file) if file else None)

    def update(
        self,
        error: str,
        person: float,
        keypoint: float,
        peak: float,
        distance: float,
        people: float,
        request: gr.Request,
    ) -> tuple[Any, ...]:
        """Return message, image, table and the two download buttons."""
        if error:
            return self._without_results(f'<span class="error">{escape(error)}</span>')
        thresholds = ViewerThresholds(person, keypoint, peak, distance, people)
        output = self.viewer.update(_session_id(request), thresholds)
        if output.result is None:
            return self._without_results(escape(output.message))
        return (
            escape(output.message),
            self._write_jpeg(output.image),
            people_html_table(output.result),
            self._json_button(output.result.to_dict(), "people.json"),
            self._json_button(output.result.to_coco(), "results.json"),
        )

    def heatmaps(self, part: str, request: gr.Request) -> str | None:
        """Return the file of the heatmap image, or None."""
        return self._write_jpeg(self.viewer.heatmaps(_session_id(request), part))

    def tags(self, part: str, peak: float, request: gr.Request) -> str | None:
        """Return the file of the tag image, or None."""
        return self._write_jpeg(self.viewer.tags(_session_id(request), part, peak))

    def close_session(self, request: gr.Request) -> None:
        """Remove the cached image of a page that was closed."""
        self.viewer.cache.remove(_session_id(request))

    def _write_jpeg(self, image: np.ndarray | None) -> str | None:
        """Write an image and return the path of its file."""
        if image is None:
            return None
        file = BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
        return save_bytes_to_cache(file.getvalue(), "tagpose.jpg", self.folder)

    def _without_results(self, message: str) -> tuple[Any, ...]:
        """Return the outputs of `update` for a message in HTML without results."""
        button = gr.DownloadButton(value=None, interactive=False)
        return message, None, "", button, button

    def _json_button(self, content: Any, name: str) -> Any:
        """Write a JSON file and return a button that downloads it."""
        file = json.dumps(content, allow_nan=False).encode()
        path = save_bytes_to_cache(file, name, self.folder)
        return gr.DownloadButton(value=path, interactive=True)


def connect_events(events: EventHandlers, page: AppComponents) -> None:
    """Connect the components of the page with the event handlers."""
    input_image, tabs, peak, error = page.input_image, page.tabs, page.sliders[2], gr.State("")
    # gradio would open the file itself and only show "Error" for unreadable files.
    input_image.preprocess = _upload_path  # type: ignore[method-assign, assignment]
    results = [page.message, tabs.people, page.table, page.json_button, page.coco_button]
    update = events.update, [error, *page.sliders], results
    heatmaps = events.heatmaps, tabs.heatmaps_part, tabs.heatmaps
    tags = events.tags, [tabs.tags_part, peak], tabs.tags
    analyzed = input_image.change(
        events.analyze, input_image, error, show_progress_on=tabs.people, **_NETWORK_OPTIONS
    )
    analyzed.then(*update, **_REDRAW_OPTIONS).then(*heatmaps, **_REDRAW_OPTIONS).then(
        *tags, **_REDRAW_OPTIONS
    )
    gr.on([slider.change for slider in page.sliders], *update, **_REDRAW_OPTIONS)
    tabs.heatmaps_part.change(*heatmaps, **_REDRAW_OPTIONS)
    gr.on([tabs.tags_part.change, peak.change], *tags, **_REDRAW_OPTIONS)


def _upload_path(upload: ImageData | None) -> str | None:
    """Return the path of an upload; gradio has checked that it lies in the upload folder."""
    return upload.path if upload else None


def _session_id(request: gr.Request) -> str:
    """Return the id of the open page that sent the request."""
    return str(request.session_hash)

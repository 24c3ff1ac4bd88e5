"""This file says what happens when something is put in or changed on the page."""

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
from tagpose.app.viewer import PoseViewer, Thresholds

# The network has one image at a time; the others wait in line.
_NETWORK_OPTIONS: Final[Mapping[str, Any]] = MappingProxyType(
    {"api_visibility": "private", "concurrency_id": "network", "concurrency_limit": 1}
)
_REDRAW_OPTIONS: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "api_visibility": "private",
        "concurrency_id": "redraw",
        "concurrency_limit": 4,
        "show_progress": "minimal",
        "trigger_mode": "always_last",  # while a slider is moved, its last place counts
    }
)
_QUALITY: Final = 92  # of JPEG; with colors in full detail, as lines are a few pixels wide


@dataclass(frozen=True)
class EventHandlers:
    """What the page asks of the viewer, in the files and words that it shows.

    Attributes:
        viewer: that is asked.
        folder: of the files that the page shows; whoever serves it empties it.
    """

    viewer: PoseViewer
    folder: str

    def analyze(self, file: str | None, request: gr.Request) -> str:
        """What stands against a picture, or nothing."""
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
        """Words, picture, table and files."""
        if error:
            return (
                f'<span class="error">{escape(error)}</span>',
                None,
                "",
                *2 * (_disabled_button(),),
            )
        chosen = Thresholds(person, keypoint, peak, distance, people)
        output = self.viewer.update(_session_id(request), chosen)
        if output.result is None:
            return escape(output.message), None, "", *2 * (_disabled_button(),)
        named, coco = output.result.to_dict(), output.result.to_coco()
        files = (self._write_json(named, "people.json"), self._write_json(coco, "results.json"))
        return (
            escape(output.message),
            self._write_jpeg(output.image),
            people_html_table(output.result),
            *files,
        )

    def heatmaps(self, part: str, request: gr.Request) -> str | None:
        """A picture's file."""
        return self._write_jpeg(self.viewer.heatmaps(_session_id(request), part))

    def tags(self, part: str, peak: float, request: gr.Request) -> str | None:
        """A picture's file."""
        return self._write_jpeg(self.viewer.tags(_session_id(request), part, peak))

    def close_session(self, request: gr.Request) -> None:
        """Forget the picture of somebody who closed the page."""
        self.viewer.cache.remove(_session_id(request))

    def _write_jpeg(self, picture: np.ndarray | None) -> str | None:
        """The file of a picture."""
        if picture is None:
            return None
        file = BytesIO()
        Image.fromarray(picture).save(file, "JPEG", quality=_QUALITY, subsampling=0)
        return save_bytes_to_cache(file.getvalue(), "tagpose.jpg", self.folder)

    def _write_json(self, content: Any, name: str) -> Any:
        """A button that hands out a JSON file."""
        file = json.dumps(content, allow_nan=False).encode()
        path = save_bytes_to_cache(file, name, self.folder)
        return gr.DownloadButton(value=path, interactive=True)


def connect_events(events: EventHandlers, page: AppComponents) -> None:
    """Connect the page that is open with its events."""
    input_image, tabs, peak, error = page.input_image, page.tabs, page.sliders[2], gr.State("")
    # gradio would open the file itself, and say no more than "Error" of what it cannot read
    input_image.preprocess = _path  # type: ignore[method-assign, assignment]
    results = [page.message, tabs.people, page.table, page.json_button, page.coco_button]
    show = events.update, [error, *page.sliders], results
    heatmaps = events.heatmaps, tabs.heatmaps_part, tabs.heatmaps
    tags = events.tags, [tabs.tags_part, peak], tabs.tags
    analyzed = input_image.change(
        events.analyze, input_image, error, show_progress_on=tabs.people, **_NETWORK_OPTIONS
    )
    analyzed.then(*show, **_REDRAW_OPTIONS).then(*heatmaps, **_REDRAW_OPTIONS).then(
        *tags, **_REDRAW_OPTIONS
    )
    gr.on([slider.change for slider in page.sliders], *show, **_REDRAW_OPTIONS)
    tabs.heatmaps_part.change(*heatmaps, **_REDRAW_OPTIONS)
    gr.on([tabs.tags_part.change, peak.change], *tags, **_REDRAW_OPTIONS)


def _path(given: ImageData | None) -> str | None:
    """Where gradio laid what was put in; it has seen to it that nothing else is named."""
    return given.path if given else None


def _disabled_button() -> Any:
    """A button that has nothing to hand out."""
    return gr.DownloadButton(value=None, interactive=False)


def _session_id(request: gr.Request) -> str:
    """Who asks: one page that is open."""
    return str(request.session_hash)

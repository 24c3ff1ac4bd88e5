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

from tagpose.page.layout import Page
from tagpose.page.viewer import Thresholds, Viewer
from tagpose.page.words import table

# The network has one image at a time; the others wait in line.
_NETWORK: Final[Mapping[str, Any]] = MappingProxyType(
    {"api_visibility": "private", "concurrency_id": "network", "concurrency_limit": 1}
)
_REDRAW: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "api_visibility": "private",
        "concurrency_id": "redraw",
        "concurrency_limit": 4,
        "show_progress": "minimal",
        "trigger_mode": "always_last",  # while a slider is moved, its last place counts
    }
)
_QUALITY: Final = 92  # of JPEG; with colours in full detail, as lines are a few pixels wide


@dataclass(frozen=True)
class Events:
    """What the page asks of the viewer, in the files and words that it shows.

    Attributes:
        viewer: that is asked.
        folder: of the files that the page shows; whoever serves it empties it.
    """

    viewer: Viewer
    folder: str

    def look(self, file: str | None, request: gr.Request) -> str:
        """What stands against a picture, or nothing."""
        return self.viewer.look(_visitor(request), Path(file) if file else None)

    def show(
        self,
        trouble: str,
        person: float,
        keypoint: float,
        peak: float,
        distance: float,
        people: float,
        request: gr.Request,
    ) -> tuple[Any, ...]:
        """Words, picture, table and files."""
        if trouble:
            return f'<span class="trouble">{escape(trouble)}</span>', None, "", *2 * (_nothing(),)
        chosen = Thresholds(person, keypoint, peak, distance, people)
        shown = self.viewer.show(_visitor(request), chosen)
        if shown.found is None:
            return escape(shown.words), None, "", *2 * (_nothing(),)
        plain, official = shown.found.to_dict(), shown.found.to_coco()
        files = (self._json(plain, "people.json"), self._json(official, "results.json"))
        return escape(shown.words), self._picture(shown.picture), table(shown.found), *files

    def heatmaps(self, part: str, request: gr.Request) -> str | None:
        """A picture's file."""
        return self._picture(self.viewer.heatmaps(_visitor(request), part))

    def tags(self, part: str, peak: float, request: gr.Request) -> str | None:
        """A picture's file."""
        return self._picture(self.viewer.tags(_visitor(request), part, peak))

    def leave(self, request: gr.Request) -> None:
        """Forget the picture of somebody who closed the page."""
        self.viewer.kept.drop(_visitor(request))

    def _picture(self, picture: np.ndarray | None) -> str | None:
        """The file of a picture."""
        if picture is None:
            return None
        file = BytesIO()
        Image.fromarray(picture).save(file, "JPEG", quality=_QUALITY, subsampling=0)
        return save_bytes_to_cache(file.getvalue(), "tagpose.jpg", self.folder)

    def _json(self, content: Any, name: str) -> Any:
        """A button that hands out a JSON file."""
        file = json.dumps(content, allow_nan=False).encode()
        path = save_bytes_to_cache(file, name, self.folder)
        return gr.DownloadButton(value=path, interactive=True)


def listen(events: Events, page: Page) -> None:
    """Connect the page that is open with its events."""
    given, tabs, peak, trouble = page.given, page.tabs, page.sliders[2], gr.State("")
    # gradio would open the file itself, and say no more than "Error" of what it cannot read
    given.preprocess = _path  # type: ignore[method-assign, assignment]
    results = [page.words, tabs.people, page.table, page.plain, page.official]
    show = events.show, [trouble, *page.sliders], results
    heatmaps = events.heatmaps, tabs.heatmaps_part, tabs.heatmaps
    tags = events.tags, [tabs.tags_part, peak], tabs.tags
    looked = given.change(events.look, given, trouble, show_progress_on=tabs.people, **_NETWORK)
    looked.then(*show, **_REDRAW).then(*heatmaps, **_REDRAW).then(*tags, **_REDRAW)
    gr.on([slider.change for slider in page.sliders], *show, **_REDRAW)
    tabs.heatmaps_part.change(*heatmaps, **_REDRAW)
    gr.on([tabs.tags_part.change, peak.change], *tags, **_REDRAW)


def _path(given: ImageData | None) -> str | None:
    """Where gradio laid what was put in; it has seen to it that nothing else is named."""
    return given.path if given else None


def _nothing() -> Any:
    """A button that has nothing to hand out."""
    return gr.DownloadButton(value=None, interactive=False)


def _visitor(request: gr.Request) -> str:
    """Who asks: one page that is open."""
    return str(request.session_hash)

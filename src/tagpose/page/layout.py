"""This file lays out the page."""

from html import escape
from typing import Final, NamedTuple

import gradio as gr

from tagpose.evaluation.table import part_titles
from tagpose.page.viewer import MOST_PEOPLE, Thresholds, Viewer
from tagpose.skeleton import Skeleton

_FARTHEST: Final = 4.0  # between tags; training drives those of two people 1 and more apart
_STEP: Final = 0.01  # of the other sliders
_STATUS: Final = '<p role="status">${value}</p>'  # a screen reader says it when it changes


class Tabs(NamedTuple):
    """The pictures that are shown, one at a time."""

    people: gr.Image
    heatmaps: gr.Image
    heatmaps_part: gr.Radio
    tags: gr.Image
    tags_part: gr.Radio


class Page(NamedTuple):
    """What is on the page and changes, or changes something."""

    given: gr.Image
    words: gr.HTML
    tabs: Tabs
    table: gr.HTML
    plain: gr.DownloadButton
    official: gr.DownloadButton
    sliders: tuple[gr.Slider, ...]  # as `Thresholds` has them


def lay_out(viewer: Viewer, start: Thresholds) -> Page:
    """Put everything on the page that is open; returns what its events are about.

    Args:
        viewer: says of what network and skeleton the page is.
        start: the thresholds at first.
    """
    network, skeleton = viewer.predictor.network, viewer.skeleton
    about = f"{network.architecture}, skeleton {skeleton.name}: {skeleton.size} keypoints"
    gr.HTML(f"<h1>tagpose</h1><p>{escape(about)}</p>", elem_id="head")
    with gr.Row(elem_id="desk"):
        with gr.Column(elem_classes="side"):
            with gr.Column(elem_id="given"):
                given = _given()
                words = gr.HTML(viewer.invitation, html_template=_STATUS, elem_id="words")
            with gr.Column(elem_id="chosen"):
                sliders = sliders_of(start)
        with gr.Column(elem_classes="side"):
            with gr.Column(elem_id="found"):
                tabs = _tabs(skeleton)
            with gr.Column(elem_id="listed"):
                table = gr.HTML(elem_id="people")
                with gr.Row():
                    plain = _download("JSON by names", "plain")
                    official = _download("JSON in COCO's result format", "official")
    return Page(given, words, tabs, table, plain, official, sliders)


def _given() -> gr.Image:
    """Where a picture is put in."""
    return gr.Image(
        label="picture",
        type="filepath",
        sources=["upload", "clipboard", "webcam"],
        webcam_options=gr.WebcamOptions(mirror=False),  # left is left
        buttons=[],
        height=300,
        elem_id="picture",
    )


def _tabs(skeleton: Skeleton) -> Tabs:
    """One tab for each kind of picture."""
    with gr.Tabs():
        with gr.Tab("People"):
            people = _shown("People, numbered as in the table.")
        with gr.Tab("Heatmaps"):
            heatmaps_part = _choice(skeleton)
            heatmaps = _shown("Where keypoints are, in the colour of their part.")
        with gr.Tab("Tags"):
            tags_part = _choice(skeleton)
            tags = _shown("Whose they are: what has one colour belongs to one person.")
    return Tabs(people, heatmaps, heatmaps_part, tags, tags_part)


def _shown(caption: str) -> gr.Image:
    """A picture that is only looked at, under its caption."""
    gr.HTML(f"<p>{escape(caption)}</p>", elem_classes="caption")
    return gr.Image(
        alt_text=caption,
        type="filepath",
        show_label=False,  # it would hide a corner
        interactive=False,
        buttons=["download", "fullscreen"],
        elem_classes="shown",
    )


def _choice(skeleton: Skeleton) -> gr.Radio:
    """Which part is shown; at first all of them."""
    parts = [(title, part) for part, title in part_titles(skeleton.parts).items()]
    return gr.Radio(parts, value=list(skeleton.parts)[-1], label="part", visible=len(parts) > 1)


def _download(label: str, name: str) -> gr.DownloadButton:
    """What has nothing to download yet."""
    return gr.DownloadButton(label, interactive=False, size="sm", elem_id=name)


def sliders_of(start: Thresholds) -> tuple[gr.Slider, ...]:
    """One for each of the thresholds."""
    rows: tuple[tuple[float, float, str, str], ...] = (
        (0, 1, "person score", "people below are left out"),
        (0, 1, "keypoint score", "keypoints below are left out"),
        (0, 1, "peak score", "peaks of heatmaps below are left out"),
        (_STEP, _FARTHEST, "tag distance", "of a peak from its person at most"),
        (1, MOST_PEOPLE, "people", "at most, the best ones"),
    )
    return tuple(
        gr.Slider(low, max(high, value), value, step=low or _STEP, label=label, info=info)
        for (low, high, label, info), value in zip(rows, start, strict=True)
    )

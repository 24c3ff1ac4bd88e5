"""This file lays out the page."""

from html import escape
from typing import Final, NamedTuple

import gradio as gr

from tagpose.app.viewer import MAX_PEOPLE, PoseViewer, Thresholds
from tagpose.evaluation.score_tables import part_titles
from tagpose.skeletons.skeleton import Skeleton

_MAX_TAG_DISTANCE: Final = 4.0  # between tags; training drives those of two people 1 and more apart
_STEP: Final = 0.01  # of the other sliders
_STATUS: Final = '<p role="status">${value}</p>'  # a screen reader says it when it changes


class Tabs(NamedTuple):
    """The pictures that are shown, one at a time."""

    people: gr.Image
    heatmaps: gr.Image
    heatmaps_part: gr.Radio
    tags: gr.Image
    tags_part: gr.Radio


class AppComponents(NamedTuple):
    """What is on the page and changes, or changes something."""

    input_image: gr.Image
    message: gr.HTML
    tabs: Tabs
    table: gr.HTML
    json_button: gr.DownloadButton
    coco_button: gr.DownloadButton
    sliders: tuple[gr.Slider, ...]  # as `Thresholds` has them


def build_layout(viewer: PoseViewer, start: Thresholds) -> AppComponents:
    """Put everything on the page that is open; returns what its events are about.

    Args:
        viewer: says of what network and skeleton the page is.
        start: the thresholds at first.
    """
    network, skeleton = viewer.predictor.network, viewer.skeleton
    about = f"{network.architecture}, skeleton {skeleton.name}: {skeleton.size} keypoints"
    gr.HTML(f"<h1>tagpose</h1><p>{escape(about)}</p>", elem_id="header")
    with gr.Row(elem_id="main"):
        with gr.Column(elem_classes="column"):
            with gr.Column(elem_id="input"):
                given = _image_input()
                words = gr.HTML(viewer.prompt, html_template=_STATUS, elem_id="message")
            with gr.Column(elem_id="thresholds"):
                sliders = make_sliders(start)
        with gr.Column(elem_classes="column"):
            with gr.Column(elem_id="output"):
                tabs = _tabs(skeleton)
            with gr.Column(elem_id="results"):
                table = gr.HTML(elem_id="people")
                with gr.Row():
                    plain = _download_button("JSON by names", "json-download")
                    official = _download_button("JSON in COCO's result format", "coco-download")
    return AppComponents(given, words, tabs, table, plain, official, sliders)


def _image_input() -> gr.Image:
    """Where a picture is put in."""
    return gr.Image(
        label="picture",
        type="filepath",
        sources=["upload", "clipboard", "webcam"],
        webcam_options=gr.WebcamOptions(mirror=False),  # left is left
        buttons=[],
        height=300,
        elem_id="image",
    )


def _tabs(skeleton: Skeleton) -> Tabs:
    """One tab for each kind of picture."""
    with gr.Tabs():
        with gr.Tab("Poses"):
            people = _image_output("People, numbered as in the table.")
        with gr.Tab("Heatmaps"):
            heatmaps_part = _part_choice(skeleton)
            heatmaps = _image_output("Where keypoints are, in the color of their part.")
        with gr.Tab("Tags"):
            tags_part = _part_choice(skeleton)
            tags = _image_output("Whose they are: what has one color belongs to one person.")
    return Tabs(people, heatmaps, heatmaps_part, tags, tags_part)


def _image_output(caption: str) -> gr.Image:
    """A picture that is only looked at, under its caption."""
    gr.HTML(f"<p>{escape(caption)}</p>", elem_classes="caption")
    return gr.Image(
        alt_text=caption,
        type="filepath",
        show_label=False,  # it would hide a corner
        interactive=False,
        buttons=["download", "fullscreen"],
        elem_classes="view",
    )


def _part_choice(skeleton: Skeleton) -> gr.Radio:
    """Which part is shown; at first all of them."""
    parts = [(title, part) for part, title in part_titles(skeleton.parts).items()]
    return gr.Radio(parts, value=list(skeleton.parts)[-1], label="part", visible=len(parts) > 1)


def _download_button(label: str, name: str) -> gr.DownloadButton:
    """What has nothing to download yet."""
    return gr.DownloadButton(label, interactive=False, size="sm", elem_id=name)


def make_sliders(start: Thresholds) -> tuple[gr.Slider, ...]:
    """One for each of the thresholds."""
    rows: tuple[tuple[float, float, str, str], ...] = (
        (0, 1, "person score", "people below are left out"),
        (0, 1, "keypoint score", "keypoints below are left out"),
        (0, 1, "peak score", "peaks of heatmaps below are left out"),
        (_STEP, _MAX_TAG_DISTANCE, "tag distance", "of a peak from its person at most"),
        (1, MAX_PEOPLE, "people", "at most, the best ones"),
    )
    return tuple(
        gr.Slider(low, max(high, value), value, step=low or _STEP, label=label, info=info)
        for (low, high, label, info), value in zip(rows, start, strict=True)
    )

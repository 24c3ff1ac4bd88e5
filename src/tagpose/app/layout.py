"""Layout of the app's page."""

from html import escape
from typing import Final, NamedTuple

import gradio as gr

from tagpose.app.viewer import MAX_PEOPLE, PoseViewer, ViewerThresholds
from tagpose.evaluation.score_tables import part_titles
from tagpose.skeletons.skeleton import Skeleton

_MAX_TAG_DISTANCE: Final = 4.0  # training pushes the tags of two people at least 1 apart
_STEP: Final = 0.01  # of sliders with fractional values
_STATUS: Final = '<p role="status">${value}</p>'  # screen readers announce changes


class Tabs(NamedTuple):
    """Output images, one per tab, and the part selections of two of them."""

    people: gr.Image
    heatmaps: gr.Image
    heatmaps_part: gr.Radio
    tags: gr.Image
    tags_part: gr.Radio


class AppComponents(NamedTuple):
    """Components of the page that have events or change."""

    input_image: gr.Image
    message: gr.HTML
    tabs: Tabs
    table: gr.HTML
    json_button: gr.DownloadButton
    coco_button: gr.DownloadButton
    sliders: tuple[gr.Slider, ...]  # in the order of `ViewerThresholds`


def build_layout(viewer: PoseViewer, start: ViewerThresholds) -> AppComponents:
    """Create the components in the current gradio context.

    Args:
        viewer: viewer of the network that the page describes.
        start: initial thresholds.
    """
    network, skeleton = viewer.predictor.network, viewer.skeleton
    subtitle = f"{network.architecture}, skeleton {skeleton.name}: {skeleton.size} keypoints"
    gr.HTML(f"<h1>tagpose</h1><p>{escape(subtitle)}</p>", elem_id="header")
    with gr.Row(elem_id="main"):
        with gr.Column(elem_classes="column"):
            with gr.Column(elem_id="input"):
                input_image = _image_input()
                message = gr.HTML(viewer.prompt, html_template=_STATUS, elem_id="message")
            with gr.Column(elem_id="thresholds"):
                sliders = make_sliders(start)
        with gr.Column(elem_classes="column"):
            with gr.Column(elem_id="output"):
                tabs = _tabs(skeleton)
            with gr.Column(elem_id="results"):
                table = gr.HTML(elem_id="people")
                with gr.Row():
                    json_button = _download_button("JSON with keypoint names", "json-download")
                    coco_button = _download_button("JSON in COCO result format", "coco-download")
    return AppComponents(input_image, message, tabs, table, json_button, coco_button, sliders)


def _image_input() -> gr.Image:
    """Return the component for uploads."""
    return gr.Image(
        label="image",
        type="filepath",
        sources=["upload", "clipboard", "webcam"],
        webcam_options=gr.WebcamOptions(mirror=False),  # otherwise left and right are swapped
        buttons=[],
        height=300,
        elem_id="image",
    )


def _tabs(skeleton: Skeleton) -> Tabs:
    """Return tabs for poses, heatmaps and tags."""
    with gr.Tabs():
        with gr.Tab("Poses"):
            people = _image_output("People, numbered as in the table.")
        with gr.Tab("Heatmaps"):
            heatmaps_part = _part_choice(skeleton)
            heatmaps = _image_output("Positions of keypoints, in the color of their part.")
        with gr.Tab("Tags"):
            tags_part = _part_choice(skeleton)
            tags = _image_output("Grouping: keypoints of the same color belong to one person.")
    return Tabs(people, heatmaps, heatmaps_part, tags, tags_part)


def _image_output(caption: str) -> gr.Image:
    """Return a read-only image below its caption."""
    gr.HTML(f"<p>{escape(caption)}</p>", elem_classes="caption")
    return gr.Image(
        alt_text=caption,
        type="filepath",
        show_label=False,  # the label would cover a corner of the image
        interactive=False,
        buttons=["download", "fullscreen"],
        elem_classes="view",
    )


def _part_choice(skeleton: Skeleton) -> gr.Radio:
    """Return the selection of a part, initially the last one, which contains all keypoints."""
    parts = [(title, part) for part, title in part_titles(skeleton.parts).items()]
    return gr.Radio(parts, value=list(skeleton.parts)[-1], label="part", visible=len(parts) > 1)


def _download_button(label: str, name: str) -> gr.DownloadButton:
    """Return a download button that is disabled until there are results."""
    return gr.DownloadButton(label, interactive=False, size="sm", elem_id=name)


def make_sliders(start: ViewerThresholds) -> tuple[gr.Slider, ...]:
    """Return a slider for each threshold."""
    rows: tuple[tuple[float, float, str, str], ...] = (
        (0, 1, "person score", "hide people with lower scores"),
        (0, 1, "keypoint score", "hide keypoints with lower scores"),
        (0, 1, "peak score", "ignore heatmap peaks with lower values"),
        (_STEP, _MAX_TAG_DISTANCE, "tag distance", "maximum between a peak and its person"),
        (1, MAX_PEOPLE, "people", "maximum number, highest scores first"),
    )
    return tuple(
        gr.Slider(low, max(high, value), value, step=low or _STEP, label=label, info=info)
        for (low, high, label, info), value in zip(rows, start, strict=True)
    )

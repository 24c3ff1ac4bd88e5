"""Widgets of the app for thresholds, parts, drawing style and formats."""

from typing import Final

import gradio as gr

from tagpose.app.settings import DRAWING_SWITCHES, MAX_PEOPLE, ViewerThresholds
from tagpose.evaluation.score_tables import part_titles
from tagpose.inference.image_outputs import OUTPUT_FORMATS, OutputOptions
from tagpose.skeletons.skeleton import Skeleton
from tagpose.visualization.visualizer import STYLE_CHOICES

_MAX_TAG_DISTANCE: Final = 4.0  # training pushes the tags of two people at least 1 apart
_MIN_LINE_WIDTH: Final = 0.25
_MAX_LINE_WIDTH: Final = 4.0
_STEP: Final = 0.01  # of sliders with fractional values
_SWITCH_TITLES: Final = ("boxes", "numbers", "blurred faces")


def make_sliders(start: ViewerThresholds) -> tuple[gr.Slider, ...]:
    """Return a slider for each threshold."""
    rows: tuple[tuple[float, float, str, str], ...] = (
        (0, 1, "person score", "hide people with lower scores"),
        (0, 1, "keypoint score", "hide keypoints with lower scores"),
        (0, 1, "peak score", "ignore heatmap peaks with lower values"),
        (_STEP, _MAX_TAG_DISTANCE, "tag distance", "maximum distance of a peak from its person"),
        (1, MAX_PEOPLE, "people", "maximum number, highest scores first"),
    )
    return tuple(
        gr.Slider(low, max(high, value), value, step=low or _STEP, label=label, info=info)
        for (low, high, label, info), value in zip(rows, start, strict=True)
    )


def make_drawing_inputs(
    skeleton: Skeleton, start: OutputOptions
) -> tuple[gr.components.Component, ...]:
    """Return the inputs of `DrawingChoices`; boxes and numbers are drawn unless they are false."""
    style, parts = start.style, skeleton.disjoint_parts
    selected = skeleton.keypoint_mask(start.result_filter.parts)
    parts_input = gr.CheckboxGroup(
        [(title, part) for part, title in part_titles(parts).items()],
        value=[part for part, at in parts.items() if selected[at].all()],
        label="parts",
        visible=len(parts) > 1,
    )
    with gr.Row():
        color_by, background = (
            gr.Radio(list(choices), value=getattr(style, name), label=name.replace("_", " "))
            for name, choices in STYLE_CHOICES.items()
        )
    with gr.Row():
        drawn = gr.CheckboxGroup(
            list(zip(_SWITCH_TITLES, DRAWING_SWITCHES, strict=True)),
            value=[name for name in DRAWING_SWITCHES if getattr(style, name) is not False],
            label="draw",
            scale=3,
        )
        line_width = gr.Slider(
            _MIN_LINE_WIDTH,
            max(_MAX_LINE_WIDTH, style.line_width),
            style.line_width,
            step=_MIN_LINE_WIDTH,
            label="line width",
            scale=2,
        )
    formats = gr.CheckboxGroup(
        list(OUTPUT_FORMATS),
        value=list(start.formats),
        label="formats of downloaded files",
        elem_id="formats",
    )
    return parts_input, color_by, background, drawn, line_width, formats

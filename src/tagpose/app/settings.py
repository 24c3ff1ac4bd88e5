"""Settings that users change on the page: thresholds, drawing style and formats."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from tagpose.codec.decoder import AssociativeEmbeddingDecoder
from tagpose.inference.image_outputs import OutputOptions

MAX_PEOPLE: Final = 100  # upper limit of the slider; decoding thousands of people takes a minute
DRAWN_MARKS: Final = ("boxes", "ids", "blur_faces")  # options of `PoseVisualizer` with check boxes


class ViewerThresholds(NamedTuple):
    """Thresholds that users can set, in the order of the sliders."""

    min_person_score: float  # people with lower scores are hidden
    min_keypoint_score: float  # keypoints with lower scores are hidden
    min_score: float  # heatmap value of a peak
    max_tag_distance: float  # between a peak and its person
    max_people: float  # per image, highest scores first

    def apply(self, decoder: AssociativeEmbeddingDecoder) -> AssociativeEmbeddingDecoder:
        """Return a decoder with these thresholds."""
        return replace(
            decoder,
            grouping=replace(decoder.grouping, max_tag_distance=self.max_tag_distance),
            min_score=self.min_score,
            max_people=int(self.max_people),
        )


class DrawingChoices(NamedTuple):
    """Drawing options and formats that users can set, in the order of the page."""

    parts: Sequence[str]  # parts that are drawn and written
    color_by: str
    background: str
    marks: Sequence[str]  # those of `DRAWN_MARKS` that are drawn
    line_width: float
    formats: Sequence[str]  # formats of downloads


class ViewerSettings(NamedTuple):
    """Thresholds, and options of pictures and files."""

    thresholds: ViewerThresholds
    output: OutputOptions


def make_settings(
    thresholds: ViewerThresholds, output: OutputOptions, choices: DrawingChoices | None = None
) -> ViewerSettings:
    """Return the settings for values of the page.

    Args:
        thresholds: values of the sliders.
        output: options that the page does not change.
        choices: values of the other inputs; None keeps those of `output`.
    """
    if choices is not None:
        style = replace(
            output.style,
            color_by=choices.color_by,
            background=choices.background,
            line_width=choices.line_width,
            **{mark: mark in choices.marks for mark in DRAWN_MARKS},
        )
        result_filter = output.result_filter._replace(parts=choices.parts)
        output = output._replace(formats=choices.formats, style=style, result_filter=result_filter)
    result_filter = output.result_filter._replace(
        min_person_score=thresholds.min_person_score,
        min_keypoint_score=thresholds.min_keypoint_score,
    )
    return ViewerSettings(thresholds, output._replace(result_filter=result_filter))

"""Settings that users change on the page: thresholds, drawing style and formats."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from tagpose.codec.decoder import AssociativeEmbeddingDecoder
from tagpose.inference.image_outputs import OutputOptions

MAX_PEOPLE: Final = 100  # upper limit of the slider; decoding thousands of people takes a minute
DRAWING_SWITCHES: Final = ("boxes", "ids", "blur_faces")  # options of `PoseVisualizer`


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
    drawn: Sequence[str]  # those of `DRAWING_SWITCHES` that are on
    line_width: float
    formats: Sequence[str]  # formats of downloads

    def apply(self, output: OutputOptions) -> OutputOptions:
        """Return output options with these choices."""
        style = replace(
            output.style,
            color_by=self.color_by,
            background=self.background,
            line_width=self.line_width,
            **{switch: switch in self.drawn for switch in DRAWING_SWITCHES},
        )
        result_filter = output.result_filter._replace(parts=self.parts)
        return output._replace(formats=self.formats, style=style, result_filter=result_filter)


class ViewerSettings(NamedTuple):
    """Thresholds, and options of pictures and files."""

    thresholds: ViewerThresholds
    output: OutputOptions  # its filter has the same thresholds


def make_settings(thresholds: ViewerThresholds, output: OutputOptions) -> ViewerSettings:
    """Return settings whose pictures and files have the people and keypoints of the thresholds."""
    result_filter = output.result_filter._replace(
        min_person_score=thresholds.min_person_score,
        min_keypoint_score=thresholds.min_keypoint_score,
    )
    return ViewerSettings(thresholds, output._replace(result_filter=result_filter))

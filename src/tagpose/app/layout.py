"""Layout and theme of the app's page."""

from html import escape
from typing import Final, NamedTuple

import gradio as gr

from tagpose.app.settings import ViewerSettings
from tagpose.app.viewer import PoseViewer
from tagpose.app.widgets import make_drawing_inputs, make_sliders
from tagpose.data.image_files import IMAGE_EXTENSIONS
from tagpose.evaluation.score_tables import part_titles
from tagpose.skeletons.skeleton import Skeleton

_WEBCAM: Final = gr.WebcamOptions(mirror=False)  # otherwise left and right are swapped
_STATUS: Final = '<p role="status">${value}</p>'  # screen readers announce changes

# Fonts of the user's machine, because web fonts would be downloaded from other servers.
_FONT: Final = ("system-ui", "sans-serif")
_MONOSPACE: Final = ("ui-monospace", "monospace")


class Inputs(NamedTuple):
    """Inputs for images and videos, and the tabs that contain them."""

    image_tabs: tuple[gr.Tab, ...]
    video_tab: gr.Tab
    files: gr.File
    camera: gr.Image
    choice: gr.Dropdown  # of the image to show, if there are several
    video: gr.Video
    smooth: gr.Checkbox
    start: gr.Button
    stop: gr.Button


class Tabs(NamedTuple):
    """Output images, one per tab, and the part selections of two of them."""

    people: gr.Image
    heatmaps: gr.Image
    heatmaps_part: gr.Radio
    tags: gr.Image
    tags_part: gr.Radio


class Downloads(NamedTuple):
    """Download buttons for images."""

    row: gr.Row
    picture: gr.Button
    image: gr.Button
    all_images: gr.Button
    prepared: gr.DownloadButton  # invisible; has the file that a button prepared


class AppComponents(NamedTuple):
    """Components of the page that have events or change."""

    inputs: Inputs
    message: gr.HTML
    sliders: tuple[gr.Slider, ...]  # in the order of `ViewerThresholds`
    drawing: tuple[gr.components.Component, ...]  # in the order of `DrawingChoices`
    image_output: gr.Column
    tabs: Tabs
    table: gr.HTML
    downloads: Downloads
    video_output: gr.Column
    drawn_video: gr.Video
    video_download: gr.DownloadButton


def build_layout(viewer: PoseViewer, start: ViewerSettings, *, smooth: bool) -> AppComponents:
    """Create the components in the current gradio context.

    Args:
        viewer: viewer of the network that the page describes.
        start: initial settings.
        smooth: whether keypoints in videos are initially smoothed.
    """
    network, skeleton = viewer.predictor.network, viewer.skeleton
    subtitle = f"{network.architecture}, skeleton {skeleton.name}: {skeleton.size} keypoints"
    gr.HTML(f"<h1>tagpose</h1><p>{escape(subtitle)}</p>", elem_id="header")
    with gr.Row(elem_id="main"):
        with gr.Column(elem_classes="column"):
            with gr.Column(elem_id="input"):
                inputs = _inputs(smooth=smooth)
                message = gr.HTML(viewer.prompt, html_template=_STATUS, elem_id="message")
            with gr.Column(elem_id="thresholds"):
                sliders = make_sliders(start.thresholds)
        with gr.Column(elem_classes="column"):
            with gr.Column(elem_id="output") as image_output:
                tabs, table = _tabs(skeleton), gr.HTML(elem_id="people")
            with gr.Column(elem_id="video-output", visible=False) as video_output:
                drawn_video = _drawn_video()
            with gr.Column(elem_id="results"):
                drawing = make_drawing_inputs(skeleton, start.output)
                downloads, video_download = _downloads()
    return AppComponents(
        inputs,
        message,
        sliders,
        drawing,
        image_output,
        tabs,
        table,
        downloads,
        video_output,
        drawn_video,
        video_download,
    )


def make_theme() -> gr.themes.Base:
    """Return the theme, with more contrast for small text."""
    theme = gr.themes.Default(primary_hue="blue", font=_FONT, font_mono=_MONOSPACE)
    return theme.set(
        body_text_color_subdued="*neutral_600",
        block_info_text_color="*neutral_600",
        block_label_text_color="*neutral_700",
    )


def _inputs(*, smooth: bool) -> Inputs:
    """Return the tabs for files, the camera and videos."""
    with gr.Tabs():
        with gr.Tab("Images") as file_tab:
            files = gr.File(
                label="images",
                file_count="multiple",
                file_types=["image", *IMAGE_EXTENSIONS],
                height=200,
                elem_id="images",
            )
            choice = gr.Dropdown(label="image to show", visible=False, elem_id="choice")
        with gr.Tab("Camera") as camera_tab:
            camera = gr.Image(
                label="photo",
                type="filepath",
                sources=["webcam", "clipboard"],
                webcam_options=_WEBCAM,
                buttons=[],
                height=300,
                elem_id="camera",
            )
        with gr.Tab("Video") as video_tab:
            video = gr.Video(
                label="video file",
                sources=["upload", "webcam"],
                webcam_options=_WEBCAM,
                include_audio=True,
                buttons=[],
                height=300,
                elem_id="video",
            )
            smooth_box = gr.Checkbox(smooth, label="smooth", info="reduce jitter of keypoints")
            with gr.Row():
                start = gr.Button("Predict", variant="primary", elem_id="predict-video")
                stop = gr.Button("Stop", elem_id="stop-video")
    return Inputs(
        (file_tab, camera_tab), video_tab, files, camera, choice, video, smooth_box, start, stop
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


def _drawn_video() -> gr.Video:
    """Return the video with drawn poses below its caption."""
    gr.HTML("<p>People with their track numbers.</p>", elem_classes="caption")
    return gr.Video(
        show_label=False,
        interactive=False,
        buttons=["download"],
        elem_id="drawn-video",
        elem_classes="view",
    )


def _downloads() -> tuple[Downloads, gr.DownloadButton]:
    """Return the download buttons for images and for a video."""
    with gr.Row() as row:
        picture = gr.Button("Full-size picture", size="sm", elem_id="picture")
        image = gr.Button("Files of this image", size="sm", elem_id="image-files")
        all_images = gr.Button("Files of all images", size="sm", elem_id="all-files")
    prepared = gr.DownloadButton(elem_id="prepared")
    video = gr.DownloadButton(
        "Files of the video", interactive=False, visible=False, size="sm", elem_id="video-files"
    )
    return Downloads(row, picture, image, all_images, prepared), video

"""Event handlers of the app, which convert results to files and HTML."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from html import escape
from io import BytesIO
from pathlib import Path
from shutil import make_archive
from tempfile import TemporaryDirectory
from typing import Any, Final

import gradio as gr
import numpy as np
from gradio.processing_utils import save_bytes_to_cache, save_file_to_cache
from PIL import Image

from tagpose.app.rendering import format_sentence, people_html_table
from tagpose.app.sessions import IsStopped, RunningJobs
from tagpose.app.settings import DrawingChoices, ViewerSettings, ViewerThresholds, make_settings
from tagpose.app.uploads import keep_uploads, unique_names
from tagpose.app.video_processor import VideoProcessor
from tagpose.app.viewer import PoseViewer
from tagpose.inference.image_outputs import OutputOptions

_JPEG_QUALITY: Final = 92  # without chroma subsampling, because lines are a few pixels wide
_USER_ERRORS: Final = (ValueError, OSError, ImportError)  # ImportError: a format needs a package
_VIDEO: Final = "video"  # kinds of running jobs
_DOWNLOAD: Final = "download"
_PROGRESS: Final = gr.Progress()  # placeholder that gradio replaces


@dataclass(frozen=True)
class EventHandlers:
    """Gradio event handlers that convert the viewer's results to files and HTML.

    Handlers whose last arguments are `*values` receive the values of the sliders and of the drawing
    inputs.

    Attributes:
        viewer: viewer that computes the results of images.
        videos: processor of videos.
        output: options of files that the page does not change.
        folder: folder for images and downloads, deleted by the server.
        jobs: videos and downloads that are being written.
    """

    viewer: PoseViewer
    videos: VideoProcessor
    output: OutputOptions
    folder: str
    jobs: RunningJobs = field(default_factory=RunningJobs, init=False)

    def list_images(
        self, known: list[Path], files: list[Path], camera: Path | None
    ) -> tuple[list[Path], gr.Dropdown]:
        """Return all images, and the selection of one: the first new one, or else the first."""
        images = _all_images(files, camera)
        choices = [(str(name), index) for index, name in enumerate(unique_names(images).values())]
        new = (index for index, image in enumerate(images) if image not in known)
        index = next(new, 0) if images else None
        return images, gr.Dropdown(choices, value=index, visible=len(images) > 1)

    def analyze(self, request: gr.Request, images: list[Path], index: int | None) -> str:
        """Run the network on the selected image and return an error message, or ""."""
        keep_uploads(images)
        file = images[index] if index is not None and index < len(images) else None
        return self.viewer.analyze(_session_id(request), file)

    def update(self, request: gr.Request, error: str, *values: Any) -> tuple[Any, ...]:
        """Return message, image and table."""
        if error:
            return _error_html(error), None, ""
        output = self.viewer.update(_session_id(request), self._settings(values))
        if output.result is None:
            return escape(output.message), None, ""
        image = self._write_jpeg(output.image)
        return escape(output.message), image, people_html_table(output.result)

    def heatmaps(self, request: gr.Request, part: str) -> str | None:
        """Return the file of the heatmap image, or None."""
        return self._write_jpeg(self.viewer.heatmaps(_session_id(request), part))

    def tags(self, request: gr.Request, part: str, peak: float) -> str | None:
        """Return the file of the tag image, or None."""
        return self._write_jpeg(self.viewer.tags(_session_id(request), part, peak))

    def prepare_picture(self, request: gr.Request, *values: Any) -> tuple[Any, ...]:
        """Return a message and the file of the drawn picture in the size of the image."""
        settings = self._settings(values)
        settings = settings._replace(output=settings.output._replace(formats=["pictures"]))

        def write(folder: Path, _: IsStopped) -> tuple[str, Path]:
            self.viewer.write_image(_session_id(request), settings, folder)
            return "", next(file for file in folder.iterdir() if file.name != "images.json")

        return self._prepare(request, _DOWNLOAD, write)

    def prepare_image_files(self, request: gr.Request, *values: Any) -> tuple[Any, ...]:
        """Return a message and an archive of the files of the image that is shown."""

        def write(folder: Path, _: IsStopped) -> tuple[str, Path]:
            settings = self._file_settings(values)
            name = self.viewer.write_image(_session_id(request), settings, folder)
            return "", _archive(folder, name.stem)

        return self._prepare(request, _DOWNLOAD, write)

    def prepare_all_files(
        self, request: gr.Request, progress: gr.Progress = _PROGRESS, *values: Any
    ) -> tuple[Any, ...]:
        """Return a message and an archive of the files of all images."""
        images, *settings = values

        def write(folder: Path, is_stopped: IsStopped) -> tuple[str, Path]:
            if not images:
                raise ValueError(self.viewer.prompt)
            failures = self.viewer.write_images(
                images,
                self._file_settings(settings),
                folder,
                report=partial(_report, progress, "images"),
                is_stopped=is_stopped,
            )
            return "; ".join(failures), _archive(folder, "poses")

        return self._prepare(request, _DOWNLOAD, write)

    def predict_video(
        self, request: gr.Request, progress: gr.Progress = _PROGRESS, *values: Any
    ) -> tuple[Any, ...]:
        """Return a message, the drawn video and the button for the files of the video."""
        file, smooth, *setting_values = values
        settings, video = self._settings(setting_values), None
        formats = list(dict.fromkeys((*settings.output.formats, "pictures")))
        settings = settings._replace(output=settings.output._replace(formats=formats))

        def write(folder: Path, is_stopped: IsStopped) -> tuple[str, Path]:
            nonlocal video
            if not file:
                raise ValueError("there is no video; upload one first")
            source = Path(file)
            keep_uploads([source])
            message = self.videos.predict(
                source,
                settings,
                folder,
                smooth=smooth,
                report=partial(_report, progress, "frames"),
                is_stopped=is_stopped,
            )
            video = save_file_to_cache(folder / f"{source.stem}.mp4", self.folder)
            return message, _archive(folder, source.stem)

        message, archive = self._prepare(request, _VIDEO, write)
        return message, video, gr.DownloadButton(value=archive, interactive=archive is not None)

    def stop_video(self, request: gr.Request) -> None:
        """Stop the video that the page is processing."""
        self.jobs.stop(_session_id(request), _VIDEO)

    def close_session(self, request: gr.Request) -> None:
        """Remove the cached image of a page that was closed, and stop its video and download."""
        self.viewer.cache.remove(_session_id(request))
        for kind in (_VIDEO, _DOWNLOAD):
            self.jobs.stop(_session_id(request), kind)

    def _settings(self, values: Sequence[Any]) -> ViewerSettings:
        """Return the settings for the values of the sliders and of the drawing inputs."""
        count = len(ViewerThresholds._fields)
        thresholds, choices = ViewerThresholds(*values[:count]), DrawingChoices(*values[count:])
        return make_settings(thresholds, choices.apply(self.output))

    def _file_settings(self, values: Sequence[Any]) -> ViewerSettings:
        """Return the settings for writing files, or raise a ValueError without any format."""
        settings = self._settings(values)
        if not settings.output.formats:
            raise ValueError("no format is selected; select at least one")
        return settings

    def _prepare(
        self,
        request: gr.Request,
        kind: str,
        write: Callable[[Path, IsStopped], tuple[str, Path]],
    ) -> tuple[Any, str | None]:
        """Write files into a temporary folder and copy one of them to the downloads.

        Args:
            request: request of the page.
            kind: kind of job.
            write: writes files into a folder until it is stopped, and returns a message, or "",
                and the file to download.

        Returns:
            The message in HTML, or no change if it is "", and the path of the download; after an
            error its message and None.
        """
        try:
            with (
                self.jobs.run(_session_id(request), kind) as is_stopped,
                TemporaryDirectory(dir=self.folder) as temporary,
            ):
                message, file = write(Path(temporary, "files"), is_stopped)
                prepared = save_file_to_cache(file, self.folder)
                return escape(message) if message else gr.skip(), prepared
        except _USER_ERRORS as error:
            # the path of an upload on the server means nothing to the user
            message = re.sub(rf"{re.escape(self.folder)}/[^/]+/", "", str(error))
            return _error_html(format_sentence(message)), None

    def _write_jpeg(self, image: np.ndarray | None) -> str | None:
        """Write an image and return the path of its file."""
        if image is None:
            return None
        file = BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
        return save_bytes_to_cache(file.getvalue(), "tagpose.jpg", self.folder)


def _all_images(files: list[Path], camera: Path | None) -> list[Path]:
    """Return all images of the page, and keep their uploads."""
    images = list(dict.fromkeys([*files, camera] if camera else files))
    keep_uploads(images)
    return images


def _archive(folder: Path, name: str) -> Path:
    """Pack a folder into NAME.zip next to it."""
    return Path(make_archive(str(folder.with_name(name)), "zip", folder))


def _report(progress: gr.Progress, unit: str, done: int, total: int | None) -> None:
    """Show progress as a number of units."""
    progress((done, total), unit=unit)


def _error_html(message: str) -> str:
    """Return an error message in HTML."""
    return f'<span class="error">{escape(message)}</span>'


def _session_id(request: gr.Request) -> str:
    """Return the id of the open page that sent the request."""
    return str(request.session_hash)

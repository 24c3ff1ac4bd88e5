"""Viewer that runs the network once per image and renders it for any settings."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from tagpose.app.rendering import describe_result, format_sentence, render_heatmaps, render_tags
from tagpose.app.sessions import CachedImage, IsStopped, ReportProgress, SessionCache
from tagpose.app.settings import ViewerSettings
from tagpose.app.uploads import keep_uploads, read_upload, unique_names
from tagpose.codec.decoder import AssociativeEmbeddingDecoder
from tagpose.inference.batch_decoding import decode_batch
from tagpose.inference.image_outputs import write_image_outputs
from tagpose.inference.predictor import Predictor
from tagpose.inference.results import ImageResult, PoseResult
from tagpose.structures import KeypointMaps
from tagpose.visualization.canvas import resize_for_drawing

_MAX_DISPLAY_SIZE: Final = 1280  # pixels of the longer side of the displayed image
_MAX_ZOOM: Final = 4.0  # display pixels per image pixel; enlarging makes the drawn lines smooth


class ViewerOutput(NamedTuple):
    """Message, picture and people of an image."""

    message: str
    image: np.ndarray | None = None  # [h, w, 3] uint8 RGB
    result: PoseResult | None = None


class PoseViewer:
    """Run the network on uploaded images and render the outputs for given thresholds.

    Args:
        predictor: predictor of the network.
        cache: cache of the last image of each session.
        max_pixels: highest number of pixels of an image.
    """

    def __init__(self, predictor: Predictor, cache: SessionCache, max_pixels: int) -> None:
        self.predictor, self.cache, self.max_pixels = predictor, cache, max_pixels
        self.skeleton = predictor.skeleton

    def analyze(self, session_id: str, file: Path | None) -> str:
        """Run the network on an image and cache the outputs.

        Args:
            session_id: id of the session.
            file: path of the image; None removes the session's image.

        Returns:
            An error message if the image cannot be processed, else "".
        """
        self.cache.remove(session_id)
        try:
            if file is not None:
                image = read_upload(file, self.max_pixels)
                self.cache.put(session_id, run_network(image, self.predictor, file))
        except ValueError as error:
            return format_sentence(error)
        return ""

    def update(self, session_id: str, settings: ViewerSettings) -> ViewerOutput:
        """Decode and draw the session's image with these settings."""
        decoded = self._decode(session_id, settings)
        if decoded is None:
            return ViewerOutput(self.prompt)
        result, output = decoded.result(self.skeleton), settings.output
        selected = output.result_filter(result, "pictures")
        message = describe_result(
            selected,
            len(decoded.people.scores),
            settings.thresholds.min_person_score,
            decoded.network_seconds,
        )
        display_size = decoded.display_image.shape[1], decoded.display_image.shape[0]
        picture = output.draw(decoded.display_image, result.resize(display_size))
        return ViewerOutput(message, picture, selected)

    def write_image(self, session_id: str, settings: ViewerSettings, folder: Path) -> Path:
        """Write the output files of the session's image in its own size.

        Returns:
            The name of the image, which names the files.

        Raises:
            ValueError: there is no image, or its upload was deleted.
        """
        decoded = self._decode(session_id, settings)
        if decoded is None:
            raise ValueError(self.prompt)
        name, image = Path(decoded.file.name), read_upload(decoded.file, self.max_pixels)
        image_result = ImageResult(name, image, decoded.result(self.skeleton), None)
        write_image_outputs([image_result], [name], folder, settings.output)
        return name

    def write_images(
        self,
        files: Sequence[Path],
        settings: ViewerSettings,
        folder: Path,
        *,
        report: ReportProgress,
        is_stopped: IsStopped,
    ) -> list[str]:
        """Run the network on images and write their output files.

        Args:
            files: uploaded images.
            settings: thresholds, formats and style.
            folder: output folder.
            report: called after each image.
            is_stopped: called after each image; if true, the other images are skipped.

        Returns:
            Errors of images that cannot be read.
        """
        keep_uploads(files)
        names = unique_names(files)
        predictor = self.predictor.with_decoder(settings.thresholds.apply(self.predictor.decoder))

        def named_results() -> Iterator[ImageResult]:
            results = predictor.predict_iter(files, max_pixels=self.max_pixels)
            for done, result in enumerate(results, start=1):
                name, error = names[result.source], result.error
                if error is not None:
                    error = ValueError(str(error).replace(str(result.source), str(name)))
                yield result._replace(source=name, error=error)
                keep_uploads(files[done:])  # they may wait for a long time
                report(done, len(files))
                if is_stopped():
                    return

        sources = list(names.values())
        return write_image_outputs(named_results(), sources, folder, settings.output).failures

    def heatmaps(self, session_id: str, part: str) -> np.ndarray | None:
        """Draw the heatmaps of a part on the session's image, or return None without an image."""
        cached = self.cache.get(session_id)
        return None if cached is None else render_heatmaps(cached, self.skeleton, part)

    def tags(self, session_id: str, part: str, min_score: float) -> np.ndarray | None:
        """Draw the tags of a part on the session's image, or return None without an image."""
        cached = self.cache.get(session_id)
        if cached is None:
            return None
        tag_index = self.predictor.network.tag_index
        return render_tags(cached, self.skeleton, tag_index, part, min_score)

    @property
    def prompt(self) -> str:
        """Message for sessions without an image."""
        minutes = self.cache.max_idle_seconds / 60
        return f"Upload an image. It is deleted after {minutes:g} minutes without use."

    def _decode(self, session_id: str, settings: ViewerSettings) -> CachedImage | None:
        """Return the session's image decoded with these settings, or None without an image."""
        cached = self.cache.get(session_id)
        if cached is None:
            return None
        keep_uploads([cached.file])
        decoded = decode_again(cached, settings.thresholds.apply(self.predictor.decoder))
        self.cache.replace(session_id, cached, decoded)
        return decoded


def run_network(image: np.ndarray, predictor: Predictor, file: Path = Path()) -> CachedImage:
    """Run the network on an image and decode its outputs.

    Args:
        image: [H, W, 3] uint8 RGB.
        predictor: predictor of the network.
        file: file of the image.

    Raises:
        ValueError: the image is too narrow, or the network's outputs are not finite.
    """
    start = time.perf_counter()
    views = predictor.preprocess(image)
    keypoint_maps = predictor.predict_maps([view[None] for view in views.images])
    keypoint_maps = KeypointMaps(*(maps.cpu() for maps in keypoint_maps))
    seconds = time.perf_counter() - start
    affine, size = views.affine[None], (image.shape[1], image.shape[0])
    people = decode_batch(keypoint_maps, affine, predictor.decoder)[0]
    zoom = min(_MAX_ZOOM, _MAX_DISPLAY_SIZE / max(size))
    display_image = resize_for_drawing(image, zoom)
    return CachedImage(
        display_image, size, keypoint_maps, affine, seconds, predictor.decoder, people, file
    )


def decode_again(cached: CachedImage, decoder: AssociativeEmbeddingDecoder) -> CachedImage:
    """Decode the cached network outputs with another decoder."""
    if cached.decoder == decoder:
        return cached
    people = decode_batch(cached.keypoint_maps, cached.affine, decoder)[0]
    return cached._replace(decoder=decoder, people=people)

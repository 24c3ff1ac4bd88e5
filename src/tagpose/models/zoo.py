"""Model zoo: published checkpoints by name, downloaded once into the user's cache.

The checkpoints are those of MMPose 0.x (OpenMMLab, Apache-2.0).
"""

import os
import sys
from pathlib import Path
from typing import Final, NamedTuple

from platformdirs import user_cache_path

from tagpose.locks import lock_file
from tagpose.skeletons.coco import BODY, WHOLEBODY

_HOST: Final = "https://download.openmmlab.com/mmpose/bottom_up"
_BODY: Final = BODY.name
_WHOLEBODY: Final = WHOLEBODY.name
_RETRY_DELAYS: Final = (1, 2, 4)  # seconds; who is offline does not want to wait for more
_MAX_WAIT: Final = 3600.0  # seconds that a process waits for the download of another one
_NOTICE: Final = (
    "{name} was trained on COCO-WholeBody, which is for non-commercial research only "
    "(https://github.com/jin-s13/COCO-WholeBody)."
)


class ZooModel(NamedTuple):
    """A published checkpoint."""

    name: str
    architecture: str
    skeleton: str
    file_name: str  # at the host; it contains the first digits of the SHA-256

    @property
    def checksum(self) -> str:
        """First digits of the file's SHA-256, hexadecimal."""
        return self.file_name.rpartition("-")[2].partition("_")[0]

    @property
    def url(self) -> str:
        """Address of the file; TAGPOSE_ZOO_URL names a mirror of the host's folder."""
        return f"{os.environ.get('TAGPOSE_ZOO_URL', _HOST).rstrip('/')}/{self.file_name}"

    @property
    def license(self) -> str:
        """Terms of use that follow from the training data."""
        return "non-commercial" if self.skeleton == _WHOLEBODY else "Apache-2.0"


def _model(architecture: str, skeleton: str, file_name: str) -> ZooModel:
    """Return a model, which is named after its architecture, with `_coco` for 17 keypoints."""
    name = architecture if skeleton == _WHOLEBODY else f"{architecture}_coco"
    return ZooModel(name, architecture, skeleton, file_name)


MODELS: Final = (
    _model(
        "higherhrnet_w48",
        _WHOLEBODY,
        "higher_hrnet48_coco_wholebody_512x512_plus-934f08aa_20210517.pth",
    ),
    _model(
        "higherhrnet_w32",
        _WHOLEBODY,
        "higher_hrnet32_coco_wholebody_512x512_plus-2fa137ab_20210517.pth",
    ),
    _model("hrnet_w48", _WHOLEBODY, "hrnet_w48_coco_wholebody_512x512_plus-4de8a695_20210517.pth"),
    _model("hrnet_w32", _WHOLEBODY, "hrnet_w32_coco_wholebody_512x512_plus-f1f1185c_20210517.pth"),
    _model("higherhrnet_w48", _BODY, "higher_hrnet48_coco_512x512-60fedcbc_20200712.pth"),
    _model("higherhrnet_w32", _BODY, "higher_hrnet32_coco_512x512-8ae85183_20200713.pth"),
    _model("hrnet_w48", _BODY, "hrnet_w48_coco_512x512-cf72fcdf_20200816.pth"),
    _model("hrnet_w32", _BODY, "hrnet_w32_coco_512x512-bcb8c247_20200816.pth"),
)


def find_model(architecture: str, skeleton: str) -> ZooModel:
    """Return the checkpoint of a network.

    Raises:
        ValueError: if none was published.
    """
    for model in MODELS:
        if (model.architecture, model.skeleton) == (architecture, skeleton):
            return model
    raise ValueError(
        f"no checkpoint of {architecture} with the skeleton {skeleton} was published; "
        f"use one of {', '.join(model.name for model in MODELS)}"
    )


def resolve_checkpoint(checkpoint: str | Path, folder: Path | None = None) -> Path:
    """Return the file of a checkpoint, and download it if it is a published model.

    An interrupted download resumes. The file is verified by its checksum, so it can also be
    downloaded by hand and put into the folder.

    Args:
        checkpoint: a file, or the name of a published model. An existing file takes precedence.
        folder: folder of downloaded models; by default that of the user's cache.

    Raises:
        ConnectionError: if the host cannot be reached.
        ValueError: if the file has another checksum.
    """
    models = {model.name: model for model in MODELS}
    if str(checkpoint) not in models or Path(checkpoint).exists():
        return Path(checkpoint)
    return download_model(models[str(checkpoint)], folder or cache_folder())


def download_model(model: ZooModel, folder: Path) -> Path:
    """Download a model if it is missing, verify it, and return its file."""
    # requests would take 0.2 s at the start of every program
    from tagpose.data.download.http import download_file

    file = folder / model.file_name
    if not file.exists() and model.skeleton == _WHOLEBODY:
        print(_NOTICE.format(name=model.name), file=sys.stderr)
    checksum, lock = f"sha256:{model.checksum}", file.with_name(f"{file.name}.lock")
    try:
        # all processes of a training start at once
        with lock_file(lock, what=str(file), wait=_MAX_WAIT):
            download_file(model.url, file, checksum=checksum, retry_delays=_RETRY_DELAYS)
    except ConnectionError as error:
        raise ConnectionError(
            f"{model.name} cannot be downloaded ({error}); check the connection, or download "
            f"{model.url} by hand and save it as {file}"
        ) from error
    return file


def cache_folder() -> Path:
    """Return the folder of downloaded models in the user's cache."""
    return user_cache_path("tagpose") / "models"

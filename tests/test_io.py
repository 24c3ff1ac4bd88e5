"""Files: folders appear complete or not at all, with the usual permissions."""

import os
import stat

import pytest

from tagpose.io import atomic_folder


@pytest.mark.parametrize("umask", [0o002, 0o077])
def test_an_atomic_folder_has_the_permissions_of_other_folders(tmp_path, umask):
    previous = os.umask(umask)
    try:
        with atomic_folder(tmp_path / "deep/new", "output=FOLDER") as folder:
            (folder / "file").touch()
    finally:
        os.umask(previous)
    assert stat.S_IMODE((tmp_path / "deep/new").stat().st_mode) == 0o777 & ~umask
    assert [file.name for file in (tmp_path / "deep/new").iterdir()] == ["file"]


def test_an_atomic_folder_is_missing_after_an_error(tmp_path):
    with pytest.raises(ZeroDivisionError), atomic_folder(tmp_path / "new", "output=FOLDER"):
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())


def test_an_existing_folder_is_not_overwritten_and_the_error_names_the_option(tmp_path):
    (tmp_path / "old/file").parent.mkdir()
    with (
        pytest.raises(FileExistsError, match="choose another output_name=NAME"),
        atomic_folder(tmp_path / "old", "output_name=NAME"),
    ):
        pass
    assert [file.name for file in tmp_path.iterdir()] == ["old"]

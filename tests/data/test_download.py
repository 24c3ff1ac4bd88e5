"""A downloaded file is complete and verified, or missing, tested with a faulty local server."""

import hashlib
import io
import random
import re
import signal
import subprocess
import sys
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from helpers.run_scripts import run, succeeded
from tagpose.data.download.coco import (
    Archive,
    count_required_bytes,
    fetch_archive,
    find_missing,
    lock_dataset,
)
from tagpose.data.download.extraction import extract_paths
from tagpose.data.download.http import download_file, part_file
from tagpose.io import check_free_space
from tagpose.locks import LOCK_NAME, FolderInUseError

CHUNK = 1 << 16  # bytes read at once
CONTENT = random.Random(0).randbytes(8 * CHUNK)
NO_DELAYS = (0, 0, 0)  # seconds: three retries


class FaultyServer(ThreadingHTTPServer):
    """Server of bytes by path whose next responses have the listed faults."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.faults = {"/file": CONTENT}, []
        self.sent, self.starts = 0, []  # bytes of content; start of each request
        self.closing = threading.Event()

    def url(self, path="/file"):
        return f"http://127.0.0.1:{self.server_port}{path}"

    def handle_error(self, request, client_address):
        """Ignore connections that killed clients close."""


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *args):
        """Log nothing."""

    def do_GET(self):
        server = self.server
        fault = server.faults.pop(0) if server.faults else "none"
        content = server.files.get(self.path)
        requested = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(requested[1]) if requested and fault != "ignore range" else 0
        server.starts.append(int(requested[1]) if requested else 0)
        if content is None or fault.isdecimal():
            return self.send_error(int(fault) if fault.isdecimal() else 404)
        if start and start >= len(content):
            self.send_response(416)
            if fault == "send total length":
                self.send_header("Content-Range", f"bytes */{len(content)}")
            return self.end_headers()
        if fault == "wrong bytes":
            content = bytes(len(content))
        if fault == "longer":
            content += b"more"
        self.send_response(206 if start else 200)
        if start:
            shift = 1 if fault == "other range" else 0
            span = f"bytes {start + shift}-{len(content) - 1}/{len(content)}"
            self.send_header("Content-Range", span)
        if fault != "no length":
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        return self.send_content(content[start:], fault)

    def send_content(self, content, fault):
        if fault in ("disconnect", "stall", "ignore range and disconnect"):
            content = content[:CHUNK]
        self.server.sent += len(content)  # before the client can finish
        self.wfile.write(content)
        if fault == "stall":
            self.server.closing.wait(60)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with FaultyServer() as running:
        threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
        yield running
        running.closing.set()
        running.shutdown()


@pytest.fixture
def file(tmp_path):
    return tmp_path / "new" / "file"


def md5(content):
    return "md5:" + hashlib.md5(content).hexdigest()


def download(server, file, **options):
    download_file(
        server.url(),
        file,
        **{"size": len(CONTENT), "checksum": md5(CONTENT), "retry_delays": NO_DELAYS} | options,
    )


def list_names(folder):
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def make_zip(files):
    """Return a zip archive of texts by path."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return stream.getvalue()


@pytest.mark.parametrize("size", [None, len(CONTENT)])
@pytest.mark.parametrize("checksum", [None, "sha256:" + hashlib.sha256(CONTENT).hexdigest()[:8]])
def test_a_file_is_downloaded_once(server, file, size, checksum):
    for _ in range(2):
        download(server, file, size=size, checksum=checksum)
    assert file.read_bytes() == CONTENT
    assert list_names(file.parent) == {"file"}
    assert server.sent == len(CONTENT)


@pytest.mark.parametrize("faults", [["disconnect"] * 3, ["503", "disconnect"], ["429"] * 3])
def test_an_interrupted_download_resumes_without_repeating_a_byte(server, file, faults):
    server.faults = list(faults)
    download(server, file)
    assert file.read_bytes() == CONTENT
    assert server.sent == len(CONTENT)
    assert len(server.starts) == len(faults) + 1


def test_retries_continue_as_long_as_data_arrives(server, file):
    server.faults = ["disconnect"] * 7
    download(server, file)
    assert file.read_bytes() == CONTENT
    assert server.starts == sorted(set(server.starts))


def test_a_stalled_connection_times_out_and_is_retried(server, file, monkeypatch):
    monkeypatch.setattr("tagpose.data.download.http._TIMEOUT", (1, 0.1))
    server.faults = ["stall"]
    download(server, file)
    assert server.starts == [0, CHUNK]
    assert file.read_bytes() == CONTENT


def test_a_server_without_range_support_sends_everything_again(server, file):
    server.faults = ["disconnect", "ignore range"]
    download(server, file)
    assert file.read_bytes() == CONTENT
    assert server.sent == CHUNK + len(CONTENT)


def test_a_download_without_progress_fails_and_keeps_its_part(server, file):
    server.faults = ["ignore range and disconnect"] + ["500"] * 3
    with pytest.raises(ConnectionError, match=rf"500 .* after 4 attempts; {CHUNK} bytes are in"):
        download(server, file)
    assert part_file(file).read_bytes() == CONTENT[:CHUNK]
    download(server, file)
    assert server.starts[-1] == CHUNK
    assert server.sent == len(CONTENT)
    assert list_names(file.parent) == {"file"}


def test_an_unreachable_server_is_an_error(file, server):
    server.server_close()
    with pytest.raises(ConnectionError, match=r"/file cannot be reached after 4 attempts"):
        download(server, file)
    assert list_names(file.parent) == set()


@pytest.mark.parametrize("status", ["404", "403", "410"])
def test_a_refused_request_fails_at_once_with_address_and_status(server, file, status):
    server.faults = [status]
    with pytest.raises(OSError, match=rf"http://.*/file returned {status} .*browser"):
        download(server, file)
    assert len(server.starts) == 1
    assert list_names(file.parent) == set()


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("wrong bytes", "has the md5 .* it has been removed; run the command again"),
        ("longer", f"has {len(CONTENT) + 4} bytes, expected {len(CONTENT)}"),
    ],
)
def test_wrong_content_is_removed_and_the_next_download_succeeds(server, file, fault, message):
    server.faults = [fault]
    with pytest.raises(ValueError, match=message):
        download(server, file)
    assert list_names(file.parent) == set()
    download(server, file)
    assert file.read_bytes() == CONTENT


def test_the_size_is_checked_if_the_server_does_not_state_it(server, file):
    server.files["/file"] = CONTENT[:-1]
    server.faults = ["no length"]
    with pytest.raises(OSError, match="416"):
        download(server, file)
    server.files["/file"] = CONTENT + bytes(9_000_000)
    server.faults = ["ignore range", "no length"]
    with pytest.raises(ValueError, match="published file has changed"):
        download(server, file)
    part_file(file).unlink()
    with pytest.raises(ValueError, match=rf"expected {len(CONTENT)}; it has been removed"):
        download(server, file)
    assert list_names(file.parent) == set()


@pytest.mark.parametrize("part", [CONTENT + b"more", bytes(CHUNK), bytes(len(CONTENT))])
def test_a_part_with_wrong_content_is_removed_with_an_error(server, file, part):
    file.parent.mkdir()
    part_file(file).write_bytes(part)
    with pytest.raises(ValueError, match=r"file\.part has .* it has been removed"):
        download(server, file)
    assert list_names(file.parent) == set()


def test_a_complete_part_is_only_verified_if_the_size_is_unknown(server, file):
    file.parent.mkdir()
    part_file(file).write_bytes(CONTENT)
    server.faults = ["send total length"]
    download(server, file, size=None)
    assert file.read_bytes() == CONTENT
    assert server.sent == 0


def test_a_range_other_than_the_requested_one_is_not_appended(server, file):
    file.parent.mkdir()
    part_file(file).write_bytes(CONTENT[:CHUNK])
    server.faults = ["other range"]
    with pytest.raises(OSError, match=rf"the range bytes {CHUNK + 1}-"):
        download(server, file)
    assert part_file(file).read_bytes() == CONTENT[:CHUNK]


def test_an_existing_file_with_wrong_content_is_an_error_and_kept(server, file):
    file.parent.mkdir()
    file.write_bytes(CONTENT[:CHUNK])
    with pytest.raises(
        ValueError, match=rf"has {CHUNK} bytes, expected .* rename it to file\.part"
    ):
        download(server, file)
    assert file.read_bytes() == CONTENT[:CHUNK]
    assert server.starts == []


@pytest.mark.parametrize(
    "checksum", ["d41d8cd9", "md5:", "md5:abc", "crc32:d41d8cd9", "md5:d41d8cdx"]
)
def test_an_invalid_checksum_is_refused_before_the_download(server, file, checksum):
    with pytest.raises(ValueError, match="hexadecimal digits"):
        download(server, file, checksum=checksum)
    assert server.starts == []


def test_a_download_larger_than_the_free_space_does_not_start(server, file):
    with pytest.raises(OSError, match=r"needs 1000000000\.0 GB, but its disk has .* free"):
        download(server, file, size=10**18)
    assert server.starts == []
    assert not file.parent.exists()


def test_the_part_of_a_killed_process_is_resumed(server, file):
    server.faults = ["stall"]
    text = "import sys, pathlib; from tagpose.data.download.http import download_file"
    text += f"; download_file(sys.argv[1], pathlib.Path(sys.argv[2]), size={len(CONTENT)})"
    process = subprocess.Popen([sys.executable, "-c", text, server.url(), str(file)])
    deadline = time.monotonic() + 30
    while (
        not (part_file(file).exists() and part_file(file).stat().st_size) and process.poll() is None
    ):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert list_names(file.parent) == {"file.part"}
    downloaded = part_file(file).stat().st_size
    server.sent = 0
    download(server, file)
    assert file.read_bytes() == CONTENT
    assert server.sent == len(CONTENT) - downloaded


def test_only_the_requested_paths_are_extracted(tmp_path):
    (tmp_path / "a.zip").write_bytes(
        make_zip({"ann/x": "1", "ann/y": "2", "img/1": "3", "img/2": "4", "z": "5"})
    )
    (tmp_path / "ann").mkdir()
    (tmp_path / "ann/mine").write_text("stays")
    extract_paths(tmp_path / "a.zip", tmp_path, {"ann/x": 1, "img": 2})
    assert list_names(tmp_path) == {"a.zip", "ann", "img"}
    assert list_names(tmp_path / "ann") == {"x", "mine"}
    assert (tmp_path / "img/2").read_text() == "4"


@pytest.mark.parametrize("path", ["../out", "img/../../out", "/out"])
def test_an_archive_with_a_path_outside_its_folder_is_refused(tmp_path, path):
    root = tmp_path / "root"
    root.mkdir()
    (root / "a.zip").write_bytes(make_zip({"img/1": "fine", path: "evil"}))
    with pytest.raises(ValueError, match="outside of its folder"):
        extract_paths(root / "a.zip", root, {"img": 1})
    assert list_names(root) == {"a.zip"}
    assert list_names(tmp_path) == {"root"}


@pytest.mark.parametrize(
    ("damage", "contents", "message"),
    [
        (lambda content: content[:-40], {"img": 1}, "not a complete zip archive"),
        (
            lambda content: content[:40] + bytes(8) + content[48:],
            {"img": 1},
            "not a complete zip archive",
        ),
        (lambda content: content, {"img": 2}, "contains 1 files of img, expected 2"),
        (lambda content: content, {"img": 1, "other": 1}, "contains 0 files of other"),
    ],
)
def test_nothing_is_extracted_from_a_damaged_or_incomplete_archive(
    tmp_path, damage, contents, message
):
    (tmp_path / "a.zip").write_bytes(damage(make_zip({"img/1": "some text " * 30})))
    with pytest.raises(ValueError, match=message):
        extract_paths(tmp_path / "a.zip", tmp_path, contents)
    assert list_names(tmp_path) == {"a.zip"}


def test_existing_paths_are_not_missing_and_incomplete_folders_are_errors(tmp_path):
    archive = Archive("http://x/a.zip", 1, "md5:00000000", 1, {"img": 2, "ann/x": 1})
    assert find_missing(tmp_path, archive) == archive.contents
    (tmp_path / "img").mkdir()
    assert find_missing(tmp_path, archive) == archive.contents
    (tmp_path / "img/.hidden").touch()
    with pytest.raises(ValueError, match="img contains only hidden files"):
        find_missing(tmp_path, archive)
    (tmp_path / "img/1").touch()
    with pytest.raises(ValueError, match="img has 1 files, expected 2; move it away"):
        find_missing(tmp_path, archive)
    (tmp_path / "img/2").touch()
    assert find_missing(tmp_path, archive) == {"ann/x": 1}


def test_required_space_excludes_downloaded_bytes(tmp_path):
    archive = Archive("http://x/a.zip", 10**18, "md5:00000000", 10**17, {"img": 1})
    archive.file(tmp_path).with_name("a.zip.part").write_bytes(bytes(1000))
    assert count_required_bytes(tmp_path, archive) == 10**18 + 10**17 - 1000
    with pytest.raises(OSError, match="free some space"):
        check_free_space(tmp_path / "not" / "yet", count_required_bytes(tmp_path, archive))


def test_the_lock_is_exclusive_and_removes_leftovers(tmp_path):
    (tmp_path / ".unpacking-x/img").mkdir(parents=True)
    with lock_dataset(tmp_path):
        assert list_names(tmp_path) == {LOCK_NAME}
        with pytest.raises(FolderInUseError, match="in use"), lock_dataset(tmp_path):
            pass


def test_a_kept_archive_is_not_downloaded_again(server, tmp_path):
    content = server.files["/a.zip"] = make_zip({"img/1": "x"})
    archive = Archive(server.url("/a.zip"), len(content), md5(content), 1, {"img": 1})
    fetch_archive(tmp_path, archive, keep=True)
    (tmp_path / "img/1").unlink()
    fetch_archive(tmp_path, archive, keep=True)
    assert list_names(tmp_path) == {"a.zip", "img"}
    assert len(server.starts) == 1


def run_coco(server, folder, *overrides):
    """Run the program with small archives in place of the published ones."""
    keypoints = [f"annotations/person_keypoints_{split}2017.json" for split in ("train", "val")]
    annotations = make_zip(dict.fromkeys([*keypoints, "annotations/instances.json"], "{}"))
    val, train = (
        make_zip({f"{split}2017/{n}.jpg": "x" for n in "12"}) for split in ("val", "train")
    )
    archives = {
        "annotations": ("/annotations/annotations_trainval2017.zip", annotations),
        "val": ("/zips/val2017.zip", val),
        "train": ("/zips/train2017.zip", train),
    }
    server.files |= dict(archives.values())
    changes = [f"archives.{part}.size={len(content)}" for part, (_, content) in archives.items()]
    changes += [
        f"archives.{part}.checksum={md5(content)}" for part, (_, content) in archives.items()
    ]
    changes += [f"archives.{part}.contents.{part}2017=2" for part in ("val", "train")]
    changes += [f"archives.{part}.unpacked_size=9" for part in archives]
    return run(
        "data_download", f"host={server.url('')}", "root=coco", *changes, *overrides, cwd=folder
    )


def test_the_program_creates_the_official_layout_and_names_manual_downloads(server, tmp_path):
    (tmp_path / "coco/annotations").mkdir(parents=True)
    (tmp_path / "coco/annotations/coco_wholebody_val_v1.0.json").write_text("mine")
    server.faults = ["none", "disconnect"]
    text = succeeded(run_coco(server, tmp_path)).stdout
    assert list_names(tmp_path / "coco") == {LOCK_NAME, "annotations", "train2017", "val2017"}
    assert {name[:16] for name in list_names(tmp_path / "coco/annotations")} == {
        "person_keypoints",
        "coco_wholebody_v",
    }
    assert "github.com/jin-s13/COCO-WholeBody" in text
    assert "save them as coco/annotations/coco_wholebody_train_v1.0.json\n" in text
    assert list_names(tmp_path) == {"coco"}


def test_the_program_reports_a_refused_request_in_one_sentence(server, tmp_path):
    server.faults = ["404"]
    result = run_coco(server, tmp_path, "parts=[val]")
    assert result.returncode == 1
    assert re.fullmatch(r"error: http://.*/zips/val2017\.zip returned 404 .*\n", result.stderr)
    assert list_names(tmp_path / "coco") == {LOCK_NAME}

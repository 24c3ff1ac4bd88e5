"""A download is whole and right under its name, or not there; a real server on localhost fails."""

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
    extract_paths,
    fetch_archive,
    find_missing,
    lock_dataset,
)
from tagpose.data.download.http import check_free_space, download_file, part_file

PIECE = 1 << 16  # bytes; what is read at once, and arrives or does not
CONTENT = random.Random(0).randbytes(8 * PIECE)
QUICK = (0, 0, 0)  # seconds: three more tries


class Shop(ThreadingHTTPServer):
    """Serves bytes by path; its next answers fail in the ways that `faults` lists."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answer)
        self.goods, self.faults = {"/file": CONTENT}, []
        self.sent, self.starts = 0, []  # bytes of content; where each request began
        self.closing = threading.Event()

    def url(self, path="/file"):
        return f"http://127.0.0.1:{self.server_port}{path}"

    def handle_error(self, request, client_address):
        """Clients that are killed hang up."""


class Answer(BaseHTTPRequestHandler):
    def log_message(self, *words):
        """Says nothing."""

    def do_GET(self):
        shop = self.server
        fault = shop.faults.pop(0) if shop.faults else "none"
        content = shop.goods.get(self.path)
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(asked[1]) if asked and fault != "ignore range" else 0
        shop.starts.append(int(asked[1]) if asked else 0)
        if content is None or fault.isdecimal():
            return self.send_error(int(fault) if fault.isdecimal() else 404)
        if start and start >= len(content):
            self.send_response(416)
            if fault == "says length":
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
        return self.give(content[start:], fault)

    def give(self, content, fault):
        if fault in ("break off", "stall", "ignore range and break off"):
            content = content[:PIECE]
        self.wfile.write(content)
        self.server.sent += len(content)
        if fault == "stall":
            self.server.closing.wait(60)


@pytest.fixture
def shop(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Shop() as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server
        server.closing.set()
        server.shutdown()


@pytest.fixture
def file(tmp_path):
    return tmp_path / "new" / "file"


def md5(content):
    return "md5:" + hashlib.md5(content).hexdigest()


def get(shop, file, **options):
    download_file(
        shop.url(),
        file,
        **{"size": len(CONTENT), "checksum": md5(CONTENT), "retry_delays": QUICK} | options,
    )


def names(folder):
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def zipped(files):
    """A zip archive of texts by path."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return stream.getvalue()


@pytest.mark.parametrize("size", [None, len(CONTENT)])
@pytest.mark.parametrize("checksum", [None, "sha256:" + hashlib.sha256(CONTENT).hexdigest()[:8]])
def test_what_is_served_arrives_and_is_not_fetched_twice(shop, file, size, checksum):
    for _ in range(2):
        get(shop, file, size=size, checksum=checksum)
    assert file.read_bytes() == CONTENT
    assert names(file.parent) == {"file"}
    assert shop.sent == len(CONTENT)


@pytest.mark.parametrize("faults", [["break off"] * 3, ["503", "break off"], ["429"] * 3])
def test_what_breaks_off_goes_on_where_it_was_and_no_byte_comes_twice(shop, file, faults):
    shop.faults = list(faults)
    get(shop, file)
    assert file.read_bytes() == CONTENT
    assert shop.sent == len(CONTENT)
    assert len(shop.starts) == len(faults) + 1


def test_as_long_as_more_arrives_nothing_is_given_up(shop, file):
    shop.faults = ["break off"] * 7
    get(shop, file)
    assert file.read_bytes() == CONTENT
    assert shop.starts == sorted(set(shop.starts))


def test_a_server_that_falls_silent_is_left_and_asked_again(shop, file, monkeypatch):
    monkeypatch.setattr("tagpose.data.download.http._TIMEOUT", (1, 0.1))
    shop.faults = ["stall"]
    get(shop, file)
    assert shop.starts == [0, PIECE]
    assert file.read_bytes() == CONTENT


def test_a_server_that_cannot_resume_starts_again(shop, file):
    shop.faults = ["break off", "ignore range"]
    get(shop, file)
    assert file.read_bytes() == CONTENT
    assert shop.sent == PIECE + len(CONTENT)


def test_what_breaks_off_in_one_place_again_and_again_is_given_up_and_kept(shop, file):
    shop.faults = ["ignore range and break off"] + ["500"] * 3
    with pytest.raises(ConnectionError, match=rf"500 .* after 4 tries; {PIECE} bytes are in"):
        get(shop, file)
    assert part_file(file).read_bytes() == CONTENT[:PIECE]
    get(shop, file)
    assert shop.starts[-1] == PIECE
    assert shop.sent == len(CONTENT)
    assert names(file.parent) == {"file"}


def test_a_server_that_is_not_there_is_told(file, shop):
    shop.server_close()
    with pytest.raises(ConnectionError, match=r"/file cannot be reached, after 4 tries"):
        get(shop, file)
    assert names(file.parent) == set()


@pytest.mark.parametrize("status", ["404", "403", "410"])
def test_a_refusal_is_told_at_once_with_address_and_status(shop, file, status):
    shop.faults = [status]
    with pytest.raises(OSError, match=rf"http://.*/file answers {status} .*browser"):
        get(shop, file)
    assert len(shop.starts) == 1
    assert names(file.parent) == set()


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("wrong bytes", "has the md5 .* it is removed: run this again"),
        ("longer", f"has {len(CONTENT) + 4} bytes, not {len(CONTENT)}"),
    ],
)
def test_wrong_content_leaves_nothing_and_the_next_call_is_right(shop, file, fault, says):
    shop.faults = [fault]
    with pytest.raises(ValueError, match=says):
        get(shop, file)
    assert names(file.parent) == set()
    get(shop, file)
    assert file.read_bytes() == CONTENT


def test_a_length_that_the_server_does_not_tell_is_counted(shop, file):
    shop.goods["/file"] = CONTENT[:-1]
    shop.faults = ["no length"]
    with pytest.raises(OSError, match="416"):
        get(shop, file)
    shop.goods["/file"] = CONTENT + bytes(9_000_000)
    shop.faults = ["ignore range", "no length"]
    with pytest.raises(ValueError, match="published there now"):
        get(shop, file)
    part_file(file).unlink()
    with pytest.raises(ValueError, match=rf"not {len(CONTENT)}; it is removed"):
        get(shop, file)
    assert names(file.parent) == set()


@pytest.mark.parametrize("part", [CONTENT + b"more", bytes(PIECE), bytes(len(CONTENT))])
def test_a_part_that_cannot_become_the_file_is_removed_and_told(shop, file, part):
    file.parent.mkdir()
    part_file(file).write_bytes(part)
    with pytest.raises(ValueError, match=r"file\.part has .* it is removed"):
        get(shop, file)
    assert names(file.parent) == set()


def test_a_part_with_all_its_bytes_is_only_verified_where_no_size_is_known(shop, file):
    file.parent.mkdir()
    part_file(file).write_bytes(CONTENT)
    shop.faults = ["says length"]
    get(shop, file, size=None)
    assert file.read_bytes() == CONTENT
    assert shop.sent == 0


def test_another_range_than_was_asked_for_is_not_put_behind_the_part(shop, file):
    file.parent.mkdir()
    part_file(file).write_bytes(CONTENT[:PIECE])
    shop.faults = ["other range"]
    with pytest.raises(OSError, match=rf"the range bytes {PIECE + 1}-"):
        get(shop, file)
    assert part_file(file).read_bytes() == CONTENT[:PIECE]


def test_a_wrong_file_that_is_there_already_is_told_and_left(shop, file):
    file.parent.mkdir()
    file.write_bytes(CONTENT[:PIECE])
    with pytest.raises(ValueError, match=rf"has {PIECE} bytes, not .* name it file\.part"):
        get(shop, file)
    assert file.read_bytes() == CONTENT[:PIECE]
    assert shop.starts == []


@pytest.mark.parametrize(
    "checksum", ["d41d8cd9", "md5:", "md5:abc", "crc32:d41d8cd9", "md5:d41d8cdx"]
)
def test_a_checksum_that_could_not_verify_is_refused_before_anything(shop, file, checksum):
    with pytest.raises(ValueError, match="hexadecimal digits"):
        get(shop, file, checksum=checksum)
    assert shop.starts == []


def test_what_no_disk_can_hold_is_not_begun(shop, file):
    with pytest.raises(OSError, match=r"needs 1000000000\.0 GB, and its disk has .* free"):
        get(shop, file, size=10**18)
    assert shop.starts == []
    assert not file.parent.exists()


def test_a_kill_in_the_middle_leaves_a_part_that_the_next_call_goes_on_with(shop, file):
    shop.faults = ["stall"]
    text = "import sys, pathlib; from tagpose.data.download.http import download_file"
    text += f"; download_file(sys.argv[1], pathlib.Path(sys.argv[2]), size={len(CONTENT)})"
    process = subprocess.Popen([sys.executable, "-c", text, shop.url(), str(file)])
    deadline = time.monotonic() + 30
    while (
        not (part_file(file).exists() and part_file(file).stat().st_size) and process.poll() is None
    ):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert names(file.parent) == {"file.part"}
    kept = part_file(file).stat().st_size
    shop.sent = 0
    get(shop, file)
    assert file.read_bytes() == CONTENT
    assert shop.sent == len(CONTENT) - kept


def test_what_is_unpacked_is_what_was_asked_for_and_nothing_else(tmp_path):
    (tmp_path / "a.zip").write_bytes(
        zipped({"ann/x": "1", "ann/y": "2", "img/1": "3", "img/2": "4", "z": "5"})
    )
    (tmp_path / "ann").mkdir()
    (tmp_path / "ann/mine").write_text("stays")
    extract_paths(tmp_path / "a.zip", tmp_path, {"ann/x": 1, "img": 2})
    assert names(tmp_path) == {"a.zip", "ann", "img"}
    assert names(tmp_path / "ann") == {"x", "mine"}
    assert (tmp_path / "img/2").read_text() == "4"


@pytest.mark.parametrize("path", ["../out", "img/../../out", "/out"])
def test_an_archive_that_would_write_outside_is_refused_whole(tmp_path, path):
    root = tmp_path / "root"
    root.mkdir()
    (root / "a.zip").write_bytes(zipped({"img/1": "fine", path: "evil"}))
    with pytest.raises(ValueError, match="outside of its folder"):
        extract_paths(root / "a.zip", root, {"img": 1})
    assert names(root) == {"a.zip"}
    assert names(tmp_path) == {"root"}


@pytest.mark.parametrize(
    ("change", "holds", "says"),
    [
        (lambda whole: whole[:-40], {"img": 1}, "no whole zip archive"),
        (lambda whole: whole[:40] + bytes(8) + whole[48:], {"img": 1}, "no whole zip archive"),
        (lambda whole: whole, {"img": 2}, "holds 1 files of img, not 2"),
        (lambda whole: whole, {"img": 1, "other": 1}, "holds 0 files of other"),
    ],
)
def test_a_broken_archive_leaves_nothing_unpacked(tmp_path, change, holds, says):
    (tmp_path / "a.zip").write_bytes(change(zipped({"img/1": "some text " * 30})))
    with pytest.raises(ValueError, match=says):
        extract_paths(tmp_path / "a.zip", tmp_path, holds)
    assert names(tmp_path) == {"a.zip"}


def test_what_is_there_is_not_missing_and_half_a_folder_is_told(tmp_path):
    archive = Archive("http://x/a.zip", 1, "md5:00000000", 1, {"img": 2, "ann/x": 1})
    assert find_missing(tmp_path, archive) == archive.contents
    (tmp_path / "img").mkdir()
    assert find_missing(tmp_path, archive) == archive.contents
    (tmp_path / "img/.hidden").touch()
    with pytest.raises(ValueError, match="img has hidden files only"):
        find_missing(tmp_path, archive)
    (tmp_path / "img/1").touch()
    with pytest.raises(ValueError, match="img has 1 files, not 2; move it away"):
        find_missing(tmp_path, archive)
    (tmp_path / "img/2").touch()
    assert find_missing(tmp_path, archive) == {"ann/x": 1}


def test_the_disk_is_asked_for_what_is_not_there_yet(tmp_path):
    archive = Archive("http://x/a.zip", 10**18, "md5:00000000", 10**17, {"img": 1})
    archive.file(tmp_path).with_name("a.zip.part").write_bytes(bytes(1000))
    assert count_required_bytes(tmp_path, archive) == 10**18 + 10**17 - 1000
    with pytest.raises(OSError, match="make room"):
        check_free_space(tmp_path / "not" / "yet", count_required_bytes(tmp_path, archive))


def test_one_process_at_a_time_and_what_a_killed_one_left_is_removed(tmp_path):
    (tmp_path / ".unpacking-x/img").mkdir(parents=True)
    with lock_dataset(tmp_path):
        assert names(tmp_path) == {".fetching"}
        with pytest.raises(BlockingIOError, match="another process"), lock_dataset(tmp_path):
            pass
    assert names(tmp_path) == set()


def test_a_kept_archive_is_verified_and_unpacked_not_fetched_again(shop, tmp_path):
    content = shop.goods["/a.zip"] = zipped({"img/1": "x"})
    archive = Archive(shop.url("/a.zip"), len(content), md5(content), 1, {"img": 1})
    fetch_archive(tmp_path, archive, keep=True)
    (tmp_path / "img/1").unlink()
    fetch_archive(tmp_path, archive, keep=True)
    assert names(tmp_path) == {"a.zip", "img"}
    assert len(shop.starts) == 1


def coco(shop, folder, *more):
    """The program, with small archives in the place of the published ones."""
    keypoints = [f"annotations/person_keypoints_{half}2017.json" for half in ("train", "val")]
    annotations = zipped(dict.fromkeys([*keypoints, "annotations/instances.json"], "{}"))
    val, train = (zipped({f"{half}2017/{n}.jpg": "x" for n in "12"}) for half in ("val", "train"))
    goods = {
        "annotations": ("/annotations/annotations_trainval2017.zip", annotations),
        "val": ("/zips/val2017.zip", val),
        "train": ("/zips/train2017.zip", train),
    }
    shop.goods |= dict(goods.values())
    facts = [f"archives.{part}.size={len(content)}" for part, (_, content) in goods.items()]
    facts += [f"archives.{part}.checksum={md5(content)}" for part, (_, content) in goods.items()]
    facts += [f"archives.{part}.contents.{part}2017=2" for part in ("val", "train")]
    facts += [f"archives.{part}.unpacked_size=9" for part in goods]
    return run("data_download", f"host={shop.url('')}", "root=coco", *facts, *more, cwd=folder)


def test_the_program_has_the_official_layout_in_the_end_and_says_what_is_left_to_do(shop, tmp_path):
    (tmp_path / "coco/annotations").mkdir(parents=True)
    (tmp_path / "coco/annotations/coco_wholebody_val_v1.0.json").write_text("mine")
    shop.faults = ["none", "break off"]
    text = succeeded(coco(shop, tmp_path)).stdout
    assert names(tmp_path / "coco") == {"annotations", "train2017", "val2017"}
    assert {name[:16] for name in names(tmp_path / "coco/annotations")} == {
        "person_keypoints",
        "coco_wholebody_v",
    }
    assert "github.com/jin-s13/COCO-WholeBody" in text
    assert "save as coco/annotations/coco_wholebody_train_v1.0.json;" in text
    assert names(tmp_path) == {"coco"}


def test_the_program_tells_a_refusal_in_one_sentence(shop, tmp_path):
    shop.faults = ["404"]
    result = coco(shop, tmp_path, "parts=[val]")
    assert result.returncode == 1
    assert re.fullmatch(r"error: http://.*/zips/val2017\.zip answers 404 .*\n", result.stderr)
    assert names(tmp_path / "coco") == set()

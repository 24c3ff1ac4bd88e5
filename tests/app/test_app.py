"""The app shows the predictions of `Predictor`, keeps sessions apart and stays on the machine."""

import importlib.util
import io
import json
import os
import shutil
import signal
import socket
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import requests
import torch
from PIL import Image
from playwright.sync_api import expect, sync_playwright

from helpers.run_scripts import ROOT, command, fork_server, run, start_file, succeeded
from helpers.sample_videos import decode, gray_frame, make_video
from tagpose import Predictor
from tagpose.app.event_handlers import EventHandlers
from tagpose.app.rendering import describe_result, people_html_table, render_heatmaps, render_tags
from tagpose.app.sessions import RunningJobs, SessionCache
from tagpose.app.settings import DrawingChoices, ViewerThresholds, make_settings
from tagpose.app.uploads import unique_names
from tagpose.app.video_processor import VideoProcessor
from tagpose.app.viewer import PoseViewer, decode_again, run_network
from tagpose.app.widgets import make_sliders
from tagpose.data.images import load_image
from tagpose.inference.image_outputs import OutputOptions
from tagpose.inference.results import make_pose_result
from tagpose.models.checkpoint import write_checkpoint
from tagpose.models.network import PoseNetwork
from tagpose.skeletons.coco import BODY
from tagpose.skeletons.custom import make_custom_skeleton
from tagpose.structures import STRIDE, KeypointMaps, Poses
from tagpose.video.video_predictor import VideoPredictor
from tagpose.visualization.colors import identity_color
from tagpose.visualization.visualizer import PoseVisualizer

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
)
START = ViewerThresholds(0.3, 0.2, 0.1, 1.0, 30)
LIMITS = ("max_upload_megabytes=1", "max_video_seconds=5")
THRESHOLDS = [
    START,
    START._replace(min_person_score=0.0, min_keypoint_score=0.0),
    START._replace(min_person_score=0.25, min_keypoint_score=0.6),
    START._replace(min_person_score=0.0, min_score=0.9),
    START._replace(min_person_score=0.0, max_tag_distance=4.0),
    START._replace(min_person_score=0.0, max_people=3),
    START._replace(min_person_score=0.0, max_people=100),
]


@pytest.fixture(scope="module")
def network():
    """Untrained network whose people have high and low scores."""
    torch.manual_seed(3)
    network = PoseNetwork("hrnet_w18_small", BODY, input_size=64, tag_init_std=0.5).eval()
    torch.nn.init.normal_(network.head.weight[: BODY.size], std=0.02)
    return network


@pytest.fixture(scope="module")
def checkpoint(network, tmp_path_factory):
    file = tmp_path_factory.mktemp("network") / "best.ckpt"
    write_checkpoint(file, network)
    return file


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Folder of two images, and of files that are no images or not accepted."""
    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for name, (height, width) in {"one": (60, 90), "two": (80, 70), "large": (700, 700)}.items():
        Image.fromarray(rng.integers(0, 255, (height, width, 3), np.uint8)).save(
            folder / f"{name}.png"
        )
    (folder / "text.jpg").write_text("no picture")
    (folder / "cut.png").write_bytes((folder / "one.png").read_bytes()[:2000])
    Image.new("1", (1, 99_999)).save(folder / "narrow.png")
    Image.new("1", (20_000, 10_000)).save(folder / "bomb.png")
    return folder


@pytest.fixture(scope="module")
def photographs(tmp_path_factory, pictures):
    """Folder of two images and, with pillow-heif, a HEIC photograph."""
    folder = tmp_path_factory.mktemp("photographs")
    for name in ("one", "two"):
        shutil.copy(pictures / f"{name}.png", folder)
    if importlib.util.find_spec("pi_heif") and importlib.util.find_spec("pillow_heif"):
        from pillow_heif import from_pillow

        from_pillow(Image.open(folder / "one.png").resize((72, 96))).save(folder / "three.heic")
    return folder


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Folder of a video of 12 frames, and of one that is too long."""
    folder, rng = tmp_path_factory.mktemp("videos"), np.random.default_rng(0)
    image = rng.integers(0, 255, (48, 64, 3), np.uint8)
    make_video(folder / "short.mp4", [np.roll(image, n, 1) for n in range(12)])
    make_video(folder / "long.mp4", [image] * 12, rate=2)
    return folder


def make_predictor(network, **options):
    return Predictor(network, device="cpu", **options)


def make_viewer(predictor):
    return PoseViewer(
        predictor, SessionCache(max_bytes=10**9, max_idle_seconds=600), max_pixels=400_000
    )


def make_processor(predictor, max_seconds=9, max_pixels=400_000):
    return VideoProcessor(predictor, VideoPredictor(), max_seconds, max_pixels)


def run_without_stop(write, *args, **options):
    """Call a function of the viewer or the video processor without progress and stop."""
    return write(*args, report=lambda *_: None, is_stopped=lambda: False, **options)


def predict(network, file, thresholds, **options):
    """Return the predictions of a Predictor with these thresholds."""
    person, keypoint, peak, distance, people = thresholds
    predictor = make_predictor(
        network, min_score=peak, max_tag_distance=distance, max_people=people, **options
    )
    return predictor(file).select(min_person_score=person, min_keypoint_score=keypoint)


def settings(thresholds=START, **output):
    return make_settings(thresholds, OutputOptions(**output))


def numbers(result):
    """Return all scores and coordinates of a JSON result in order."""
    return [
        number
        for person in result["people"]
        for row in (
            [person["score"]],
            person["box"],
            person["parts"].values(),
            *person["keypoints"].values(),
        )
        for number in row
    ]


@pytest.mark.parametrize("scales", [(1,), (2, 1)])
def test_the_viewer_shows_the_people_of_a_predictor_with_the_same_thresholds(
    network, pictures, scales
):
    file, counts = pictures / "one.png", set()
    viewer = make_viewer(make_predictor(network, scales=scales))
    assert viewer.analyze("me", file) == ""
    for thresholds in THRESHOLDS:
        expected = predict(network, file, thresholds, scales=scales)
        result = viewer.update("me", settings(thresholds)).result
        assert result.to_dict() == expected.to_dict()
        counts.add(len(expected.scores))
    assert len(counts) >= 4


def test_the_network_runs_once_and_the_decoder_when_its_thresholds_change(network, pictures):
    predictor, calls = make_predictor(network, flip_test=False), []
    hook = network.register_forward_hook(lambda *_: calls.append(1))
    viewer = make_viewer(predictor)
    viewer.analyze("me", pictures / "one.png")
    people = viewer.cache.get("me").people
    for score in (0.0, 0.5):
        thresholds = START._replace(min_person_score=score, min_keypoint_score=score)
        viewer.update("me", settings(thresholds))
        assert viewer.cache.get("me").people is people
    viewer.update("me", settings(START._replace(min_score=0.5)))
    assert viewer.cache.get("me").people is not people
    viewer.tags("me", "body", 0.5)
    assert len(calls) == 1
    hook.remove()


@pytest.mark.parametrize("size", [(150, 97), (97, 400), (64, 64)])
def test_heatmaps_tags_and_poses_are_drawn_at_the_position_of_the_keypoint(network, size):
    predictor, k = make_predictor(network, input_size=128, fill_missing=False), 9
    cached = run_network(np.zeros((*size[::-1], 3), np.uint8), predictor)
    heatmaps, tags = (torch.zeros_like(maps) for maps in cached.keypoint_maps)
    heatmaps[0, k, heatmaps.shape[-2] // 3, heatmaps.shape[-1] // 2 + 3] = 1
    decoded = decode_again(
        cached._replace(keypoint_maps=KeypointMaps(heatmaps, tags)),
        replace(predictor.decoder, max_peaks=9),
    )
    zoom = cached.display_image.shape[1] / size[0]  # display pixels per image pixel
    (x, y, _) = decoded.people.keypoints[0, k]
    position = (zoom * (x + 0.5) - 0.5, zoom * (y + 0.5) - 0.5)
    heatmap_pixel = zoom * STRIDE / cached.affine[0, 0, 0].item()
    index = BODY.tag_index()
    for picture in (
        render_heatmaps(decoded, BODY, "body"),
        render_tags(decoded, BODY, index, "body", 0.1),
    ):
        assert picture.shape == cached.display_image.shape
        rows, columns = np.nonzero(picture.max(-1) > 0.5 * picture.max())
        assert (columns.mean(), rows.mean()) == pytest.approx(position, abs=heatmap_pixel)
    result = decoded.result(BODY).resize(decoded.display_image.shape[1::-1])
    poses = OutputOptions().draw(decoded.display_image, result)
    assert poses[round(position[1]), round(position[0])].any()


def test_each_person_has_a_box_in_the_color_of_the_number(network):
    cached = run_network(np.zeros((200, 200, 3), np.uint8), make_predictor(network, input_size=128))
    keypoints = np.zeros((2, BODY.size, 3), np.float32)
    keypoints[0, :2] = (20, 20, 1), (80, 180, 1)
    keypoints[1, :2] = (120, 30, 1), (180, 170, 1)
    people = make_pose_result(Poses(keypoints, np.float32([0.9, 0.8])), (200, 200), BODY)
    picture, zoom = cached.display_image, cached.display_image.shape[1] / 200
    options = OutputOptions(style=PoseVisualizer(boxes=True))
    picture = options.draw(picture, people.resize(picture.shape[1::-1]))
    for p, box in enumerate(people.boxes):
        row, left = round(zoom * (box[1] + box[3] / 2)), round(zoom * box[0])
        margin = picture[row, left - round(10 * zoom) : left]  # left of the keypoints
        assert (margin == identity_color(p)).all(-1).any()


def test_a_custom_part_is_drawn_alone_and_its_name_is_escaped():
    skeleton = make_custom_skeleton("custom", ["a", "b"], [0.1, 0.1], parts={"<i>": 1, "tail": 1})
    network = PoseNetwork("hrnet_w18_small", skeleton, input_size=64).eval()
    cached = run_network(np.zeros((64, 64, 3), np.uint8), make_predictor(network))
    heatmaps = torch.zeros_like(cached.keypoint_maps.heatmaps)
    heatmaps[0, 1] = 1
    cached = cached._replace(keypoint_maps=KeypointMaps(heatmaps, cached.keypoint_maps.tags))
    empty, drawn = (render_heatmaps(cached, skeleton, part).max() for part in ("<i>", "tail"))
    assert empty == 0 < drawn
    keypoints = np.ones((1, 2, 3), np.float32)
    assert "&lt;i&gt;</th>" in people_html_table(
        make_pose_result(Poses(keypoints, np.ones(1, np.float32)), (9, 9), skeleton)
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("text.jpg", "The file is not an image or is truncated"),
        ("cut.png", "The file is not an image or is truncated"),
        ("narrow.png", "An image of 1 x 99999 pixels is too narrow"),
        ("large.png", "The image has 700 x 700 pixels; resize it to at most 0.4 million pixels"),
        ("bomb.png", "The image has too many pixels"),
    ],
)
def test_an_image_that_is_not_accepted_has_an_error_message_without_a_path(
    network, pictures, name, message
):
    viewer = make_viewer(make_predictor(network))
    viewer.analyze("me", pictures / "one.png")
    error = viewer.analyze("me", pictures / name)
    assert error.startswith(message)
    assert name not in error
    assert "/" not in error
    assert viewer.update("me", settings()).message == viewer.prompt  # the old image is removed
    assert viewer.analyze("me", pictures / "one.png") == ""


def test_each_session_has_its_own_image(network, pictures):
    viewer = make_viewer(make_predictor(network))
    for name in ("one", "two"):
        viewer.analyze(name, pictures / f"{name}.png")
    for name, size in (("one", (90, 60)), ("two", (70, 80))):
        result = viewer.update(name, settings()).result.to_dict()
        assert (result["width"], result["height"]) == size


def test_both_ends_of_every_slider_are_valid_thresholds(network, pictures):
    sliders, viewer = make_sliders(START), make_viewer(make_predictor(network))
    viewer.analyze("me", pictures / "one.png")
    for end in ("minimum", "maximum"):
        thresholds = ViewerThresholds(*(getattr(slider, end) for slider in sliders))
        assert viewer.update("me", settings(thresholds)).result is not None


def test_parts_and_style_of_the_page_are_those_of_the_picture_and_files(network, pictures):
    viewer = make_viewer(make_predictor(network))
    viewer.analyze("me", pictures / "one.png")
    choices = DrawingChoices(["body"], "person", "black", ["blur_faces"], 2.0, ["csv"])
    chosen = make_settings(START._replace(min_person_score=0.9), choices.apply(OutputOptions()))
    assert chosen.output.formats == ["csv"]
    assert chosen.output.result_filter.parts == ["body"]
    style = PoseVisualizer("person", "black", 2.0, boxes=False, ids=False, blur_faces=True)
    assert chosen.output.style == style
    assert not viewer.update("me", chosen).image.any()  # no person has this score


def test_equal_names_of_uploads_are_numbered():
    files = [Path("a/x.png"), Path("b/x.png"), Path("c/x_2.png"), Path("d/y.png")]
    names = [str(name) for name in unique_names(files).values()]
    assert names == ["x.png", "x_2.png", "x_2_2.png", "y.png"]


def test_a_deleted_upload_is_an_error_that_says_what_to_do(network, pictures, tmp_path):
    viewer, file = make_viewer(make_predictor(network)), tmp_path / "one.png"
    shutil.copy(pictures / "one.png", file)
    viewer.analyze("me", file)
    file.unlink()
    with pytest.raises(ValueError, match=r"upload was deleted .* upload the file again"):
        viewer.write_image("me", settings(formats=["pictures"]), tmp_path / "out")


def test_unreadable_images_are_listed_by_name_and_the_others_are_written(
    network, pictures, tmp_path
):
    viewer = make_viewer(make_predictor(network))
    files = [pictures / name for name in ("one.png", "text.jpg", "large.png")]
    chosen = settings(formats=["pictures", "csv"])
    failures = run_without_stop(viewer.write_images, files, chosen, tmp_path)
    assert [failure.split()[0] for failure in failures] == ["text.jpg", "large.png"]
    assert str(pictures) not in str(failures)
    assert {file.name for file in tmp_path.iterdir()} == {"one.png", "keypoints.csv", "images.json"}


def test_uploads_are_kept_while_they_wait_for_the_images_before_them(network, pictures, tmp_path):
    viewer = make_viewer(make_predictor(network))
    files = [Path(shutil.copy(pictures / f"{name}.png", tmp_path)) for name in ("one", "two")]
    for file in files:
        os.utime(file, (0, 0))
    kept = []

    def report(done, total):
        kept.append([file.stat().st_mtime > 0 for file in files])
        for file in files:
            os.utime(file, (0, 0))

    viewer.write_images(
        files, settings(formats=["csv"]), tmp_path / "out", report=report, is_stopped=lambda: False
    )
    assert kept == [[True, True], [False, False]]
    assert files[1].stat().st_mtime == 0


def test_a_stopped_video_has_the_frames_so_far_and_a_session_has_one_video(
    network, videos, tmp_path
):
    processor, jobs = make_processor(make_predictor(network, flip_test=False)), RunningJobs()

    def process(folder, report):
        with jobs.run("me", "video") as is_stopped:
            file, chosen = videos / "short.mp4", settings(formats=["pictures"])
            return processor.predict(
                file, chosen, folder, smooth=False, report=report, is_stopped=is_stopped
            )

    def report(done, total):
        assert total == 12
        with pytest.raises(ValueError, match="another video of this page is being processed"):
            process(tmp_path / "second", report)
        if done == 3:
            jobs.stop("me", "video")

    assert process(tmp_path, report).startswith("Stopped. Frames: 3,")
    assert len(decode(tmp_path / "short.mp4")[0]) == 3
    jobs.close()


def test_a_job_is_stopped_alone_and_all_of_them_when_the_app_is_closed():
    jobs, sessions, ended = RunningJobs(), ("me", "you"), []
    started = Barrier(len(sessions) + 1)

    def work(session):
        with jobs.run(session, "video") as is_stopped, jobs.run(session, "download") as other:
            started.wait()
            while not is_stopped():
                time.sleep(0.01)
            ended.append((session, other()))

    with ThreadPoolExecutor() as threads:
        for session in sessions:
            threads.submit(work, session)
        started.wait()
        jobs.stop("me", "video")
        jobs.stop("other", "video")
        while not ended:
            time.sleep(0.01)
        assert ended == [("me", False)]
        jobs.close()
        assert ended == [("me", False), ("you", True)]
    with pytest.raises(ValueError, match="the app is closing"), jobs.run("me", "video"):
        pass


def test_a_closed_page_stops_the_files_of_all_images(network, pictures, tmp_path):
    predictor, request, done = make_predictor(network), SimpleNamespace(session_hash="me"), []
    events = EventHandlers(
        make_viewer(predictor), make_processor(predictor), OutputOptions(), str(tmp_path)
    )

    def progress(count, unit):
        done.append(count)
        events.close_session(request)

    images = [pictures / name for name in ("one.png", "two.png")]
    choices = DrawingChoices(["body"], "part", "image", [], 1.0, ["csv"])
    _, archive = events.prepare_all_files(request, progress, images, *START, *choices)
    assert done == [(1, 2)]
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == [Path(archive)]


def test_a_video_is_too_long_by_its_header_or_by_its_frames(network, videos, tmp_path):
    processor = make_processor(make_predictor(network, flip_test=False), max_seconds=1)
    make_video(tmp_path / "a.mjpeg", [gray_frame(90)] * 40, codec="mjpeg", pix_fmt="yuvj420p")
    for file in (videos / "long.mp4", tmp_path / "a.mjpeg"):  # the second one has no duration
        with pytest.raises(ValueError, match=r"the video lasts at least .* shorten it to 1 s"):
            run_without_stop(processor.predict, file, settings(), tmp_path / "out", smooth=False)


@pytest.mark.parametrize("name", ["a.mp4", "a.gif"])
def test_a_video_with_too_large_frames_is_refused(network, tmp_path, name):
    processor = make_processor(make_predictor(network, flip_test=False), max_pixels=64 * 47)
    frames, file = [np.full((48, 64, 3), value, np.uint8) for value in (0, 90)], tmp_path / name
    if file.suffix == ".gif":
        first, *others = map(Image.fromarray, frames)
        first.save(file, save_all=True, append_images=others)
    else:
        make_video(file, frames)
    with pytest.raises(ValueError, match=r"frames of 64 x 48 pixels; resize them to at most"):
        run_without_stop(processor.predict, file, settings(), tmp_path / "out", smooth=False)
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_not_a_video_has_an_error_message_without_a_path(network, tmp_path):
    predictor = make_predictor(network)
    events = EventHandlers(
        make_viewer(predictor), make_processor(predictor), OutputOptions(), str(tmp_path)
    )
    file = tmp_path / "upload" / "text.mp4"
    file.parent.mkdir()
    file.write_text("no video")
    choices = DrawingChoices(["body"], "part", "image", [], 1.0, [])
    request, progress = SimpleNamespace(session_hash="me"), None
    message, video, button = events.predict_video(
        request, progress, str(file), False, *START, *choices
    )
    assert message.startswith('<span class="error">text.mp4 cannot be read as a video')
    assert "upload" not in message
    assert video is None
    assert not button.interactive


def test_the_message_tells_how_to_find_more_people():
    empty = make_pose_result(
        Poses(np.zeros((0, 17, 3), np.float32), np.zeros(0, np.float32)), (9, 9), BODY
    )
    assert "Lower the peak score" in describe_result(empty, 0, 0.3, 1)
    assert "2, of which 0 reach the person score of 0.3." in describe_result(empty, 2, 0.3, 1)
    assert people_html_table(empty) == ""


def test_the_cache_evicts_old_images_and_those_beyond_its_size(network):
    cached = run_network(np.zeros((64, 64, 3), np.uint8), make_predictor(network))
    cache = SessionCache(max_bytes=2 * cached.nbytes, max_idle_seconds=600)
    for session in ("a", "b", "a", "c"):
        cache.put(session, cached)
    assert [cache.get(session) is cached for session in "abc"] == [True, False, True]
    small, short = (
        SessionCache(max_bytes=1, max_idle_seconds=600),
        SessionCache(max_bytes=10**9, max_idle_seconds=0.01),
    )
    for limited in (small, short):
        limited.put("a", cached)
    assert small.get("a") is cached  # the newest image is always kept
    time.sleep(0.02)
    assert short.get("a") is None
    small.remove("a")
    assert small.get("a") is None


def test_a_late_redraw_does_not_restore_an_older_image(network):
    predictor = make_predictor(network)
    older, newer = (
        run_network(np.zeros((64, width, 3), np.uint8), predictor) for width in (64, 80)
    )
    cache = SessionCache(max_bytes=10**9, max_idle_seconds=600)
    cache.put("me", newer)
    cache.replace("me", older, older._replace(network_seconds=0.0))
    assert cache.get("me") is newer


@pytest.fixture(scope="module")
def address(checkpoint, tmp_path_factory):
    """URL of a server for files up to 1 MB and 5 s; it deletes its files when it stops."""
    folder = tmp_path_factory.mktemp("served")
    log = tmp_path_factory.mktemp("log") / "out"
    script = command("app", f"checkpoint={checkpoint}", "port=null", *LIMITS)[1:]
    err = log.with_name("err")
    server = start_file(*script, cwd=folder, out=log, err=err, TMPDIR=str(folder))
    while not log.exists() or not log.read_text().endswith("\n"):
        assert psutil.Process(server).status() != psutil.STATUS_ZOMBIE, err.read_text()
        time.sleep(0.05)
    line = log.read_text()
    assert line.startswith("Serving at http://127.0.0.1:")
    try:
        yield line.split()[-1]
        # images of the browser tests exist as long as the server runs
        assert bool(list(folder.glob("tagpose-*/*/*.jpg"))) is bool(CHROMIUM)
    finally:
        os.kill(server, signal.SIGTERM)
    assert fork_server().wait(server) == 0
    assert list(folder.iterdir()) == []


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium."""
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield opened
        opened.close()


@pytest.fixture
def visit(address, browser):
    """Open pages; check at the end that there were no errors and no requests to other hosts."""
    urls, errors, contexts = [], [], []

    def collect_errors(message):
        if message.type == "error":
            errors.append(message.text)

    def visit(*, allow_console_errors=False):
        contexts.append(browser.new_context())
        page = contexts[-1].new_page()
        page.on("request", lambda request: urls.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        if not allow_console_errors:
            page.on("console", collect_errors)
        page.goto(address)
        page.locator("#images input[type=file]").wait_for(state="attached")
        return page

    yield visit
    for context in contexts:
        context.close()
    assert {url.split("/")[2] for url in urls if not url.startswith("data:")} == {
        address.split("/")[2]
    }
    assert errors == []


def expect_people(page, count):
    """Wait until the table has this many people."""
    expect(page.locator("#people tbody tr")).to_have_count(count, timeout=30_000)


def set_threshold(page, label, value):
    box = page.get_by_label(f"number input for {label}")
    box.fill(str(value))
    box.press("Enter")


def download(page, name):
    """Press a button and return the downloaded file, or the files of an archive by name."""
    with page.expect_download() as waiting:
        page.locator(f"#{name}").click()
    content = waiting.value.path().read_bytes()
    if not waiting.value.suggested_filename.endswith(".zip"):
        return content
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist() if name[-1] != "/"}


def upload(page, *files, to="images"):
    page.locator(f"#{to} input[type=file]").set_input_files(files)


def select_formats(page, *formats):
    for name in ("pictures", "coco", *formats):
        page.locator("#formats").get_by_label(name, exact=True).set_checked(name in formats)


def test_in_a_browser_thresholds_select_the_people_shown(visit, network, pictures):
    file, page = pictures / "one.png", visit()
    upload(page, file)
    select_formats(page, "coco", "jsonl")
    steps = {
        "people": START,  # unchanged
        "person score": START._replace(min_person_score=0.36),
        "tag distance": START._replace(min_person_score=0.36, max_tag_distance=4.0),
    }
    counts = set()
    for label, thresholds in steps.items():
        set_threshold(page, label, {"people": 30, "person score": 0.36, "tag distance": 4}[label])
        expected = predict(network, file, thresholds)
        expect_people(page, len(expected.scores))
        counts.add(len(expected.scores))
        files = download(page, "image-files")
        assert numbers(json.loads(files["people.jsonl"])) == pytest.approx(
            numbers(expected.to_dict()), abs=0.05
        )
        assert len(json.loads(files["results.json"])) == len(expected.scores)
    assert len(counts) == len(steps)
    page.get_by_label("range slider for person score").press("End")
    expect(page.get_by_role("status").first).to_contain_text("0 reach the person score of 1")


def test_in_a_browser_several_files_have_the_output_files_of_predict(
    visit, photographs, checkpoint, tmp_path
):
    files = sorted(photographs.iterdir())
    formats, style = ("pictures", "openpose", "csv"), ("style.boxes=true", "style.ids=true")
    options = (f"formats=[{','.join(formats)}]", "unfiltered=[]", f"output={tmp_path}", *style)
    succeeded(run("predict", f"checkpoint={checkpoint}", "images=*.*", *options, cwd=photographs))
    page = visit()
    upload(page, *files)
    select_formats(page, *formats)
    expect(page.locator("#people tbody tr").first).to_be_visible(timeout=30_000)
    predicted = {
        str(file.relative_to(tmp_path)): file.read_bytes()
        for file in tmp_path.rglob("*")
        if file.is_file()
    }
    assert len(predicted) == 2 * len(files) + 2  # and the table and images.json
    assert download(page, "all-files") == predicted
    page.locator("#choice input").click()
    page.get_by_role("option", name=files[1].name).click()
    picture = Image.open(io.BytesIO(download(page, "picture")))
    assert picture.size == load_image(files[1]).shape[1::-1]


def test_in_a_browser_a_video_is_drawn_with_tracks_and_a_long_one_is_refused(visit, videos):
    page = visit()
    page.get_by_role("tab", name="Video").click()
    upload(page, videos / "short.mp4", to="video")
    expect(page.locator("#video video")).to_be_visible()
    page.get_by_role("button", name="Predict").click()
    drawn = page.locator("#drawn-video video")
    expect(drawn).to_be_visible(timeout=30_000)
    expect(page.locator("#message")).to_contain_text("Frames: 12, tracked people: ")
    duration = drawn.evaluate("video => video.play().then(() => video.duration)")
    assert duration == pytest.approx(1.2, abs=0.05)
    files = download(page, "video-files")
    assert {*files} == {"short.mp4", "results.json"}
    assert len(decode(io.BytesIO(files["short.mp4"]))[0]) == 12
    results = json.loads(files["results.json"])
    assert {result["image_id"] for result in results} <= set(range(12))
    assert any(result["track_id"] is not None for result in results)
    page.locator("#video").get_by_label("Clear").click()
    upload(page, videos / "long.mp4", to="video")
    expect(page.locator("#video video")).to_be_visible()
    page.get_by_role("button", name="Predict").click()
    expect(page.locator("#message .error")).to_contain_text("The video lasts at least 6.0 s")


def test_in_a_browser_every_tab_has_its_image(visit, pictures):
    page = visit()
    upload(page, pictures / "one.png")
    for tab, caption in (("Poses", "numbered"), ("Heatmaps", "Positions"), ("Tags", "Grouping")):
        page.get_by_role("tab", name=tab).click()
        picture = page.get_by_alt_text(caption)
        expect(picture).to_be_visible(timeout=30_000)
        expect(picture).to_have_js_property("naturalWidth", 4 * 90)


@pytest.mark.slow
def test_in_a_browser_an_image_can_be_uploaded_after_a_broken_file(visit, pictures):
    page = visit()
    upload(page, pictures / "text.jpg")
    expect(page.locator("#message .error")).to_contain_text("is not an image", timeout=30_000)
    upload(page, pictures / "one.png")
    expect(page.locator("#people tbody tr").first).to_be_visible(timeout=30_000)
    page.locator("#images").get_by_label("Clear").click()
    expect(page.locator("#message")).to_contain_text("Upload an image")
    expect_people(page, 0)


def test_the_server_rejects_a_file_over_the_limit(address, pictures):
    with (pictures / "large.png").open("rb") as file:
        response = requests.post(f"{address}gradio_api/upload", files={"files": file}, timeout=60)
    assert response.status_code == 413


@pytest.mark.slow
def test_in_a_browser_a_file_over_the_limit_has_an_error_message(visit, pictures):
    page = visit(allow_console_errors=True)  # gradio asks for the progress of the rejected upload
    upload(page, pictures / "large.png")
    expect(page.get_by_text("maximum allowed size")).to_be_visible(timeout=30_000)
    upload(page, pictures / "one.png")
    expect(page.locator("#people tbody tr").first).to_be_visible(timeout=30_000)


@pytest.mark.slow
def test_in_a_browser_each_page_shows_its_own_image(visit, pictures):
    pages = [visit(), visit()]
    for page, name in zip(pages, ("one", "two"), strict=True):
        upload(page, pictures / f"{name}.png")
    for page, size in zip(pages, ((90, 60), (70, 80)), strict=True):
        expect(page.locator("#people tbody tr").first).to_be_visible(timeout=30_000)
        set_threshold(page, "people", 2)
        expect_people(page, 2)
        assert Image.open(io.BytesIO(download(page, "picture"))).size == size


def test_the_server_exposes_neither_local_files_nor_an_api(address, checkpoint):
    for path in (f"file={checkpoint}", f"file={ROOT / 'README.md'}", "runs"):
        assert requests.get(f"{address}gradio_api/{path}", timeout=60).status_code in (403, 404)
    assert requests.get(f"{address}gradio_api/info", timeout=60).json()["named_endpoints"] == {}


def test_a_port_in_use_is_an_error_and_no_files_remain(checkpoint, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        overrides = (f"checkpoint={checkpoint}", f"port={port}")
        result = run("app", *overrides, cwd=tmp_path, TMPDIR=str(tmp_path))
    assert result.returncode == 1
    assert result.stderr.startswith(f"error: cannot listen on port {port} of host 127.0.0.1")
    assert list(tmp_path.iterdir()) == []

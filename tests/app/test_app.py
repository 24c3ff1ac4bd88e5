"""The page shows what a Predictor finds, whoever asks, and nothing leaves the machine."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import requests
import torch
from PIL import Image
from playwright.sync_api import expect, sync_playwright

from helpers.run_scripts import ROOT, run
from tagpose import Predictor
from tagpose.app.cached_image import decode_again, run_network
from tagpose.app.layout import make_sliders
from tagpose.app.rendering import (
    describe_result,
    people_html_table,
    render_heatmaps,
    render_poses,
    render_tags,
)
from tagpose.app.session_cache import SessionCache
from tagpose.app.viewer import PoseViewer, Thresholds
from tagpose.inference.results import make_pose_result
from tagpose.models.checkpoint import write_checkpoint
from tagpose.models.network import PoseNetwork
from tagpose.skeletons.coco import BODY
from tagpose.skeletons.custom import make_custom_skeleton
from tagpose.structures import STRIDE, KeypointMaps, Poses
from tagpose.visualization.colors import identity_color

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
)
START = Thresholds(0.3, 0.2, 0.1, 1.0, 30)
CHOSEN = [
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
    """One that finds some people surely and others not: any will do for laws."""
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
    """A folder of two pictures, and of files that are none or of no use."""
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


def predictor_of(network, **test):
    return Predictor(network, device="cpu", **test)


def viewer_of(predictor):
    return PoseViewer(
        predictor, SessionCache(max_bytes=10**9, max_idle_seconds=600), max_pixels=400_000
    )


def wanted(network, file, chosen, **test):
    """What a Predictor with these thresholds finds."""
    person, keypoint, peak, distance, people = chosen
    predictor = predictor_of(
        network, min_score=peak, max_tag_distance=distance, max_people=people, **test
    )
    return predictor(file, min_person_score=person, min_keypoint_score=keypoint)


def numbers(said):
    """Scores and places in JSON, in their order."""
    return [
        number
        for person in said["people"]
        for row in (
            [person["score"]],
            person["box"],
            person["parts"].values(),
            *person["keypoints"].values(),
        )
        for number in row
    ]


@pytest.mark.parametrize("scales", [(1,), (2, 1)])
def test_people_shown_are_those_of_a_predictor_with_the_thresholds(network, pictures, scales):
    file, counts = pictures / "one.png", set()
    viewer = viewer_of(predictor_of(network, scales=scales))
    assert viewer.analyze("me", file) == ""
    for chosen in CHOSEN:
        expected = wanted(network, file, chosen, scales=scales)
        shown = viewer.update("me", chosen).result
        assert shown.to_dict() == expected.to_dict()
        counts.add(len(expected.scores))
    assert len(counts) >= 4


def test_the_network_is_asked_once_and_the_decoder_when_its_thresholds_change(network, pictures):
    predictor, calls = predictor_of(network, flip_test=False), []
    hook = network.register_forward_hook(lambda *_: calls.append(1))
    viewer = viewer_of(predictor)
    viewer.analyze("me", pictures / "one.png")
    people = viewer.cache.get("me").people
    for score in (0.0, 0.5):
        viewer.update("me", START._replace(min_person_score=score, min_keypoint_score=score))
        assert viewer.cache.get("me").people is people
    viewer.update("me", START._replace(min_score=0.5))
    assert viewer.cache.get("me").people is not people
    viewer.tags("me", "body", 0.5)
    assert len(calls) == 1
    hook.remove()


@pytest.mark.parametrize("size", [(150, 97), (97, 400), (64, 64)])
def test_heatmaps_tags_and_people_lie_where_the_keypoint_is(network, size):
    predictor, k = predictor_of(network, input_size=128, fill_missing=False), 9
    cached = run_network(np.zeros((*size[::-1], 3), np.uint8), predictor)
    heatmaps, tags = (torch.zeros_like(field) for field in cached.keypoint_maps)
    heatmaps[0, k, heatmaps.shape[-2] // 3, heatmaps.shape[-1] // 2 + 3] = 1
    lit = decode_again(
        cached._replace(keypoint_maps=KeypointMaps(heatmaps, tags)),
        replace(predictor.decoder, max_peaks=9),
    )
    pixels = cached.display_image.shape[1] / size[0]  # of the picture per image pixel
    (x, y, _) = lit.people.keypoints[0, k]
    place = (pixels * (x + 0.5) - 0.5, pixels * (y + 0.5) - 0.5)
    cell = pixels * STRIDE / cached.affine[0, 0, 0].item()
    index = BODY.tag_index()
    for glow in (render_heatmaps(lit, BODY, "body"), render_tags(lit, BODY, index, "body", 0.1)):
        assert glow.shape == cached.display_image.shape
        rows, columns = np.nonzero(glow.max(-1) > 0.5 * glow.max())
        assert (columns.mean(), rows.mean()) == pytest.approx(place, abs=cell)
    drawn = render_poses(lit, make_pose_result(lit.people, size, BODY))
    assert drawn[round(place[1]), round(place[0])].any()


def test_each_number_of_the_picture_is_at_a_box_of_its_color(network):
    cached = run_network(np.zeros((200, 200, 3), np.uint8), predictor_of(network, input_size=128))
    keypoints = np.zeros((2, BODY.size, 3), np.float32)
    keypoints[0, :2] = (20, 20, 1), (80, 180, 1)
    keypoints[1, :2] = (120, 30, 1), (180, 170, 1)
    people = make_pose_result(Poses(keypoints, np.float32([0.9, 0.8])), (200, 200), BODY)
    drawn, pixels = render_poses(cached, people), cached.display_image.shape[1] / 200
    for p, box in enumerate(people.boxes):
        row, left = round(pixels * (box[1] + box[3] / 2)), round(pixels * box[0])
        outside = drawn[row, left - round(10 * pixels) : left]  # of the margin, left of them
        assert (outside == identity_color(p)).all(-1).any()


def test_a_part_of_ones_own_is_shown_alone_and_its_name_is_only_a_name(tmp_path):
    own = make_custom_skeleton("own", ["a", "b"], [0.1, 0.1], parts={"<i>": 1, "tail": 1})
    network = PoseNetwork("hrnet_w18_small", own, input_size=64).eval()
    cached = run_network(np.zeros((64, 64, 3), np.uint8), predictor_of(network))
    heatmaps = torch.zeros_like(cached.keypoint_maps.heatmaps)
    heatmaps[0, 1] = 1
    cached = cached._replace(keypoint_maps=KeypointMaps(heatmaps, cached.keypoint_maps.tags))
    dark, glowing = (render_heatmaps(cached, own, part).max() for part in ("<i>", "tail"))
    assert dark == 0 < glowing
    keypoints = np.ones((1, 2, 3), np.float32)
    assert "&lt;i&gt;</th>" in people_html_table(
        make_pose_result(Poses(keypoints, np.ones(1, np.float32)), (9, 9), own)
    )


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("text.jpg", "This cannot be read as a picture"),
        ("cut.png", "This cannot be read as a picture"),
        ("narrow.png", "An image of 1 x 99999 pixels is too narrow"),
        ("large.png", "The picture has 700 x 700 pixels; 0.4 million would do"),
        ("bomb.png", "The picture has far too many pixels"),
    ],
)
def test_what_cannot_be_looked_at_is_a_sentence_that_names_no_file(network, pictures, name, says):
    viewer = viewer_of(predictor_of(network))
    viewer.analyze("me", pictures / "one.png")
    told = viewer.analyze("me", pictures / name)
    assert told.startswith(says)
    assert name not in told
    assert "/" not in told
    assert viewer.update("me", START).message == viewer.prompt  # nothing is left of the one before


def test_every_place_of_a_slider_is_a_threshold_that_can_be_taken(network, pictures):
    sliders, viewer = make_sliders(START), viewer_of(predictor_of(network))
    viewer.analyze("me", pictures / "one.png")
    for end in ("minimum", "maximum"):
        chosen = Thresholds(*(getattr(slider, end) for slider in sliders))
        assert viewer.update("me", chosen).result is not None


def test_nobody_is_said_with_what_would_find_somebody():
    nobody = make_pose_result(
        Poses(np.zeros((0, 17, 3), np.float32), np.zeros(0, np.float32)), (9, 9), BODY
    )
    assert "lower peak score" in describe_result(nobody, 0, 0.3, 1)
    assert "Nobody reaches a person score of 0.3; 2 people are below it" in describe_result(
        nobody, 2, 0.3, 1
    )
    assert people_html_table(nobody) == ""


def test_pictures_are_kept_for_a_while_and_within_a_limit(network):
    cached = run_network(np.zeros((64, 64, 3), np.uint8), predictor_of(network))
    cache = SessionCache(max_bytes=2 * cached.nbytes, max_idle_seconds=600)
    for visitor in ("a", "b", "a", "c"):
        cache.put(visitor, cached)
    assert [cache.get(visitor) is cached for visitor in "abc"] == [True, False, True]
    small, short = (
        SessionCache(max_bytes=1, max_idle_seconds=600),
        SessionCache(max_bytes=10**9, max_idle_seconds=0.01),
    )
    for one in (small, short):
        one.put("a", cached)
    assert small.get("a") is cached  # the newest stays
    time.sleep(0.02)
    assert short.get("a") is None
    small.remove("a")
    assert small.get("a") is None


def test_a_late_redraw_does_not_bring_an_older_picture_back(network):
    predictor = predictor_of(network)
    older, newer = (run_network(np.zeros((64, side, 3), np.uint8), predictor) for side in (64, 80))
    cache = SessionCache(max_bytes=10**9, max_idle_seconds=600)
    cache.put("me", newer)
    cache.replace("me", older, older._replace(network_seconds=0.0))
    assert cache.get("me") is newer


@pytest.fixture(scope="module")
def address(checkpoint, tmp_path_factory):
    """Where the page is served, with uploads of 1 MB; what it wrote is gone when it has stopped."""
    folder = tmp_path_factory.mktemp("served")
    words = (f"checkpoint={checkpoint}", "port=null", "max_upload_megabytes=1")
    plain = {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "TMPDIR": str(folder)}
    command = [sys.executable, str(ROOT / "scripts/app.py"), *words]
    with subprocess.Popen(
        command, cwd=folder, env=os.environ | plain, text=True, stdout=subprocess.PIPE
    ) as server:  # fmt: skip
        said = server.stdout.readline()
        assert said.startswith("page: http://127.0.0.1:")
        try:
            yield said.split()[1]
            # a browser's visits leave pictures, as long as the page is there
            assert bool(list(folder.glob("tagpose-*/*/*.jpg"))) is bool(CHROMIUM)
        finally:
            server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 0
        assert list(folder.iterdir()) == []


@pytest.fixture(scope="module")
def browser():
    """A real one, without a screen."""
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed; the page is tried in one")
    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield opened
        opened.close()


@pytest.fixture
def visit(address, browser):
    """Opens the page; at the end it asked this machine alone, and complained of nothing."""
    asked, complaints, contexts = [], [], []

    def hear(said):
        if said.type == "error":
            complaints.append(said.text)

    def visit(*, complaining=False):
        contexts.append(browser.new_context())
        page = contexts[-1].new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        if not complaining:
            page.on("console", hear)
        page.goto(address)
        page.get_by_label("File upload").wait_for(state="attached")
        return page

    yield visit
    for context in contexts:
        context.close()
    assert {url.split("/")[2] for url in asked if not url.startswith("data:")} == {
        address.split("/")[2]
    }
    assert complaints == []


def rows(page, count):
    """The table of people, when it has so many."""
    lines = page.locator("#people tbody tr")
    expect(lines).to_have_count(count, timeout=30_000)
    return lines


def choose(page, label, value):
    """Give a threshold as a number."""
    box = page.get_by_label(f"number input for {label}")
    box.fill(str(value))
    box.press("Enter")


def download(page, name):
    """The JSON that a button hands out."""
    with page.expect_download() as waiting:
        page.locator(f"#{name}").click()
    return json.loads(waiting.value.path().read_text())


def give(page, file):
    """Put a picture in."""
    page.get_by_label("File upload").set_input_files(file)


def test_in_a_browser_thresholds_choose_who_is_shown(visit, network, pictures):
    file, page = pictures / "one.png", visit()
    give(page, file)
    steps = {
        "people": START,  # as it is
        "person score": START._replace(min_person_score=0.36),
        "tag distance": START._replace(min_person_score=0.36, max_tag_distance=4.0),
    }
    counts = set()
    for label, chosen in steps.items():
        choose(page, label, {"people": 30, "person score": 0.36, "tag distance": 4}[label])
        expected = wanted(network, file, chosen)
        rows(page, len(expected.scores))
        counts.add(len(expected.scores))
        assert numbers(download(page, "json-download")) == pytest.approx(
            numbers(expected.to_dict()), abs=0.05
        )
        assert len(download(page, "coco-download")) == len(expected.scores)
    assert len(counts) == len(steps)
    page.get_by_label("range slider for person score").press("End")
    expect(page.get_by_role("status").first).to_contain_text("Nobody reaches a person score of 1")


def test_in_a_browser_every_tab_has_its_picture(visit, pictures):
    page = visit()
    give(page, pictures / "one.png")
    for tab, caption in (("Poses", "numbered"), ("Heatmaps", "Where"), ("Tags", "Whose")):
        page.get_by_role("tab", name=tab).click()
        picture = page.get_by_alt_text(caption)
        expect(picture).to_be_visible(timeout=30_000)
        expect(picture).to_have_js_property("naturalWidth", 4 * 90)


def test_in_a_browser_a_broken_file_is_told_and_the_next_one_is_shown(visit, pictures):
    page = visit()
    give(page, pictures / "text.jpg")
    expect(page.locator("#message .error")).to_contain_text("cannot be read", timeout=30_000)
    give(page, pictures / "one.png")
    expect(page.locator("#people tbody tr").first).to_be_visible(timeout=30_000)
    page.get_by_label("Remove Image").click()
    expect(page.locator("#message")).to_contain_text("Put in a picture")
    rows(page, 0)


def test_in_a_browser_a_file_over_the_limit_is_refused_by_page_and_server(visit, address, pictures):
    page = visit(complaining=True)  # gradio asks how far the upload is that it refused
    give(page, pictures / "large.png")
    expect(page.get_by_text("maximum allowed size")).to_be_visible(timeout=30_000)
    with (pictures / "large.png").open("rb") as file:
        answer = requests.post(f"{address}gradio_api/upload", files={"files": file}, timeout=60)
    assert answer.status_code == 413
    give(page, pictures / "one.png")
    expect(page.locator("#people tbody tr").first).to_be_visible(timeout=30_000)


def test_in_a_browser_visitors_see_their_own_pictures(visit, pictures):
    pages = [visit(), visit()]
    for page, name in zip(pages, ("one", "two"), strict=True):
        give(page, pictures / f"{name}.png")
    for page, size in zip(pages, ((90, 60), (70, 80)), strict=True):
        expect(page.locator("#people tbody tr").first).to_be_visible(timeout=30_000)
        choose(page, "people", 2)
        rows(page, 2)
        said = download(page, "json-download")
        assert (said["width"], said["height"]) == size


def test_files_of_the_machine_and_an_api_are_not_handed_out(address, checkpoint):
    for path in (f"file={checkpoint}", f"file={ROOT / 'README.md'}", "runs"):
        assert requests.get(f"{address}gradio_api/{path}", timeout=60).status_code in (403, 404)
    assert requests.get(f"{address}gradio_api/info", timeout=60).json()["named_endpoints"] == {}


def test_a_port_that_is_taken_is_told_and_nothing_is_left(checkpoint, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        words = (f"checkpoint={checkpoint}", f"port={port}")
        told = run("app", *words, cwd=tmp_path, TMPDIR=str(tmp_path))
    assert told.returncode == 1
    assert told.stderr.startswith(f"error: nobody can listen on port {port} of 127.0.0.1")
    assert list(tmp_path.iterdir()) == []

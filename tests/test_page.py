"""The page of one photograph: what it shows, what it leaves out, and how it behaves in a browser."""

import base64
import html.parser
import importlib.util
import io
import os
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from vdip_jax import Config
from vdip_jax.batches import Estimate
from vdip_jax.page import most_changed, write_page
from vdip_jax.photographs import Photo

CONFIG = Config.preset("quick", prefit_steps=2, ssim_steps=4)
SCORE = {"psnr": 20.0, "ssim": 0.5, "shift": (1.0, -0.5), "at_border": False}
DECISION = {"what": "kernel size", "value": "31x31", "why": "the blur is no longer; --kernel_size=51 is slower"}


def make_record(config=CONFIG, **more):
    return {
        "answer": "the network's image",
        "seconds": 125.4,
        "seed": 7,
        "device": "cpu",
        "version": "1.2.3",
        "versions": {"python": "3.11", "jax": "0.10"},
        "config": vars(config),
        "flags": ["--input=my photo.png", "--seed=7"],
        **more,
    }


def make_estimate(image, std=None, kernel=None, loss=(0.1, 0.01, 0.5, 0.4, 0.3, 0.2)):
    std = np.zeros(image.shape) if std is None else std
    kernel = np.ones((9, 31)) / (9 * 31) if kernel is None else kernel
    told = np.True_, np.float32(1), np.int64(0), np.float32(0), np.float32(0)
    return Estimate(image, std, kernel, np.array(loss), *told, None)


def write(tmp_path, photo, result, record=None, doubts=()):
    """The page's text and what a browser would make of it."""
    path = tmp_path / "page.html"
    write_page(path, photo, result, make_record() if record is None else record, doubts)
    assert list(tmp_path.iterdir()) == [path]
    text = path.read_text()
    return text, Page(text)


class Page(html.parser.HTMLParser):
    """Elements, headings, text outside scripts and styles; fails where tags do not match."""

    VOID = ("meta", "link", "img", "input")

    def __init__(self, text):
        super().__init__()
        self.elements, self.headings, self.text, self.open = [], [], "", []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        names = [name for name, _ in attributes]
        assert len(set(names)) == len(names), attributes
        self.elements.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("script", "style"):
            return
        self.text += data
        if self.open and self.open[-1] in ("h1", "h2", "h3"):
            self.headings.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    def pictures(self, text):
        """The embedded pictures of an alternative text."""
        found = [image["src"].partition(",")[2] for image in self.all("img") if image["alt"] == text]
        return [Image.open(io.BytesIO(base64.b64decode(data))) for data in found]


@pytest.fixture
def photo():
    return Photo("p", np.random.default_rng(0).random((60, 90, 3)).astype(np.float32))


def test_everything_there_is_is_shown(tmp_path, photo):
    photo = photo._replace(notes=("alpha is kept", "shrunk from 9x9 (--max_side)"))
    result = make_estimate(1 - photo.pixels, np.full((60, 90, 3), 0.1))
    record = make_record(decisions=[DECISION], score={"protocol": "rgb", "blurred": SCORE, "restored": SCORE})
    text, page = write(tmp_path, photo, result, record, ["the kernel is doubtful.", "it is small"])
    assert page.headings == [
        "p",
        "Not to be trusted blindly",
        "Where it changed most",
        "The kernel",
        "Uncertainty",
        "How the loss went",
        "What was decided automatically, and why",
        "Scores, protocol rgb",
        "Command",
        "Settings",
        "Versions",
    ]
    for words in (
        "the answer is the network's image",
        "90x60 pixels",
        "kernel 9x31",
        "6 steps",
        "2 min 5 s",
        "vdip_jax 1.2.3",
        "Alpha is kept; shrunk from 9x9 (--max_side).",
        "The kernel is doubtful.",
        "It is small.",
        "The blur is no longer; --kernel_size=51 is slower.",
        "bin/deblur \\\n  '--input=my photo.png' \\\n  --seed=7",
        "1, -0.5",
    ):
        assert words in page.text
    assert "<code>--kernel_size=51</code>" in text
    assert len(page.pictures("blurred")) == len(page.pictures("restored")) == 1 + 3


def test_what_there_is_not_is_left_out(tmp_path, photo):
    record = make_record(Config.preset("instant"))
    _, page = write(tmp_path, photo, make_estimate(photo.pixels, loss=()), record)
    always = ["Where it changed most", "The kernel", "Uncertainty", "Command", "Settings", "Versions"]
    assert page.headings == ["p", *always]
    assert "Nowhere: the answer is the photograph as it was." in page.text
    assert "There is no map" in page.text
    assert not page.pictures("standard deviation")
    assert "0 steps" not in page.text


def test_no_text_becomes_markup_and_every_tag_is_closed(tmp_path, photo):
    hostile = "\"a\" 'b' <i>c</i>\n&amp; é </title></script><script>alert(1)</script>"
    record = make_record(
        answer=hostile, device=hostile, flags=[hostile], decisions=[dict.fromkeys(("what", "value", "why"), hostile)]
    )
    result = make_estimate(1 - photo.pixels)
    text, page = write(tmp_path, photo._replace(name=hostile, notes=(hostile,)), result, record, [hostile])
    assert not page.all("i") and len(page.all("script")) == 1
    assert "".join(page.headings[: page.headings.index("Not to be trusted blindly")]) == hostile
    assert page.text.count(hostile) >= 6
    assert text.isascii()


def test_nothing_comes_from_elsewhere(tmp_path, photo):
    text, page = write(tmp_path, photo, make_estimate(1 - photo.pixels))
    assert not re.search(r"https?:|url\(|@import", text)
    for _, attributes in page.elements:
        assert all(attributes[name].startswith("data:image/") for name in ("src", "href") if name in attributes)
    assert "default-src 'none'" in text


@pytest.mark.parametrize("shape", [(60, 90), (60, 90, 3)])
def test_pictures_are_those_of_the_photograph(tmp_path, shape):
    y = np.zeros(shape)
    image = y.copy()
    image[20:40, 60:80] = 1
    # Of one channel, as the solver gives gray ones.
    _, page = write(tmp_path, Photo("p", y), make_estimate(image.reshape(60, 90, -1), std=image / 10))
    large, *crops = page.pictures("restored")
    assert large.size == (90, 60)
    # Lossless: all of the square is white but what lies outside the largest change.
    found = np.asarray(crops[0])
    assert found.shape == (20, 20, *shape[2:]) and found.mean() > 0.9 * 255
    assert (np.asarray(page.pictures("blurred")[1]) == 0).all()
    assert "0.1, which is 25.5 of 255 gray levels" in page.text
    shown = np.asarray(page.pictures("standard deviation")[0])
    assert shown.shape == (60, 90) and shown[30, 70] > 250 and shown[5, 5] < 5


def test_a_large_photograph_makes_no_large_page(tmp_path):
    rows, columns = np.mgrid[:1800, :2400] / 100
    y = np.stack([np.sin(rows) / 2 + 0.5, np.cos(columns) / 2 + 0.5, np.sin(rows * columns) / 2 + 0.5], -1)
    text, page = write(tmp_path, Photo("p", y), make_estimate(1 - y, std=y / 10))
    assert page.pictures("blurred")[0].size == page.pictures("restored")[0].size == (1600, 1200)
    assert "Shown at 1600x1200 of 2400x1800 pixels." in page.text
    assert len(text) < 4e6


def test_the_kernel_has_a_scale(tmp_path, photo):
    kernel = np.zeros((15, 31))
    kernel[7, 5:25] = 0.05
    text, page = write(tmp_path, photo, make_estimate(photo.pixels, kernel=kernel))
    assert "<div class=bar style='width: 32.26%'></div><div class=length>10 px</div>" in text
    assert "takes 1x20 pixels, height by width, of a frame of 15x31" in page.text
    np.testing.assert_array_equal(np.asarray(page.pictures("kernel")[0]), np.round(kernel / 0.05 * 255))


def test_the_map_says_what_it_is(tmp_path, photo):
    result = make_estimate(photo.pixels, std=photo.pixels)
    for config, words in (
        (CONFIG, "How far a pixel is to be expected from the truth"),
        (Config(prefit_steps=2, variational_steps=4, ssim_steps=0, std="posterior"), "as the fitted distribution"),
    ):
        assert words in write(tmp_path, photo, result, make_record(config))[1].text


def test_the_most_changed_squares_come_first_and_apart():
    before = np.zeros((100, 120))
    after = before.copy()
    after[0:16, 0:16], after[40:56, 80:96], after[84:100, 104:120] = 0.2, 0.6, 0.4
    found = most_changed(before, after, 16, 4)
    assert [(region.top, region.left) for region in found] == [(40, 80), (84, 104), (0, 0)]
    np.testing.assert_allclose([region.change for region in found], [0.6, 0.4, 0.2])
    assert most_changed(before, before, 16, 3) == []
    # In colour, everywhere: none overlaps another, and the sides of the image hold them.
    after = np.random.default_rng(0).random((100, 120, 3))
    found = most_changed(np.zeros(after.shape), after, 33, 9)
    assert len(found) >= 3
    for i, a in enumerate(found):
        assert 0 <= a.top <= 100 - 33 and 0 <= a.left <= 120 - 33
        assert all(abs(a.top - b.top) >= 33 or abs(a.left - b.left) >= 33 for b in found[:i])


# What follows needs a browser.

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium, that of the system."""
    chromium = shutil.which("chromium")
    if chromium is None or importlib.util.find_spec("playwright") is None:
        assert not os.environ.get("CI"), "CI must have Chromium and playwright"
        pytest.skip("no Chromium (apt-get install chromium) or no playwright (pip install playwright)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visit(tmp_path, browser):
    """A function that opens the page of a black photograph that became white; what it complains of is an error."""
    complaints, contexts = [], []
    y = np.zeros((100, 200, 3), np.float32)
    y[0, 0] = 1
    name = "a_long_name_without_any_space_" * 3
    record = make_record(decisions=[DECISION], score={"protocol": "rgb", "blurred": SCORE, "restored": SCORE})
    result = make_estimate(1 - y, std=y / 9)
    write_page(tmp_path / "pa ge.html", Photo(name, y), result, record, ["it is --doubtful=1."])

    def open_page(width=1280, **how):
        contexts.append(browser.new_context(viewport={"width": width, "height": 800}, **how))
        page = contexts[-1].new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: request.url.startswith(("file:", "data:")) or complaints.append(request.url))
        page.goto((tmp_path / "pa ge.html").as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


def divider(page):
    """Where the divider is drawn, and where the blurred picture over the other ends, as shares of the width."""
    return page.evaluate(
        """() => {
            const box = document.querySelector(".compare").getBoundingClientRect();
            const line = document.querySelector(".divider").getBoundingClientRect();
            const clip = getComputedStyle(document.querySelector(".before")).clipPath;
            const kept = clip.match(/inset\\(0px (?:calc\\(100% - )?([\\d.]+)%/)[1] / 100;
            return [(line.left + line.width / 2 - box.left) / box.width, clip.includes("calc") ? kept : 1 - kept];
        }"""
    )


def brightness(page, share):
    """Of what is seen at a share of the comparison's width, three quarters down; in [0, 1]."""
    shot = np.asarray(Image.open(io.BytesIO(page.locator(".compare").screenshot())).convert("L")) / 255
    return shot[shot.shape[0] * 3 // 4, int(share * shot.shape[1])]


def test_the_slider_moves_by_keyboard_and_mouse(visit):
    page = visit()
    np.testing.assert_allclose(divider(page), 0.5, atol=0.01)
    assert brightness(page, 0.3) < 0.1 and brightness(page, 0.7) > 0.9

    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.type") == "range"
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    np.testing.assert_allclose(divider(page), 0.6, atol=0.01)
    page.keyboard.press("End")
    np.testing.assert_allclose(divider(page), 1, atol=0.01)
    assert brightness(page, 0.9) < 0.1

    box = page.locator(".compare").bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 0.8 * box["width"], middle)
    page.mouse.down()
    np.testing.assert_allclose(divider(page), 0.8, atol=0.01)
    page.mouse.move(box["x"] + 0.253 * box["width"], middle)
    np.testing.assert_allclose(divider(page), 0.253, atol=0.003)
    # Beyond the edge, held all the same.
    page.mouse.move(box["x"] - 20, middle)
    np.testing.assert_allclose(divider(page), 0, atol=0.003)
    page.mouse.up()
    page.mouse.move(box["x"] + 0.5 * box["width"], middle)
    np.testing.assert_allclose(divider(page), 0, atol=0.003)
    # The keyboard goes on from there.
    page.keyboard.press("ArrowRight")
    np.testing.assert_allclose(divider(page), 0.01, atol=0.003)


def test_the_slider_moves_by_touch(visit):
    page = visit(390, has_touch=True)
    box = page.locator(".compare").bounding_box()
    page.touchscreen.tap(box["x"] + 0.2 * box["width"], box["y"] + 20)
    np.testing.assert_allclose(divider(page), 0.2, atol=0.01)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_fits_windows_of_all_widths_in_both_schemes(visit, tmp_path, width, scheme):
    page = visit(width, color_scheme=scheme)
    page.click("summary")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.screenshot(path=tmp_path / "page.png", full_page=True)
    paper = np.asarray(Image.open(tmp_path / "page.png").convert("L"))[-5, 5]
    assert paper > 200 if scheme == "light" else paper < 50
    # The curve has its room, and its text its size, at every width.
    assert page.locator(".curve > svg").bounding_box()["width"] > 0.6 * width
    assert page.locator(".curve text").first.bounding_box()["height"] > 10

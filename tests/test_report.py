"""The page of an evaluation: complete, self-contained, worst first."""

import html.parser
import re

import numpy as np
import pytest
from PIL import Image

from vdip_jax import records
from vdip_jax.datasets import find_dataset
from vdip_jax.records import gain
from vdip_jax.report import write_report
from vdip_jax.scoring import Picture
from vdip_jax.tables import make_tables

ABOUT = {"device": "cpu", "versions": {"jax": "0"}, "commit": "abc"}


def scored(psnr):
    return {protocol: dict(psnr=psnr, ssim=0.5, shift=(0, 0), at_border=False) for protocol in ("rgb", "selfdeblur")}


def make_folder(tmp_path, gains):
    """A data set and an evaluation of it with the given gains in dB, None for a failure."""
    pixels = np.random.default_rng(0).random((50, 60, 3))
    for part in ("blurred", "ground_truth", "kernels"):
        (tmp_path / "set" / part).mkdir(parents=True)
    Image.fromarray(np.full((3, 5), 9, np.uint8)).save(tmp_path / "set" / "kernels" / "k1.png")
    with records.opened(tmp_path / "out", {"crop": 0, "dataset": "other"}):
        for name, value in gains.items():
            for path in (f"blurred/{name}_k1.png", f"ground_truth/{name}.png"):
                Image.fromarray((255 * pixels).astype(np.uint8)).save(tmp_path / "set" / path)
            record = dict(name=f"{name}_k1", category=name, method="dip", seed=0, failed=None, **ABOUT)
            if value is None:
                records.write_record(tmp_path / "out", {**record, "failed": "broke <b>badly</b>."})
                continue
            record |= {"blurred": scored(20.0), "restored": scored(20.0 + value)}
            picture = Picture(pixels, np.full((50, 60, 3), 0.1), np.full((3, 5), 1 / 15))
            records.write_record(tmp_path / "out", record, picture)
    return tmp_path / "out", find_dataset(tmp_path / "set")


class Page(html.parser.HTMLParser):
    """What a browser would load: pictures by their caption, links to elsewhere, headings."""

    def __init__(self, text):
        super().__init__()
        self.pictures, self.headings, self.last = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.last = tag
        if tag == "img":
            self.pictures.append(dict(attributes))

    def handle_data(self, data):
        if self.last in ("h2", "h3") and data.strip():
            self.headings.append(data.strip())


def test_worst_cases_come_first_and_nothing_is_loaded_from_elsewhere(tmp_path):
    folder, dataset = make_folder(tmp_path, {"good": 3.0, "bad": -2.0, "broken": None, "fair": 1.0})
    found = records.read_records(folder)
    text = write_report(folder, dataset, found, make_tables(dataset, found)).read_text()
    page = Page(text)
    assert [name for name in page.headings if name.endswith("_k1")] == ["broken_k1", "bad_k1", "fair_k1", "good_k1"]
    assert all(picture["src"].startswith("data:image/") for picture in page.pictures)
    assert not re.search(r"https?://|<script|<link|url\(", text)
    # Blurred, truth and true kernel of all four; result, std and kernel of those that did not fail.
    assert len(page.pictures) == 4 * 3 + 3 * 3
    assert "-2.00 dB" in text and "broke &lt;b&gt;badly&lt;/b&gt;." in text and "<b>badly" not in text


def test_a_record_without_its_picture_or_image_is_no_obstacle(tmp_path):
    folder, dataset = make_folder(tmp_path, {"good": 3.0, "bad": -2.0})
    (folder / "pictures" / "good_k1.dip.seed0.png").unlink()
    (tmp_path / "set" / "ground_truth" / "bad.png").unlink()
    found = records.read_records(folder)
    text = write_report(folder, find_dataset(tmp_path / "set"), found, []).read_text()
    assert "its picture is not in this folder" in text and "bad_k1" in text


def test_gain_orders_failures_first():
    record = {"failed": None, "blurred": scored(20.0), "restored": scored(23.5)}
    assert gain(record) == pytest.approx(3.5)
    assert gain({"failed": "it broke."}) == float("-inf")
    assert np.isnan(gain({"failed": None}))

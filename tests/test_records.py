"""The folder of an evaluation."""

import json

import numpy as np
import pytest

from vdip_jax import Refusal, records
from vdip_jax.scoring import Picture

RECORD = {"name": "a", "method": "dip", "seed": 3, "failed": None}


@pytest.fixture
def folder(tmp_path):
    with records.opened(tmp_path / "out", {"preset": "quick"}):
        yield tmp_path / "out"


def test_records_and_pictures_come_back(folder):
    image = np.round(np.random.default_rng(0).random((6, 8, 3)) * 255) / 255
    std, kernel = np.full((6, 8, 3), 0.02), np.random.default_rng(1).random((3, 5))
    records.write_record(folder, RECORD, Picture(image, std, kernel))
    [record] = records.read_records(folder)
    assert record == {**RECORD, "std_scale": 0.02}
    picture = records.read_picture(folder, record)
    np.testing.assert_allclose(picture.image, image, atol=1e-6)
    np.testing.assert_allclose(picture.std * record["std_scale"], std, rtol=0.01)
    np.testing.assert_array_equal(picture.kernel, kernel)


def test_a_record_without_a_picture_has_none(folder):
    records.write_record(folder, {**RECORD, "failed": "it broke."})
    [record] = records.read_records(folder)
    assert records.read_picture(folder, record) is None


def test_numbers_without_bound_come_back(folder):
    records.write_record(folder, {**RECORD, "psnr": float("inf")})
    assert records.read_records(folder)[0]["psnr"] == float("inf")


def test_the_same_settings_go_on_and_others_are_refused(folder, tmp_path):
    with pytest.raises(Refusal, match="another evaluation is writing"):
        with records.opened(folder, {"preset": "quick"}):
            pass
    for name, settings in (("preset", {"preset": "published"}), ("crop", {"preset": "quick", "crop": 3})):
        with pytest.raises(Refusal, match=f"holds results with {name}="):
            with records.opened(folder, settings):
                pass


def test_tuples_and_paths_in_settings_are_compared_as_written(tmp_path):
    for _ in range(2):
        with records.opened(tmp_path / "out", {"size": (3, 5), "data": tmp_path}):
            pass


def test_a_broken_record_is_named(folder):
    (folder / "records" / "x.dip.seed0.json").write_text("{")
    with pytest.raises(Refusal, match="x.dip.seed0.json.*remove it"):
        records.read_records(folder)


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "holiday.txt").write_text("mine")
    with pytest.raises(Refusal, match="other files"):
        with records.opened(tmp_path, {}):
            pass
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.txt"]
    with pytest.raises(Refusal, match="settings.json"):
        records.read_settings(tmp_path)


def test_settings_are_written_as_json(folder):
    assert json.loads((folder / "settings.json").read_text()) == {"preset": "quick"}

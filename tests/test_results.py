"""The files of one result."""

import json

import numpy as np
from PIL import Image

from vdip_jax import Config
from vdip_jax.batches import Estimate
from vdip_jax.photographs import Photo
from vdip_jax.results import SUFFIXES, final_losses, write_result

TOLD = np.True_, np.float32(1), np.int64(0), np.float32(0), np.float32(0)


def test_files_hold_what_was_estimated(tmp_path):
    photo = Photo("p", np.full((20, 30), 0.5, np.float32))
    std = np.linspace(0, 0.2, 600).reshape(20, 30)
    estimate = Estimate(np.ones((20, 30)), std, np.full((3, 3), 1 / 9), np.zeros(3), *TOLD, None)
    paths = write_result(tmp_path, photo, estimate, {"flags": ["--seed=1"], "ok": True})
    assert (
        sorted(tmp_path.iterdir()) == sorted(paths) == sorted(tmp_path / f"p{suffix}" for suffix in (".png", *SUFFIXES))
    )
    assert (np.asarray(Image.open(tmp_path / "p.png")) == 255).all()
    np.testing.assert_allclose(np.load(tmp_path / "p_kernel.npy"), 1 / 9)
    assert (tmp_path / "p.flags").read_text() == "--seed=1\n"
    scale = json.loads((tmp_path / "p.json").read_text())["std_scale"]
    shown = np.asarray(Image.open(tmp_path / "p_std.png")) / 255 * scale
    # Exact below the 99th percentile, to half a gray level.
    np.testing.assert_allclose(shown, np.minimum(std, scale), atol=scale / 255)


def test_a_point_method_has_a_black_map(tmp_path):
    photo = Photo("p", np.full((20, 30), 0.5, np.float32))
    estimate = Estimate(photo.pixels, np.zeros((20, 30)), np.ones((1, 1)), np.zeros(3), *TOLD, None)
    write_result(tmp_path, photo, estimate, {})
    assert not np.asarray(Image.open(tmp_path / "p_std.png")).any()


def test_final_losses_are_those_at_the_end_of_each_phase():
    config = Config(prefit_steps=2, variational_steps=0, ssim_steps=3)
    assert final_losses(np.arange(5.0), config) == {"prefit": 1.0, "ssim": 4.0}
    # A run that was ended early, in the second phase and before it.
    nan = np.nan
    assert final_losses(np.array([0, 1, 2, nan, nan]), config) == {"prefit": 1.0, "ssim": 2.0}
    assert final_losses(np.array([0, nan, nan, nan, nan]), config) == {"prefit": 0.0}

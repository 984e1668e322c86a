"""The real thing, small: a real blurred photograph of Levin's set, a crop, a short schedule."""

import jax
import numpy as np

from vdip_jax import Config, blur, solve


def test_a_crop_of_a_real_blurred_photograph_is_explained_by_what_is_found(levin):
    """Blurring the estimate with the estimated kernel gives the photograph back, and the kernel is no longer flat."""
    y = levin("im2_kernel3")[80:176, 80:176]
    config = Config.preset("cold", channels=16, prefit_steps=60, variational_steps=60, ssim_steps=120, lr_kernel=1e-3)
    result = solve(y, jax.random.key(0), kernel_size=15, config=config)
    assert bool(result.ok)
    assert result.image.shape == y.shape
    again = np.asarray(blur(result.image, result.kernel))
    residual = again - y[7:-7, 7:-7]
    assert np.sqrt((residual**2).mean()) < 0.1 * y.std()
    assert float(result.kernel.max()) > 3 / 225
    sharpness, before = (np.abs(np.diff(np.asarray(a), axis=1)).mean() for a in (result.image, y))
    assert sharpness > 1.1 * before

"""What estimated kernels are cleaned of, where they are moved, and which are of use."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
from mosaics import stroke

from vdip_jax import kernels


def test_components_are_those_of_scipy():
    support = np.random.default_rng(3).random((17, 21)) > 0.7
    labels, count = scipy.ndimage.label(support, np.ones((3, 3)))
    got = np.asarray(kernels.components(jnp.asarray(support)))
    assert ((got > 0) == support).all()
    assert len({*zip(labels[support], got[support], strict=True)}) == count == len(np.unique(got[support]))


def test_a_winding_component_is_one():
    support = np.ones((9, 9), bool)
    support[1:8:2] = False
    support[1:8:4, -1] = support[3:8:4, 0] = True
    assert len(np.unique(kernels.components(jnp.asarray(support)))) == 2


def test_small_entries_and_isolated_specks_are_dropped():
    kernel = stroke()
    dirty = kernel.copy()
    dirty[0, 0] = 0.004 * kernel.sum()
    dirty[8, 4] = 0.015 * kernel.sum()
    dirty[4, 0] = -0.1
    np.testing.assert_allclose(kernels.cleaned(jnp.asarray(dirty)), kernel, atol=1e-6)
    assert not kernels.cleaned(jnp.full((5, 5), -1.0)).any()


@pytest.mark.parametrize("shift", [(0, 0), (2, -1), (-2, 2)])
def test_the_middle_of_the_support_is_moved_to_the_middle(shift):
    kernel = np.zeros((9, 9), np.float32)
    kernel[2:7, 3:6] = np.arange(1, 16).reshape(5, 3) / 120
    moved = kernels.centred(jnp.asarray(np.roll(kernel, shift, (0, 1))))
    np.testing.assert_array_equal(moved, kernel)


def test_a_kernel_as_wide_as_its_frame_loses_nothing_where_its_mass_is_uneven():
    kernel = np.zeros((7, 9), np.float32)
    kernel[3, :8] = [0.65, *[0.05] * 7]
    for given in (kernel, kernel[::-1, ::-1], kernel[:, ::-1]):
        assert sorted(np.asarray(kernels.centred(jnp.asarray(given))).ravel()) == sorted(kernel.ravel())
    assert not kernels.centred(jnp.zeros((7, 9))).any()


def test_a_kernel_is_of_use_if_finite_of_some_mass_and_wider_than_a_point():
    given = np.stack([stroke()] * 4)
    given[1] = 0
    given[2, 0, 0] = np.nan
    given[3] = 0.05 * stroke()
    given[3, 4, 4] += 0.95
    assert kernels.useful(jnp.asarray(given)).tolist() == [True, False, False, False]


def test_a_kernel_in_a_larger_or_smaller_frame_has_the_same_middle():
    kernel = np.zeros((5, 5), np.float32)
    kernel[2, 1:4] = 0.2, 0.5, 0.3
    larger = kernels.framed(kernel, 9)
    assert larger.shape == (9, 9)
    np.testing.assert_allclose(larger[4, 3:6], kernel[2, 1:4], rtol=1e-6)
    np.testing.assert_allclose(kernels.framed(larger, 3), kernel[1:4, 1:4], rtol=1e-6)
    np.testing.assert_array_equal(kernels.framed(kernel, 1), [[1]])


@pytest.mark.parametrize(
    ("height", "width", "small"), [(3, 3, True), (4, 4, True), (5, 3, False), (3, 5, False), (0, 0, True)]
)
def test_a_kernel_is_small_where_it_fills_less_than_half_of_its_frame_both_ways(height, width, small):
    kernel = np.zeros((9, 9), np.float32)
    kernel[1 : 1 + height, 2 : 2 + width] = 1
    # Entries this small do not count.
    kernel[8] += 0.04 * kernel.max()
    assert bool(kernels.is_small(jnp.asarray(kernel))) is small
    assert kernels.extent(kernel) == (height, width)


@pytest.mark.parametrize("shift", [(0, 0), (2, -1), (-1, 2)])
def test_the_mean_is_where_the_first_kernel_is(shift):
    a, b = stroke(), np.zeros((9, 9), np.float32)
    b[2:7, 1:7] = np.random.default_rng(0).random((5, 6)) / 100
    b += 0.7 * a
    expected = (a + b) / (a + b).sum()
    np.testing.assert_allclose(
        kernels.mean(jnp.asarray(a), jnp.asarray(np.roll(b, shift, (0, 1)))), expected, atol=1e-6
    )


def test_what_a_mean_moves_out_of_the_frame_is_left_out():
    a, b = np.zeros((3, 5), np.float32), np.zeros((3, 5), np.float32)
    a[1, 3:], b[1, :3] = (0.5, 0.5), (0.4, 0.4, 0.2)
    np.testing.assert_allclose(kernels.mean(jnp.asarray(a), jnp.asarray(b))[1], [0, 0, 0, 0.5, 0.5], atol=1e-6)

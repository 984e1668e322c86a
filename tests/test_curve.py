"""The losses as a drawing."""

import re

import numpy as np
import pytest

from vdip_jax.curve import decimal_ticks, loss_curve


def lines(svg):
    """The points of every line drawn, [N, 2] in shares of width and height."""
    found = re.findall(r"<path d='M([^']*)h0'", svg)
    return [np.array([point.split() for point in line.split("L")], float) for line in found]


def test_phases_are_drawn_apart_on_a_logarithmic_axis():
    loss = np.array([1e-1, 1e-2, 1e-3, 1.0, 1e-1])
    svg = loss_curve(loss, (("prefit", 3), ("ssim", 2)))
    prefit, ssim = lines(svg)
    np.testing.assert_allclose(prefit, [[0, 1 / 3], [0.25, 2 / 3], [0.5, 1]], atol=1e-4)
    np.testing.assert_allclose(ssim, [[0.75, 0], [1, 1 / 3]], atol=1e-4)
    assert re.findall("<text class=phase x='(.*?)'.*?>(.*?)</text>", svg) == [("0.00%", "prefit"), ("75.00%", "ssim")]
    assert "prefit from 0.1 to 0.001 in 3 steps, ssim from 1 to 0.1 in 2 steps." in svg


def test_a_run_that_was_ended_early_is_drawn_as_far_as_it_came():
    svg = loss_curve(np.array([2.0, 1.0, np.nan, np.nan]), (("variational", 3), ("ssim", 1)))
    (line,) = lines(svg)
    np.testing.assert_allclose(line[:, 0], [0, 1])
    assert "ended after 2 of 4 steps" in svg and "ssim" not in svg


def test_losses_without_a_logarithm_are_left_out_and_told():
    svg = loss_curve(np.array([1.0, -1.0, np.inf, 0.5]), (("variational", 4),))
    assert len(lines(svg)[0]) == 2
    assert "not positive and are not drawn: 1." in svg


def test_many_steps_become_medians():
    loss = np.ones(5000)
    loss[::10] = 100
    (line,) = lines(svg := loss_curve(loss, (("ssim", 5000),)))
    assert len(line) == 500 and len(set(line[:, 1])) == 1
    assert "A point is the median of 10 steps." in svg


@pytest.mark.parametrize("loss", [[], [np.nan, np.nan], [-1.0]])
def test_nothing_is_drawn_of_nothing(loss):
    assert loss_curve(np.array(loss), (("ssim", len(loss)),)) == ""


@pytest.mark.parametrize("loss", [[1.0], [0.3, 0.3], [1e-12, 1e12], [0.0123, 0.0124]])
def test_every_range_has_axes_and_stays_within(loss):
    svg = loss_curve(np.array(loss), (("ssim", len(loss)),))
    (line,) = lines(svg)
    assert (line >= 0).all() and (line <= 1).all()
    assert 2 <= svg.count("class=grid") <= 8
    assert 1 <= svg.count("text-anchor=middle") <= 6


def test_ticks_enclose_the_range():
    assert decimal_ticks(0.3, 7) == [0.2, 0.5, 1, 2, 5, 10]
    assert decimal_ticks(1, 1) == [1, 2]
    assert decimal_ticks(10, 20) == [10, 20]

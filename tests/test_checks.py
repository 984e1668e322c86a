"""Every refusal that concerns the library: what was expected, what came, before any work."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vdip_jax import Config, Refusal, checks, solve

KEY = jax.random.key(0)
Y = np.full((24, 20), 0.5, np.float32)
BOX = np.full((5, 5), 1 / 25, np.float32)


def with_value(value):
    y = Y.copy()
    y[3, 4] = value
    return y


def refusal(*args, **kwargs):
    with pytest.raises(Refusal) as caught:
        solve(*args, **kwargs)
    return str(caught.value)


def check_message(message, words):
    """One sentence on one line that holds all `words`."""
    assert message.endswith(".") and "\n" not in message and ". " not in message
    for word in words:
        assert word in message, message


SMALL = Config(num_levels=2)

# What is wrong can be seen without the values, so these are refused under jit as well.
BAD_SHAPES = {
    "even kernel": (Y, {"kernel_size": 4}, ["odd", "got 4"]),
    "zero kernel": (Y, {"kernel_size": 0}, ["odd", "got 0"]),
    "negative kernel": (Y, {"kernel_size": -5}, ["odd", "got -5"]),
    "kernel of one pixel": (Y, {"kernel_size": 1}, ["at least 3", "got 1"]),
    "fractional kernel": (Y, {"kernel_size": 5.0}, ["odd integer", "got 5.0"]),
    "true as a kernel": (Y, {"kernel_size": True}, ["odd integer", "got True"]),
    "three kernel sizes": (Y, {"kernel_size": (3, 3, 3)}, ["pair", "(3, 3, 3)"]),
    "one even side": (Y, {"kernel_size": (5, 4)}, ["odd", "(5, 4)"]),
    "kernel taller than the image": (Y, {"kernel_size": (25, 3)}, ["exceed", "25x3", "24x20"]),
    "kernel wider than the image": (Y, {"kernel_size": 21}, ["exceed", "21x21", "24x20"]),
    "no kernel size": (Y, {}, ["kernel_size must be given"]),
    "rank 1": (Y[0], {"kernel_size": 5}, ["[H, W]", "(20,)"]),
    "rank 5": (Y[None, None, :, :, None], {"kernel_size": 5}, ["[B, H, W, C]", "(1, 1, 24, 20, 1)"]),
    "two channels": (np.stack([Y, Y], -1), {"kernel_size": 5}, ["1 or 3 channels", "(24, 20, 2)"]),
    "four channels": (np.stack([Y] * 4, -1), {"kernel_size": 5}, ["1 or 3 channels", "alpha"]),
    "stacked gray images": (np.stack([Y, Y]), {"kernel_size": 5}, ["1 or 3 channels", "[B, H, W, 1]"]),
    "no pixels": (np.zeros((0, 20), np.float32), {"kernel_size": 5}, ["at least one pixel", "(0, 20)"]),
    "no images": (np.zeros((0, 24, 20, 1), np.float32), {"kernel_size": 5}, ["at least one", "(0, 24, 20, 1)"]),
    "one pixel": (np.zeros((1, 1), np.float32), {"kernel_size": 3}, ["exceed", "1x1"]),
    "image below the SSIM window": (Y[:10], {"kernel_size": 5, "config": SMALL}, ["at least 11 pixels", "10x20"]),
    "8-bit image": (Y.astype(np.uint8), {"kernel_size": 5}, ["floating-point", "uint8", "astype('float32') / 255"]),
    "integer image": (Y.astype(np.int32), {"kernel_size": 5}, ["floating-point", "int32", "astype"]),
    "boolean image": (Y > 0, {"kernel_size": 5}, ["floating-point", "bool"]),
    "complex image": (Y + 0j, {"kernel_size": 5}, ["floating-point", "complex"]),
    "known kernel of rank 3": (Y, {"kernel": BOX[..., None]}, ["two-dimensional", "(5, 5, 1)"]),
    "known integer kernel": (Y, {"kernel": np.ones((5, 5), int)}, ["floating-point", "int64", "astype"]),
    "known even kernel": (Y, {"kernel": np.ones((4, 5), np.float32)}, ["odd", "(4, 5)"]),
    "known kernel and another size": (Y, {"kernel": BOX, "kernel_size": 7}, ["given kernel", "(5, 5)", "got 7"]),
    "known kernel larger than the image": (Y, {"kernel": np.ones((5, 21), np.float32)}, ["exceed", "5x21"]),
}


@pytest.mark.parametrize("case", BAD_SHAPES)
def test_bad_shape_or_type_is_refused(case):
    y, options, words = BAD_SHAPES[case]
    check_message(refusal(y, KEY, **options), words)


@pytest.mark.parametrize("case", BAD_SHAPES)
def test_bad_shape_or_type_is_refused_under_jit_too(case):
    y, options, words = BAD_SHAPES[case]
    with pytest.raises(Refusal) as caught:
        jax.eval_shape(lambda y, key: solve(y, key, **options), y, KEY)
    check_message(str(caught.value), words)


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (with_value(np.nan), ["finite", "got 1 NaN"]),
        (with_value(np.inf), ["finite", "infinite"]),
        (with_value(1.01), ["[0, 1]", "to 1.01"]),
        (with_value(-0.01), ["[0, 1]", "from -0.01"]),
        (Y * 255, ["[0, 1]", "127.5", "divide"]),
        ([[0.5] * 20] * 24, ["y must be an array", "got list"]),
        (None, ["y must be an array", "got NoneType"]),
    ],
)
def test_bad_image_values_are_refused(y, words):
    check_message(refusal(y, KEY, kernel_size=5), words)


@pytest.mark.parametrize(
    ("kernel", "words"),
    [
        (-BOX, ["non-negative"]),
        (0 * BOX, ["positive sum"]),
        (np.where(BOX > 0, np.nan, 0).astype(np.float32), ["finite"]),
        (BOX.tolist(), ["two-dimensional array", "list"]),
        ("motion", ["two-dimensional array", "motion"]),
    ],
)
def test_bad_known_kernel_is_refused(kernel, words):
    check_message(refusal(Y, KEY, kernel=kernel), words)


@pytest.mark.parametrize(
    ("y", "key", "words"),
    [
        (Y, 0, ["random key", "jax.random.key(0)", "int 0"]),
        (Y, None, ["random key", "None"]),
        (Y, np.zeros(2, np.uint32), ["random key", "uint32"]),
        (Y, jax.random.split(KEY, 2), ["one key", "(2,)"]),
        (np.stack([Y] * 3)[..., None], jax.random.split(KEY, 2), ["one key or 3 keys", "(2,)"]),
    ],
)
def test_bad_key_is_refused(y, key, words):
    check_message(refusal(y, key, kernel_size=5), words)


def test_legacy_key_is_refused():
    check_message(refusal(Y, jax.random.PRNGKey(0), kernel_size=5), ["jax.random.key(0)", "uint32"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"config": "quick"}, ["vdip_jax.Config", "got str"]),
        ({"config": {"channels": 8}}, ["vdip_jax.Config", "got dict"]),
        ({"chunk_steps": 0}, ["chunk_steps", "at least 1", "got 0"]),
        ({"chunk_steps": 2.0}, ["chunk_steps", "integer", "got 2.0"]),
    ],
)
def test_bad_option_is_refused(options, words):
    check_message(refusal(Y, KEY, kernel_size=5, **options), words)


def test_image_smaller_than_the_network_is_refused():
    message = refusal(np.zeros((24, 40), np.float32), KEY, kernel_size=5, config=Config())
    check_message(message, ["at least 29 pixels", "5 levels", "24x40"])


def test_image_smaller_than_the_extreme_window_is_refused():
    config = Config(method="vdip-extreme", num_levels=2)
    message = refusal(np.zeros((40, 30), np.float32), KEY, kernel_size=5, config=config)
    check_message(message, ["at least 31 pixels", "extreme-channel window", "40x30"])


@pytest.mark.parametrize("num_levels", [2, 5])
def test_least_canvas_is_enough_for_the_network_and_one_pixel_less_is_refused(num_levels):
    config = Config(num_levels=num_levels, channels=4, skip_channels=4, nonlocal_from=1, kernel_hidden=4)
    least = max(config.least_canvas[0] - 2, checks.SSIM_WINDOW)

    def shape(side):
        y = jax.ShapeDtypeStruct((side, least), jnp.float32)
        return jax.eval_shape(lambda y: solve(y, KEY, kernel_size=3, config=config), y).image.shape

    assert shape(least) == (least, least)
    with pytest.raises(Refusal, match=f"at least {least} pixels"):
        shape(least - 1)


def test_refusal_is_a_value_error():
    assert issubclass(Refusal, ValueError)


@pytest.mark.parametrize(("size", "pair"), [(3, (3, 3)), ((3, 5), (3, 5)), ([5, 3], (5, 3)), (np.int64(7), (7, 7))])
def test_kernel_size_becomes_a_pair_of_integers(size, pair):
    got = checks.check_kernel_size(size, (24, 20))
    assert got == pair
    assert [type(n) for n in got] == [int, int]


def test_kernel_may_be_as_large_as_the_image():
    assert checks.check_kernel_size((25, 21), (25, 21)) == (25, 21)


def test_known_kernel_is_scaled_to_sum_one():
    np.testing.assert_allclose(checks.check_kernel(3 * BOX), BOX, rtol=1e-6)


def test_images_at_both_ends_of_the_range_pass_unchanged():
    y = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
    np.testing.assert_array_equal(checks.check_images(y), y)


@pytest.mark.parametrize(("value", "near"), [("vdip-sprase", "vdip-sparse"), ("dpi", "dip"), ("std", "vdip-std")])
def test_misspelt_choice_names_the_nearest(value, near):
    with pytest.raises(Refusal) as caught:
        checks.check_choice("method", value, ["dip", "vdip-std", "vdip-sparse"])
    check_message(str(caught.value), ["method must be one of", repr(value), f"did you mean {near!r}?"])


def test_choice_unlike_all_others_gets_no_hint():
    with pytest.raises(Refusal) as caught:
        checks.check_choice("preset", "xyz", ["published", "quick"])
    assert "did you mean" not in str(caught.value)


def test_tracers_are_not_concrete():
    seen = []
    jax.eval_shape(lambda x: seen.append(checks.is_concrete({"a": x}, None)), Y)
    assert seen == [False]
    assert checks.is_concrete(Y, jnp.asarray(Y), None)

"""No-reference scores against other people's programs and formulas written out."""

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage
import skimage.data
from scipy.special import gamma

from vdip_jax import Refusal
from vdip_jax.quality import (
    BrisqueModel,
    _brisque_features,
    _gray,
    _halved,
    brisque,
    niqe,
    piqe,
    read_brisque_model,
)

GOLDEN = json.loads(Path(__file__).with_name("golden_quality.json").read_text())
SCORES = GOLDEN["scores"]


def image_of(name):
    """The image that a golden score belongs to, in [0, 1]."""
    rng = np.random.default_rng(0)
    # Drawn one after the other from one generator, as they were for the golden scores.
    noise = rng.integers(0, 256, (203, 317), dtype=np.uint8)
    right = rng.integers(0, 256, (203, 317))
    colour = rng.integers(0, 256, (97, 200, 3), dtype=np.uint8)
    row, column = np.mgrid[:203, :317]
    made = {
        "noise": noise,
        "stripes": (column * column // 90 + row * 7) % 256,
        "half flat": np.where(column < 150, 128, right),
        "colour noise": colour,
    }
    return (made[name] if name in made else getattr(skimage.data, name)()) / 255


def gray_noise(shape=(100, 210)):
    return np.random.default_rng(1).integers(0, 256, shape) / 255


def model_of(count=5):
    """A model whose support vectors lie where the features of photographs, scaled, do."""
    rng = np.random.default_rng(2)
    minimum = rng.uniform(-1, 0, 36)
    return BrisqueModel(
        gamma=0.05,
        rho=-30.25,
        coefficients=rng.normal(0, 40, count),
        vectors=rng.uniform(-1, 1, (count, 36)),
        minimum=minimum,
        maximum=minimum + rng.uniform(1, 3, 36),
        lower=-1.0,
        upper=1.0,
    )


def save(model, folder, head=("svm_type epsilon_svr", "kernel_type rbf"), first=1):
    """Write `model` as libsvm does: sparse, zeros left out."""
    rows = [
        " ".join([f"{c:.17g}"] + [f"{i}:{v:.17g}" for i, v in enumerate(vector, first) if v]) + " "
        for c, vector in zip(model.coefficients, model.vectors, strict=True)
    ]
    count = f"total_sv {len(rows)}"
    lines = [*head, f"gamma {model.gamma}", "nr_class 2", count, f"rho {model.rho}", "probA 6.3", "SV", *rows]
    ranges = [f"{i} {a:.17g} {b:.17g}" for i, (a, b) in enumerate(zip(model.minimum, model.maximum, strict=True), 1)]
    (folder / "allmodel").write_text("\n".join(lines) + "\n")
    (folder / "allrange").write_text("\n".join(["x", f"{model.lower:g} {model.upper:g}", *ranges]) + "\n")
    return folder / "allmodel", folder / "allrange"


@pytest.mark.parametrize("name", SCORES)
def test_piqe_equals_pypiqe(name):
    score = piqe(image_of(name))
    np.testing.assert_allclose(score, SCORES[name]["piqe_matlab"], atol=1e-9)
    # Its luma is OpenCV's, a level off in up to 0.6 % of these images' pixels: one or two blocks judged differently.
    np.testing.assert_allclose(score, SCORES[name]["piqe"], atol=0.2)


@pytest.mark.parametrize("name", SCORES)
def test_niqe_equals_basicsr(name):
    score = niqe(image_of(name))
    np.testing.assert_allclose(score, SCORES[name]["niqe_exact"], rtol=1e-8)
    # In float32 what is left in flat areas is rounding, which its fits take for the image's.
    np.testing.assert_allclose(score, SCORES[name]["niqe"], rtol=2e-3)


@pytest.mark.parametrize("name", GOLDEN["brisque_features"])
def test_brisque_features_of_neighbours_equal_those_of_the_package_brisque(name):
    luma = _gray(np.atleast_3d(image_of(name)))
    # It fits the MSCN itself, two features a scale, with another distribution than the authors.
    features = [_brisque_features(scale)[2:] for scale in (luma, _halved(luma))]
    golden = np.reshape(GOLDEN["brisque_features"][name], (2, 18))[:, 2:]
    # Its shapes are not rounded to 0.001.
    np.testing.assert_allclose(features, golden, atol=6e-4)


def written_out_features(luma):
    """18 features of BRISQUE by its formulas: the two-dimensional window, whole tables searched."""
    window = np.exp(-(np.add.outer(np.arange(-3, 4) ** 2, np.arange(-3, 4) ** 2)) / (2 * (7 / 6) ** 2))
    window /= window.sum()
    mean = scipy.ndimage.convolve(luma, window, mode="constant")
    std = np.sqrt(np.abs(scipy.ndimage.convolve(luma**2, window, mode="constant") - mean**2))
    mscn = (luma - mean) / (std + 1)
    shapes = np.arange(0.2, 10.0001, 0.001)
    table = gamma(1 / shapes) * gamma(3 / shapes) / gamma(2 / shapes) ** 2
    features = [shapes[np.argmin(np.abs(table - (mscn**2).mean() / np.abs(mscn).mean() ** 2))], (mscn**2).mean()]
    for shift in ((0, 1), (1, 0), (1, 1), (-1, 1)):
        pair = mscn * np.roll(mscn, shift, (0, 1))
        left, right = (np.sqrt((pair[side] ** 2).mean()) for side in (pair < 0, pair > 0))
        g = left / right
        ratio = np.abs(pair).mean() ** 2 / (pair**2).mean() * (g**3 + 1) * (g + 1) / (g**2 + 1) ** 2
        a = shapes[np.argmin((1 / table - ratio) ** 2)]
        mean = (right - left) * gamma(2 / a) / gamma(1 / a) * np.sqrt(gamma(1 / a) / gamma(3 / a))
        features += [a, mean, left**2, right**2]
    return features


def bicubic(n):
    """MATLAB's imresize to one half of `n` pixels as a matrix, from its kernel and mapping of coordinates."""
    x = np.abs(np.add.outer(2 * np.arange((n + 1) // 2) + 0.5, -np.arange(-8, n + 8))) / 2
    weights = np.where(x <= 1, 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2) * (x < 2)
    weights /= weights.sum(1, keepdims=True)
    # Mirrored borders: each pixel beyond stands for one within.
    return weights @ np.pad(np.eye(n), ((8, 8), (0, 0)), mode="symmetric")


@pytest.mark.parametrize("shape", [(14, 15), (33, 40), (41, 17)])
def test_brisque_is_its_formulas_written_out(shape):
    model, image = model_of(), gray_noise(shape)
    luma = np.round(255 * image)
    half = bicubic(shape[0]) @ luma @ bicubic(shape[1]).T
    features = np.array(written_out_features(luma) + written_out_features(half))
    scaled = model.lower + (model.upper - model.lower) * (features - model.minimum) / (model.maximum - model.minimum)
    expected = -model.rho
    for coefficient, vector in zip(model.coefficients, model.vectors, strict=True):
        expected += coefficient * np.exp(-model.gamma * np.sum((vector - scaled) ** 2))
    np.testing.assert_allclose(brisque(image, model), expected, rtol=1e-9)


def test_brisque_at_a_support_vector_is_its_coefficient_less_the_offset():
    image = gray_noise((30, 30))
    luma = _gray(image[..., None])
    features = np.concatenate([_brisque_features(luma), _brisque_features(_halved(luma))])
    # Ranges about the features scale each to zero.
    model = model_of(1)._replace(vectors=np.zeros((1, 36)), minimum=features - 1, maximum=features + 1)
    np.testing.assert_allclose(brisque(image, model), model.coefficients[0] - model.rho, rtol=1e-12)


def test_model_is_read_as_it_was_written(tmp_path):
    model = model_of()
    model.vectors[1, 3:30] = 0
    for got, want in zip(read_brisque_model(*save(model, tmp_path)), model, strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize(
    ("head", "got"),
    [
        (("svm_type c_svc", "kernel_type rbf"), "got svm_type c_svc and kernel_type rbf"),
        (("svm_type epsilon_svr", "kernel_type linear"), "got svm_type epsilon_svr and kernel_type linear"),
        (("a poem",), "got svm_type missing and kernel_type missing"),
    ],
)
def test_model_of_another_kind_is_refused(head, got, tmp_path):
    with pytest.raises(Refusal, match=f"allmodel: expected the text of a libsvm model .* over 36 features, {got}"):
        read_brisque_model(*save(model_of(), tmp_path, head))


def test_model_over_other_features_is_refused(tmp_path):
    with pytest.raises(Refusal, match="damaged .feature 37"):
        read_brisque_model(*save(model_of(), tmp_path, first=2))


@pytest.mark.parametrize(
    ("old", "new", "got"),
    [("rho", "row", "'rho'"), ("total_sv 5", "total_sv 6", "5 support vectors where total_sv is 6"), (":", " ", "")],
)
def test_damaged_model_is_refused(old, new, got, tmp_path):
    model_path, range_path = save(model_of(), tmp_path)
    model_path.write_text(model_path.read_text().replace(old, new))
    with pytest.raises(Refusal, match=f"expected .* damaged .*{got}"):
        read_brisque_model(model_path, range_path)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: "",
        lambda text: text.replace("x", "y", 1),
        lambda text: text.replace("-1 1", "-1", 1),
        lambda text: text.rsplit("\n", 2)[0],
        lambda text: text + "37 0 1\n",
        lambda text: text.rsplit("\n", 2)[0] + "\n36 1 1\n",
    ],
)
def test_ranges_of_another_kind_are_refused(spoil, tmp_path):
    model_path, range_path = save(model_of(), tmp_path)
    range_path.write_text(spoil(range_path.read_text()))
    with pytest.raises(Refusal, match="allrange: expected the text that svm-scale -s saves"):
        read_brisque_model(model_path, range_path)


@pytest.mark.parametrize("content", [None, b"\x89PNG\xff"])
def test_model_that_cannot_be_read_is_refused(content, tmp_path):
    model_path, range_path = save(model_of(), tmp_path)
    if content is None:
        model_path.unlink()
    else:
        model_path.write_bytes(content)
    with pytest.raises(Refusal, match="allmodel: expected .* cannot be read"):
        read_brisque_model(model_path, range_path)


def brisque_of_model(image):
    return brisque(image, model_of())


@pytest.mark.parametrize("value", [0, 0.3, 1])
@pytest.mark.parametrize("shape", [(96, 96), (130, 200, 3)])
def test_blank_image_scores_100_in_piqe_and_nan_in_the_others(value, shape):
    blank = np.full(shape, float(value))
    assert piqe(blank) == 100
    assert np.isnan(niqe(blank))
    assert np.isnan(brisque_of_model(blank))


@pytest.mark.parametrize("measure", [piqe, niqe, brisque_of_model])
def test_channel_axis_and_precision_of_an_8_bit_image_do_not_matter(measure):
    image = gray_noise()
    assert measure(image) == measure(image[..., None]) == measure(image.astype(np.float32))


@pytest.mark.parametrize("measure", [piqe, brisque_of_model])
def test_gray_equals_rgb_of_equal_channels(measure):
    image = gray_noise()
    assert measure(image) == measure(np.stack([image] * 3, axis=-1))


def test_niqe_takes_rgb_of_equal_channels_to_studio_range():
    image = gray_noise()
    assert niqe(np.stack([image] * 3, axis=-1)) == niqe((16 + 219 * image) / 255)


def test_piqe_pads_with_mirrored_pixels_to_whole_blocks():
    image = gray_noise((50, 70))
    assert piqe(image) == piqe(np.pad(image, ((0, 14), (0, 10)), mode="symmetric"))


def test_piqe_scales_to_the_maximum_and_rounds_halves_upwards():
    levels = np.random.default_rng(3).integers(0, 52, (64, 64))
    assert piqe(levels / 255) == piqe(levels * (255 // levels.max()) / 255)
    # Of 170 levels each odd one lies, scaled to 255, between two.
    levels = np.append(levels, np.full((16, 64), 170), axis=0)
    assert piqe(levels / 255) == piqe((3 * levels + 1) // 2 / 255)


def test_niqe_cuts_off_what_is_no_whole_block():
    image = image_of("camera")
    assert niqe(image[:300, :250]) == niqe(image[:288, :192])


def test_niqe_of_a_single_block_is_finite_and_of_flat_blocks_none():
    image = image_of("camera")[:96, 96:192]
    assert 1 < niqe(image) < 100
    # The flat block has no features but the shapes that a failed search answers, 0.2.
    assert np.isfinite(niqe(np.hstack([image, np.full((96, 200), 0.5)])))


@pytest.mark.parametrize("measure", [piqe, niqe])
def test_blur_and_noise_are_worse(measure):
    image = image_of("camera")[:288, :288]
    noise = 0.1 * np.random.default_rng(4).standard_normal(image.shape)
    assert measure(image) < measure(scipy.ndimage.gaussian_filter(image, 2))
    assert measure(image) < measure(np.clip(image + noise, 0, 1))


@pytest.mark.parametrize(("measure", "least"), [(piqe, 16), (niqe, 96), (brisque_of_model, 14)])
def test_smallest_image_is_scored_and_smaller_ones_refused(measure, least):
    assert np.isfinite(measure(gray_noise((least, least))))
    for shape in ((least - 1, least), (least, least - 1, 3)):
        with pytest.raises(Refusal, match=f"at least {least} pixels a side, got {shape[0]}x{shape[1]}"):
            measure(gray_noise(shape))


@pytest.mark.parametrize("measure", [piqe, niqe, brisque_of_model])
@pytest.mark.parametrize("shape", [(100,), (100, 100, 4), (1, 100, 100, 3)])
def test_image_of_another_shape_is_refused(measure, shape):
    with pytest.raises(Refusal, match=r"needs an image \[H, W\], \[H, W, 1\] or \[H, W, 3\], got shape"):
        measure(np.zeros(shape))


@pytest.mark.parametrize("value", [-0.1, 1.5, np.nan, np.inf])
def test_values_outside_the_range_are_refused(value):
    image = gray_noise()
    image[3, 5] = value
    with pytest.raises(Refusal, match=r"NIQE needs floating-point values in \[0, 1\], got float64 from "):
        niqe(image)


def test_whole_numbers_are_refused():
    with pytest.raises(Refusal, match="got uint8 from 0 to 0; scale or clip"):
        piqe(np.zeros((20, 20), np.uint8))

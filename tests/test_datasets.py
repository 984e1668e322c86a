"""Finding and reading data sets, and that the evaluation images are what they are taken for."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
from PIL import Image

from vdip_jax import Refusal
from vdip_jax.datasets import choose, cropped, find_dataset, load_case
from vdip_jax.operators import blur


def write(path, shape, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(1, 255, shape, np.uint8)).save(path)


@pytest.fixture
def folder(tmp_path):
    """Two images by two kernels, of another data set."""
    for image in ("boat", "cat_01"):
        write(tmp_path / "ground_truth" / f"{image}.png", (50, 60))
        for kernel in ("k1", "k2"):
            write(tmp_path / "kernels" / f"{kernel}.png", (5, 7))
            write(tmp_path / "blurred" / f"{image}_{kernel}.png", (50, 60))
    return tmp_path


def test_names_tell_image_kernel_and_category(folder):
    dataset = find_dataset(folder)
    assert dataset.name == "other"
    assert dataset.notes == ()
    parts = [(pair.name, pair.image, pair.kernel, pair.category) for pair in dataset.pairs]
    assert parts == [
        ("boat_k1", "boat", "k1", "boat"),
        ("boat_k2", "boat", "k2", "boat"),
        ("cat_01_k1", "cat_01", "k1", "cat"),
        ("cat_01_k2", "cat_01", "k2", "cat"),
    ]
    assert all(pair.problem is None for pair in dataset.pairs)
    assert dataset.full_count("cat") == 2


def test_the_longest_name_that_fits_is_the_image(folder):
    write(folder / "ground_truth" / "boat_k1.png", (50, 60))
    write(folder / "blurred" / "boat_k1_k2.png", (50, 60))
    pair = next(pair for pair in find_dataset(folder).pairs if pair.name == "boat_k1_k2")
    assert (pair.image, pair.kernel) == ("boat_k1", "k2")


@pytest.mark.parametrize(
    ("removed", "names", "wanted"),
    [
        ("ground_truth/boat.png", ["boat_k1", "boat_k2"], "ground_truth/boat.png"),
        ("kernels/k2.png", ["boat_k2", "cat_01_k2"], "kernels/k2.png"),
    ],
)
def test_missing_files_are_named_and_the_rest_goes_on(folder, removed, names, wanted):
    (folder / removed).unlink()
    dataset = find_dataset(folder)
    assert [pair.name for pair in dataset.pairs if pair.problem] == names
    for pair in dataset.pairs:
        if pair.problem:
            assert wanted in pair.problem
            assert f"blurred/{pair.name}.png" in pair.problem
            with pytest.raises(Refusal, match="found none"):
                load_case(dataset, pair)
        else:
            assert load_case(dataset, pair).truth.shape == (50, 60)


def test_files_without_a_blurred_image_are_noted(folder):
    write(folder / "ground_truth" / "dog.png", (50, 60))
    (folder / "blurred" / "cat_01_k2.png").unlink()
    (folder / "blurred" / "boat_k2.png").unlink()
    assert find_dataset(folder).notes == (
        "ground_truth/dog.png: no blurred image of it.",
        "kernels/k2.png: no blurred image of it.",
    )


def test_kernels_are_normalised_and_turned_to_true_convolution(folder):
    pixels = np.asarray(Image.open(folder / "kernels" / "k1.png"), float)
    convolving, correlating = (find_dataset(folder, convention=name) for name in ("convolution", "correlation"))
    np.testing.assert_allclose(load_case(convolving, convolving.pairs[0]).kernel, pixels / pixels.sum(), rtol=1e-6)
    flipped = load_case(correlating, correlating.pairs[0]).kernel
    np.testing.assert_allclose(flipped, pixels[::-1, ::-1] / pixels.sum(), rtol=1e-6)


@pytest.mark.parametrize(
    ("path", "shape", "words"),
    [
        ("blurred/boat_k1.png", (50, 61), "boat_k1.png.*50x60 gray, got 50x61 gray"),
        ("blurred/boat_k1.png", (50, 60, 3), "50x60 gray, got 50x60 RGB"),
        ("kernels/k1.png", (4, 5), "kernels/k1.png: kernel_size must be an odd"),
        ("kernels/k1.png", (51, 7), "kernels/k1.png: kernel_size must not exceed"),
    ],
)
def test_files_that_do_not_fit_together_are_refused(folder, path, shape, words):
    write(folder / path, shape)
    dataset = find_dataset(folder)
    with pytest.raises(Refusal, match=words):
        load_case(dataset, dataset.pairs[0])


def test_black_kernel_and_unreadable_image_are_refused(folder):
    Image.fromarray(np.zeros((5, 5), np.uint8)).save(folder / "kernels" / "k1.png")
    (folder / "blurred" / "boat_k2.png").write_text("no image")
    dataset = find_dataset(folder)
    with pytest.raises(Refusal, match="black all over"):
        load_case(dataset, dataset.pairs[0])
    with pytest.raises(Refusal, match="boat_k2.png: expected an image"):
        load_case(dataset, dataset.pairs[1])


def test_photographs_without_truth_are_a_set_of_their_own(tmp_path):
    write(tmp_path / "blurred" / "street.jpg", (50, 60, 3))
    dataset = find_dataset(tmp_path)
    case = load_case(dataset, dataset.pairs[0])
    assert case.truth is None and case.kernel is None and case.y.shape == (50, 60, 3)


def test_other_layouts_and_empty_sets_are_refused(tmp_path):
    with pytest.raises(Refusal, match="found no blurred/"):
        find_dataset(tmp_path)
    (tmp_path / "blurred").mkdir()
    with pytest.raises(Refusal, match="found none"):
        find_dataset(tmp_path)
    with pytest.raises(Refusal, match="did you mean 'lai2016'"):
        find_dataset(tmp_path, "lai2061")


def test_names_that_are_not_those_of_the_set_are_refused(folder):
    with pytest.raises(Refusal, match="boat_k1.png is no name of lai2016"):
        find_dataset(folder, "lai2016")


def test_choosing_follows_the_order_of_the_patterns(folder):
    dataset = find_dataset(folder)
    assert [pair.name for pair in choose(dataset, ["cat", "*_k2"])] == ["cat_01_k1", "cat_01_k2", "boat_k2"]
    assert [pair.name for pair in choose(dataset, [], 1)] == ["boat_k1"]
    with pytest.raises(Refusal, match=r"no image of 4 matches 'tiger_\*'.*boat, cat"):
        choose(dataset, ["tiger_*"])


def test_a_crop_is_the_same_part_of_image_and_truth(folder):
    dataset = find_dataset(folder)
    case = load_case(dataset, dataset.pairs[0])
    part = cropped(case, 20)
    np.testing.assert_array_equal(part.y, case.y[15:35, 20:40])
    np.testing.assert_array_equal(part.truth, case.truth[15:35, 20:40])
    assert cropped(case, 55).y.shape == (50, 55)


def test_published_sets_are_known_by_their_names(data_dir):
    levin, lai = (find_dataset(data_dir / name) for name in ("levin2009", "lai2016"))
    assert (levin.name, len(levin.pairs), levin.notes) == ("levin2009", 32, ())
    assert (lai.name, len(lai.pairs), lai.notes) == ("lai2016", 60, ())
    assert {pair.category for pair in levin.pairs} == {"im1", "im2", "im3", "im4"}
    assert {pair.category for pair in lai.pairs} == {"manmade", "natural", "people", "saturated", "text"}
    assert all(pair.problem is None for pair in (*levin.pairs, *lai.pairs))
    # Both tables are those of the full sets.
    assert levin.full_count("im1") == 8 and lai.full_count("text") == 20


# Every category and kernel. The hidden originals of saturated_02 have highlights above 1, and saturated_01 a range of
# its own.
LAI = ("manmade_01_kernel_04", "natural_02_kernel_02", "people_01_kernel_01", "saturated_01_kernel_03")
LAI += ("saturated_02_kernel_01", "text_02_kernel_02")


def residual(case, kernel):
    """What is left of a Lai image after its truth was blurred with `kernel`, where nothing was clipped."""
    truth = case.truth if case.stretched is None else 1.9 * case.truth - 0.1
    down, right = (n // 2 for n in kernel.shape)
    canvas = jnp.pad(jnp.asarray(truth, jnp.float32), ((down, down), (right, right), (0, 0)), mode="edge")
    blurred = np.asarray(blur(canvas, jnp.asarray(kernel, jnp.float32)))
    clipped = scipy.ndimage.maximum_filter(case.truth, (*kernel.shape, 1)) >= 1
    if case.stretched is not None:
        clipped = np.zeros_like(clipped)
    seen = ~clipped & (case.y > 0.02) & (case.y < 0.98)
    assert seen.mean() > 0.05
    return (case.y - blurred)[seen]


@pytest.mark.parametrize("name", LAI)
def test_lai_images_are_their_truth_correlated_with_the_kernel_file_plus_noise(data_dir, name):
    dataset = find_dataset(data_dir / "lai2016")
    case = load_case(dataset, next(pair for pair in dataset.pairs if pair.name == name))
    right = residual(case, case.kernel)
    assert abs(right.mean() - 0.005) < 0.001
    assert right.std() < 0.005
    assert residual(case, case.kernel[::-1, ::-1]).std() > 0.01


def test_levin_kernels_blur_as_their_convention_says(data_dir):
    """Real captures: the residual is not noise, but it is smaller the right way round for every kernel."""
    dataset = find_dataset(data_dir / "levin2009")
    for pair in choose(dataset, ["im2"]):
        case = load_case(dataset, pair)
        errors = []
        for kernel in (case.kernel, case.kernel[::-1, ::-1]):
            blurred = np.asarray(blur(jnp.asarray(case.truth, jnp.float32), jnp.asarray(kernel, jnp.float32)))
            down, right = kernel.shape[0] // 2, kernel.shape[1] // 2
            errors.append(least_error(case.y[down:-down, right:-right], blurred))
        assert errors[0] < 0.6 * errors[1], pair.name


def least_error(y, blurred, reach=8):
    """Mean squared difference at the best whole shift: the captures are not registered."""
    inner = y[reach:-reach, reach:-reach]
    height, width = inner.shape
    return min(
        ((blurred[i : i + height, j : j + width] - inner) ** 2).mean()
        for i in range(2 * reach + 1)
        for j in range(2 * reach + 1)
    )

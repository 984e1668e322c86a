"""What a person is told of an answer."""

import numpy as np
import pytest

from vdip_jax import Config, inputs, outcomes, remarks
from vdip_jax.batches import Estimate
from vdip_jax.candidates import Candidates
from vdip_jax.photographs import Photo
from vdip_jax.planning import Plan
from vdip_jax.tiles import Tile
from vdip_jax.verdict import FAULTS


def estimate(preset, kernel, agreement=0.95, choice=0, useless=False, ok=True, share=0.0, reserve=0.0):
    count = {"instant": 1, "quick": 4, "cold": 1}[preset]
    y = np.zeros((8, 9), np.float32)
    criterion = np.arange(count, dtype=float)
    criterion[0] = np.inf if useless else 0
    candidates = Candidates(np.stack([y] * count), np.stack([kernel] * count), criterion)
    told = np.array(ok), np.float32(agreement), np.array(choice), np.float32(share), np.float32(reserve)
    return Estimate(y, y, kernel, np.zeros(0), *told, candidates)


def wide(size=(9, 11), blob=None):
    """Fills its frame but for the edge, or has entries in `blob` rows and columns and next to nothing elsewhere."""
    kernel = np.zeros(size, np.float32)
    kernel[1:-1, 1:-1] = 1
    if blob:
        kernel *= 1e-3
        kernel[1 : 1 + blob[0], 1 : 1 + blob[1]] = 1
    return kernel / kernel.sum()


def test_a_kernel_that_reaches_the_edge_of_its_frame_is_told():
    kernel = np.full((9, 11), 1 / 99, np.float32)
    (doubt,) = remarks.doubts(estimate("instant", kernel), Config.preset("instant"))
    assert "edge of its frame of 9x11" in doubt and "--kernel_size=17" in doubt


@pytest.mark.parametrize("preset", ["instant", "quick", "cold"])
def test_nothing_is_said_of_an_answer_that_nothing_speaks_against(preset):
    agreement = np.nan if preset == "cold" else 0.95
    assert remarks.doubts(estimate(preset, wide(), agreement), Config.preset(preset)) == []


@pytest.mark.parametrize(
    ("preset", "words"), [("instant", "is of no use."), ("quick", "set out from a uniform kernel of")]
)
def test_an_estimate_of_no_use_is_told(preset, words, capsys):
    config = Config.preset(preset)
    result = estimate(preset, np.zeros((9, 11)), 0, choice=1 if config.num_steps else 0, useless=True)
    (doubt,) = remarks.doubts(result, config)
    assert words in doubt
    answers = {"instant": "the blurred image: the classical estimate was of no use", "quick": "the network's image"}
    assert remarks.answer(result, config) == answers[preset]
    task = inputs.Task("a.png", Photo("a", result.image, ()), (9, 11), "none")
    job = outcomes.Job(task, Plan(result.image, Tile(0, 0, 8, 9), (9, 11)))
    outcomes.tell(job, [doubt], config, {"answer": answers[preset]})
    captured = capsys.readouterr()
    assert captured.err == f"a: {doubt}\n" and captured.out == f"a: the answer is {answers[preset]}\n"


@pytest.mark.parametrize(("preset", "network"), [("instant", False), ("quick", True)])
def test_a_doubtful_kernel_is_told(preset, network):
    (doubt,) = remarks.doubts(estimate(preset, wide(), 0.5), Config.preset(preset))
    assert "agree by 0.50 only" in doubt
    assert ("set out from it and then from a uniform one" in doubt) is network


@pytest.mark.parametrize(
    ("agreement", "kernel"), [(0.95, "the mean of the"), (0.5, "the kernel of the network's first")]
)
def test_the_last_candidate_is_told_as_what_it_is(agreement, kernel):
    assert f"the finish with {kernel}" in remarks.answer(
        estimate("quick", wide(), agreement, choice=3), Config.preset("quick")
    )


@pytest.mark.parametrize(("blob", "told"), [((4, 5), "fills 4x5 of 9x11 pixels"), ((5, 5), None), ((4, 6), None)])
def test_a_kernel_much_smaller_than_its_frame_is_told(blob, told):
    found = remarks.doubts(estimate("instant", wide(blob=blob)), Config.preset("instant"))
    assert [told in doubt and "--kernel_size=7 " in doubt for doubt in found] == [True] * bool(told)


def test_of_a_known_kernel_nothing_is_said():
    assert remarks.doubts(estimate("quick", wide(blob=(1, 2)), np.nan), Config.preset("quick")) == []


@pytest.mark.parametrize("agreement", [0.95, np.nan])
def test_an_answer_that_leaves_much_unexplained_is_told(agreement):
    result, config = estimate("instant", wide(), agreement), Config.preset("instant")
    assert remarks.doubts(result, config, misfit=5.5) == []
    (doubt,) = remarks.doubts(result, config, misfit=7.2)
    assert "7 times as much unexplained" in doubt


@pytest.mark.parametrize("channels", [(), (3,)])
def test_the_misfit_of_the_chosen_candidate_is_one_where_only_the_noise_is_left(channels):
    rng = np.random.default_rng(0)
    image = np.full((60, 70, *channels), 0.5, np.float32)
    image[20:40, 20:50] = 0.8
    y = image + 0.01 * rng.standard_normal((60, 70, *(1 for _ in channels))).astype(np.float32)
    point = np.zeros((3, 3), np.float32)
    point[1, 1] = 1
    images, kernels = np.stack([np.zeros_like(y), image]), np.stack([point, point])
    result = estimate("instant", point)._replace(choice=np.array(1))
    for distance, expected in ((0.0, 1), (0.05, np.sqrt(26))):
        candidates = Candidates(images + np.float32(distance), kernels, np.zeros(2))
        misfit = remarks.misfit_of(y, result._replace(candidates=candidates))
        np.testing.assert_allclose(misfit, expected, rtol=0.08)
    assert np.isnan(remarks.misfit_of(y, remarks.unharmed(y)))


def test_an_update_that_was_not_finite_is_told():
    (doubt,) = remarks.doubts(estimate("cold", wide(), np.nan, ok=False), Config.preset("cold"))
    assert "last good state" in doubt


def test_each_candidate_has_a_name():
    config = Config.preset("quick")
    names = [remarks.answer(estimate("quick", wide(), choice=i), config) for i in range(4)]
    assert len(set(names)) == 4 and names[1] == "the network's image"
    assert remarks.answer(estimate("instant", wide()), Config.preset("instant")) == "the classical estimate"


@pytest.mark.parametrize(("share", "told"), [(0.5, "50%"), (0.12, "12%"), (0.0, "0%")])
def test_how_much_of_the_networks_image_is_in_the_answer_is_told(share, told):
    result, config = estimate("quick", wide(), share=share), Config.preset("quick")
    assert remarks.answer(result, config) == f"the classical estimate, with {told} of the network's image"
    assert remarks.answer(result, config, unchanged=False) == "the classical estimate"


@pytest.mark.parametrize(
    ("preset", "told"),
    [("quick", "12% of the network's image and 30% of the photograph"), ("instant", "30% of the photograph")],
)
def test_how_much_of_the_photograph_is_left_is_told(preset, told):
    result, config = estimate(preset, wide(), share=0.12, reserve=0.3), Config.preset(preset)
    assert remarks.answer(result, config) == f"the classical estimate, with {told}"
    assert remarks.answer(result, config, unchanged=False) == "the classical estimate, with 30% of the photograph"


@pytest.mark.parametrize("reserve", [0.45, 0.55])
def test_a_picture_that_is_hardly_believed_is_told(reserve):
    first, *more = remarks.doubts(estimate("instant", wide(), 0.3, reserve=reserve), Config.preset("instant"))
    assert "agree by 0.30 only" in first
    assert ["55% of the photograph is left" in doubt for doubt in more] == [True] * (reserve > 0.5)


def test_every_fault_is_told_in_a_sentence():
    for fault in FAULTS:
        if fault != "diverged":
            (told,) = remarks.doubts(estimate("instant", wide()), Config.preset("instant"), (fault,))
            assert told.endswith(".") and "\n" not in told

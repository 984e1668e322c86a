"""The optimisation as a moving picture."""

import numpy as np
import pytest
from PIL import Image

from vdip_jax.animation import MOST_FRAMES, SIDE, Animation

KERNEL = np.full((5, 5), 1 / 25)


def solved(num_steps, every=1):
    """An animation of a picture that becomes bright, asked about every so many steps; and the steps it wanted."""
    animation, wanted = Animation(np.zeros((12, 16))), []
    for step in range(0, num_steps + 1, every):
        if animation.wants(step) or step == num_steps:
            wanted.append(step)
            animation.add(step, np.full((12, 16, 1), step / num_steps), KERNEL)
    return animation, wanted


def frames(path):
    with Image.open(path) as file:
        found = []
        for i in range(file.n_frames):
            file.seek(i)
            file.load()
            found.append((np.asarray(file.convert("RGB")), file.info["duration"]))
        return found


def test_from_the_blurred_image_to_the_answer(tmp_path):
    animation, _ = solved(20, every=5)
    animation.write(tmp_path / "a.webp")
    found = frames(tmp_path / "a.webp")
    assert len(found) == 1 + 5
    # 16x12 pixels are enlarged thirty times, over a caption.
    assert found[0][0].shape == (360 + 24, 480, 3)
    brightness = [picture[180, 100].mean() for picture, _ in found]
    np.testing.assert_allclose(brightness, [0, 0, 64, 128, 191, 255], atol=4)
    durations = [duration for _, duration in found]
    assert durations[-1] > durations[0] > durations[1] == durations[2]
    assert [path.name for path in tmp_path.iterdir()] == ["a.webp"]


def test_the_kernel_is_in_the_corner_of_all_but_the_first(tmp_path):
    animation, _ = solved(2)
    animation.write(tmp_path / "a.webp")
    corners = [picture[300, 440].mean() > 200 for picture, _ in frames(tmp_path / "a.webp")]
    assert corners == [False, True, True, True]


@pytest.mark.parametrize("num_steps", [MOST_FRAMES - 1, MOST_FRAMES, 500, 4999])
def test_frames_stay_few_and_evenly_spread_with_both_ends(num_steps):
    animation, wanted = solved(num_steps)
    kept = [step for step, _ in animation._frames]
    assert MOST_FRAMES / 2 <= len(kept) <= MOST_FRAMES
    assert kept[0] == 0 and kept[-1] == num_steps
    spacings = np.diff(kept)[:-1]
    assert spacings.max() <= 2 * spacings.min()
    # Estimates take time: no more are asked for than a few times as many as are shown.
    assert len(wanted) < 6 * MOST_FRAMES


def test_a_step_once_more_takes_the_place_of_the_first(tmp_path):
    animation = Animation(np.zeros((12, 16)))
    animation.add(3, np.zeros((12, 16)), KERNEL)
    animation.add(3, np.ones((12, 16)), KERNEL)
    animation.write(tmp_path / "a.webp")
    found = frames(tmp_path / "a.webp")
    assert len(found) == 2 and found[1][0][180, 100].mean() > 250


@pytest.mark.parametrize("shape", [(600, 1000, 3), (1000, 200), (500, 500, 1)])
def test_large_pictures_are_shrunk_and_a_large_kernel_too(tmp_path, shape):
    animation = Animation(np.zeros(shape))
    animation.add(1, np.zeros(shape), np.full((201, 201), 1 / 201**2))
    animation.write(tmp_path / "a.webp")
    picture = frames(tmp_path / "a.webp")[1][0]
    assert max(picture.shape[0] - 24, picture.shape[1]) == SIDE
    inset = picture[: picture.shape[0] - 24].mean(-1) > 128
    assert inset[-1, -1]
    np.testing.assert_allclose([inset.any(0).sum(), inset.any(1).sum()], min(inset.shape) / 3 + 4, atol=1)


def test_a_run_without_an_estimate_is_a_still_picture(tmp_path):
    Animation(np.zeros((20, 20, 3))).write(tmp_path / "a.webp")
    assert len(frames(tmp_path / "a.webp")) == 1

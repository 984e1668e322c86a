"""Images found, written whole, put together."""

import numpy as np
import pytest
from PIL import Image

from vdip_jax.images import find_images, kernel_picture, replacing, side_by_side, write_image


def test_values_outside_the_range_are_clipped_on_writing(tmp_path):
    write_image(tmp_path / "p.png", np.array([[-1.0, 0.5, 2.0]]))
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "p.png")), [[0, 128, 255]])


def test_images_are_found_once_in_order_by_file_folder_and_glob(tmp_path):
    (tmp_path / "folder").mkdir()
    paths = [tmp_path / "folder" / name for name in ("a.png", "b.JPG", "c[1].png", "notes.txt")]
    for path in paths:
        path.write_bytes(b"x")
    assert find_images([str(tmp_path / "folder")]) == paths[:3]
    assert find_images([str(tmp_path / "folder" / "*.png"), str(paths[0])]) == [paths[0], paths[2]]
    # A name that is a file is that file, whatever characters it has.
    assert find_images([str(paths[2])]) == [paths[2]]


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        with open(temporary, "w") as file:
            file.write("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_pictures_side_by_side_and_kernel_picture():
    kernel = np.array([[0.25, 0.5, 0.25]])
    picture = kernel_picture(kernel, 9)
    assert picture.shape == (3, 9)
    np.testing.assert_array_equal(picture[1], [0.5] * 3 + [1] * 3 + [0.5] * 3)
    row = side_by_side([("gray", np.zeros((10, 20))), ("red", np.ones((6, 4, 3)) * [1, 0, 0])])
    assert row.shape == (10 + 18 + 8, 20 + 4 + 3 * 8, 3)
    np.testing.assert_array_equal(row[18 + 2, 8 + 20 + 8 + 1], [1, 0, 0])
    # By half, not by as much as is exactly enough; what is small enough stays.
    assert side_by_side([("large", np.zeros((10, 20))), ("small", np.zeros((3, 6)))], 15).shape == (
        5 + 26,
        10 + 6 + 24,
        3,
    )

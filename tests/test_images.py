"""Photographs in, pictures out."""

import numpy as np
import pytest
from PIL import Image

from vdip_jax import Refusal
from vdip_jax.images import find_images, kernel_picture, read_image, replacing, side_by_side, write_image


def test_gray_and_colour_come_back_as_written(tmp_path):
    generator = np.random.default_rng(0)
    for shape in ((5, 7), (5, 7, 3), (5, 7, 1)):
        pixels = generator.integers(0, 256, shape).astype(np.float32) / 255
        write_image(tmp_path / "picture.png", pixels)
        photo = read_image(tmp_path / "picture.png")
        np.testing.assert_array_equal(photo.pixels, pixels.reshape(photo.pixels.shape))
        assert photo.name == "picture"
        assert photo.notes == ()


def test_values_outside_the_range_are_clipped_on_writing(tmp_path):
    write_image(tmp_path / "p.png", np.array([[-1.0, 0.5, 2.0]]))
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "p.png")), [[0, 128, 255]])


def test_sixteen_bit_gray_keeps_its_depth(tmp_path):
    values = np.array([[0, 1, 257, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / "deep.png")
    np.testing.assert_allclose(read_image(tmp_path / "deep.png").pixels, values / 65535, rtol=1e-6)


def test_a_photograph_lying_on_its_side_is_put_upright(tmp_path):
    pixels = np.zeros((4, 6), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "turned.jpg", exif=exif)
    assert read_image(tmp_path / "turned.jpg").pixels.shape == (6, 4)


def test_alpha_is_dropped_and_said_so(tmp_path):
    Image.new("RGBA", (4, 3), (255, 0, 0, 128)).save(tmp_path / "a.png")
    photo = read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(photo.pixels[0, 0], [1, 0, 0])
    assert "RGBA" in photo.notes[0]


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "I;16"])
def test_a_large_image_is_shrunk_to_max_side_and_said_so(tmp_path, mode):
    Image.new(mode, (80, 40)).save(tmp_path / "large.png")
    photo = read_image(tmp_path / "large.png", max_side=20)
    assert photo.pixels.shape[:2] == (10, 20)
    assert "80x40 to 20x10" in photo.notes[0]


@pytest.mark.parametrize(
    "content", [b"", b"text", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0"], ids=["empty", "text", "png head", "jpeg head"]
)
def test_what_is_no_image_is_refused(tmp_path, content):
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(Refusal, match=r"x\.png: expected an image"):
        read_image(tmp_path / "x.png")


def test_a_truncated_file_is_refused(tmp_path):
    write_image(tmp_path / "x.png", np.random.default_rng(0).uniform(size=(40, 40)))
    (tmp_path / "x.png").write_bytes((tmp_path / "x.png").read_bytes()[:600])
    with pytest.raises(Refusal, match="expected an image"):
        read_image(tmp_path / "x.png")


def test_floating_point_files_must_lie_in_the_unit_range(tmp_path):
    Image.fromarray(np.array([[0.25, 7.0]], np.float32)).save(tmp_path / "f.tiff")
    with pytest.raises(Refusal, match=r"\[0, 1\]"):
        read_image(tmp_path / "f.tiff")


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

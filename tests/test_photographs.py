"""Photographs of every kind in, results of the same kind out."""

import io
import sys

import numpy as np
import pytest
from PIL import Image, ImageCms

from vdip_jax import Refusal
from vdip_jax.images import write_image
from vdip_jax.photographs import Origin, Photo, picture_suffix, read_image, read_kernel, write_photo

pyvips = pytest.importorskip("pyvips")

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def test_gray_and_colour_come_back_as_written(tmp_path):
    generator = np.random.default_rng(0)
    for shape in ((5, 7), (5, 7, 3), (5, 7, 1)):
        pixels = generator.integers(0, 256, shape).astype(np.float32) / 255
        write_image(tmp_path / "picture.png", pixels)
        photo = read_image(tmp_path / "picture.png")
        np.testing.assert_array_equal(photo.pixels, pixels.reshape(photo.pixels.shape))
        assert photo.name == "picture"
        assert photo.notes == ()


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


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "I;16", "F"])
def test_a_large_image_is_shrunk_to_max_side_and_said_so(tmp_path, mode):
    file = tmp_path / ("large.tiff" if mode == "F" else "large.png")
    Image.new(mode, (80, 40)).save(file)
    photo = read_image(file, max_side=20)
    assert photo.pixels.shape[:2] == (10, 20)
    assert "80x40 to 20x10" in " ".join(photo.notes)
    assert (photo.origin.alpha is None) == (mode != "RGBA")
    assert photo.origin.alpha is None or photo.origin.alpha.shape == (10, 20)


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


def photograph(depth, channels):
    """Random values [5, 7, channels] of a depth."""
    draws = np.random.default_rng(0)
    if depth == "float32":
        return draws.random((5, 7, channels), np.float32)
    return draws.integers(0, np.iinfo(depth).max + 1, (5, 7, channels)).astype(depth)


def exif_of(file):
    with Image.open(file) as image:
        return dict(image.getexif())


@pytest.mark.parametrize(
    ("suffix", "depth", "channels"),
    [
        (".png", "uint8", 1),
        (".png", "uint8", 2),
        (".png", "uint8", 3),
        (".png", "uint8", 4),
        (".png", "uint16", 1),
        (".png", "uint16", 2),
        (".png", "uint16", 3),
        (".png", "uint16", 4),
        (".tif", "uint8", 3),
        (".tif", "uint16", 1),
        (".tif", "uint16", 3),
        (".tif", "uint16", 4),
        (".tif", "float32", 1),
        (".tif", "float32", 3),
    ],
)
def test_values_alpha_and_profile_survive_to_the_last_bit(tmp_path, suffix, depth, channels):
    values = photograph(depth, channels)
    # Written by the library that does not read it, where both can.
    image = pyvips.Image.new_from_array(values).copy(interpretation={1: "b-w", 3: "srgb"}.get(channels, "multiband"))
    if channels in (2, 4):
        image = image.copy(interpretation="b-w" if channels == 2 else "srgb")
    if depth == "uint16":
        image = image.copy(interpretation="grey16" if channels < 3 else "rgb16")
    image = image.copy()
    # A profile of colours is none for gray: libvips leaves it out.
    profile = PROFILE.replace(b"RGB ", b"GRAY", 1) if channels < 3 else PROFILE
    image.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)
    image.write_to_file(str(tmp_path / f"in{suffix}"))
    photo = read_image(tmp_path / f"in{suffix}")
    assert photo.pixels.dtype == np.float32 and photo.origin.depth == depth
    assert photo.origin.icc == profile
    written = tmp_path / f"out{picture_suffix(photo.origin)}"
    write_photo(written, photo.pixels, photo.origin)
    there = pyvips.Image.new_from_file(str(written))
    np.testing.assert_array_equal(there.numpy().reshape(5, 7, -1), values)
    assert there.get("icc-profile-data") == profile
    again = read_image(written)
    np.testing.assert_array_equal(again.pixels, photo.pixels)
    assert (again.origin.alpha is None) == (channels in (1, 3))


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".png", ".tif"])
def test_exif_is_kept_without_what_it_says_of_the_file(tmp_path, suffix):
    exif = Image.Exif()
    exif[271], exif[274], exif[306] = "a camera", 6, "2026:11:24 10:00:00"
    exif.get_ifd(34665)[33434] = 0.25
    image = Image.fromarray(photograph("uint8", 3))
    image.save(tmp_path / f"in{suffix}", exif=exif.tobytes(), icc_profile=PROFILE)
    photo = read_image(tmp_path / f"in{suffix}")
    assert photo.pixels.shape == (7, 5, 3)
    write_photo(tmp_path / "out.png", photo.pixels, photo.origin)
    assert exif_of(tmp_path / "out.png").keys() == {271, 306, 34665}
    with Image.open(tmp_path / "out.png") as written:
        assert written.getexif()[271] == "a camera"
        assert written.getexif().get_ifd(34665)[33434] == 0.25
        assert written.info["icc_profile"] == PROFILE
        assert written.size == (5, 7)


def test_sixteen_bits_lying_on_their_side_are_put_upright_and_keep_their_exif(tmp_path):
    values = photograph("uint16", 3)
    image = pyvips.Image.new_from_array(values, interpretation="rgb16").copy()
    image.set_type(pyvips.GValue.gint_type, "orientation", 6)
    image.write_to_file(tmp_path / "in.tif")
    photo = read_image(tmp_path / "in.tif")
    np.testing.assert_array_equal(np.round(photo.pixels * 65535), np.rot90(values, -1))
    exif = Image.Exif()
    exif[271] = "a camera"
    write_photo(tmp_path / "out.png", photo.pixels, photo.origin._replace(exif=exif.tobytes()))
    assert exif_of(tmp_path / "out.png")[271] == "a camera"
    assert exif_of(tmp_path / "out.png").get(274, 1) == 1


def test_palettes_and_inks_are_converted_and_said_so(tmp_path):
    values = np.zeros((4, 6, 3), np.uint8)
    values[:, 3:] = (255, 0, 0)
    Image.fromarray(values).quantize(4).save(tmp_path / "p.png")
    photo = read_image(tmp_path / "p.png")
    np.testing.assert_array_equal(photo.pixels, values / 255)
    assert photo.notes == ("converted from P to RGB",)
    Image.fromarray(values).convert("CMYK").save(tmp_path / "c.tif")
    photo = read_image(tmp_path / "c.tif")
    np.testing.assert_array_equal(photo.pixels, values / 255)
    assert photo.notes == ("converted from CMYK to RGB",)
    clear = Image.fromarray(values).quantize(4)
    clear.save(tmp_path / "t.png", transparency=0)
    photo = read_image(tmp_path / "t.png")
    assert photo.origin.alpha.shape == (4, 6) and photo.notes[0] == "converted from P to RGBA"


def test_of_several_pages_the_first_is_taken_and_said_so(tmp_path):
    first, second = Image.new("L", (6, 4), 255), Image.new("L", (6, 4), 0)
    first.save(tmp_path / "pages.tif", save_all=True, append_images=[second])
    photo = read_image(tmp_path / "pages.tif")
    assert (photo.pixels == 1).all() and photo.notes == ("the first of 2 pages",)


def test_what_cannot_be_made_use_of_is_refused(tmp_path, monkeypatch):
    Image.new("1", (6, 4)).save(tmp_path / "bits.png")
    with pytest.raises(Refusal, match=r"bits\.png: .*one bit"):
        read_image(tmp_path / "bits.png")
    Image.fromarray(np.full((4, 6), 70000, np.int32)).save(tmp_path / "wide.tif")
    with pytest.raises(Refusal, match=r"wide\.tif: .*32 bits"):
        read_image(tmp_path / "wide.tif")
    pyvips.Image.new_from_array(np.zeros((4, 6, 5), np.uint16)).write_to_file(tmp_path / "five.tif")
    with pytest.raises(Refusal, match=r"five\.tif"):
        read_image(tmp_path / "five.tif")
    (tmp_path / "text.tif").write_text("text")
    with pytest.raises(Refusal, match=r"text\.tif: expected an image"):
        read_image(tmp_path / "text.tif")
    pyvips.Image.new_from_array(photograph("uint16", 3), interpretation="rgb16").write_to_file(tmp_path / "deep.png")
    content = (tmp_path / "deep.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(content[: len(content) - 100])
    with pytest.raises(Refusal, match=r"cut\.png: expected an image"):
        read_image(tmp_path / "cut.png")
    for name in ("deep.png", "cut.png"):
        with monkeypatch.context() as patch:
            patch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
            with pytest.raises(Refusal, match=rf"{name}: expected an image"):
                read_image(tmp_path / name)
    monkeypatch.setitem(sys.modules, "pyvips", None)
    with pytest.raises(Refusal, match=r"deep\.png: .*pip install"):
        read_image(tmp_path / "deep.png")


def test_a_truncated_jpeg_is_refused(tmp_path):
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(buffer, "JPEG")
    (tmp_path / "cut.jpg").write_bytes(buffer.getvalue()[:2000])
    with pytest.raises(Refusal, match=r"cut\.jpg: expected an image"):
        read_image(tmp_path / "cut.jpg")


def test_a_result_without_an_origin_is_of_eight_bits(tmp_path):
    photo = Photo("p", np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4))
    assert photo.origin == Origin()
    write_photo(tmp_path / "p.png", photo.pixels, photo.origin)
    with Image.open(tmp_path / "p.png") as image:
        assert image.mode == "L" and not image.info


def test_kernels_are_read_from_arrays_and_images(tmp_path):
    kernel = np.random.default_rng(0).integers(0, 256, (3, 5)).astype(np.uint8)
    np.save(tmp_path / "k.npy", kernel / 255)
    Image.fromarray(kernel).save(tmp_path / "gray.png")
    Image.fromarray(np.repeat(kernel[..., None], 3, -1)).save(tmp_path / "colour.tif")
    Image.fromarray((kernel / 255).astype(np.float32)).save(tmp_path / "float.tif")
    for name in ("k.npy", "gray.png", "colour.tif", "float.tif"):
        np.testing.assert_allclose(read_kernel(tmp_path / name), kernel / 255, rtol=1e-6)
    # An even side gets a line of zeros at its end.
    np.save(tmp_path / "even.npy", np.ones((4, 3)))
    np.testing.assert_array_equal(read_kernel(tmp_path / "even.npy"), [*np.ones((4, 3)), np.zeros(3)])

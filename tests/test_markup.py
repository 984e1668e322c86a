"""Text and pictures inside a page."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from vdip_jax import markup


def opened(uri, kind):
    assert uri.startswith(f"data:image/{kind};base64,")
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


@pytest.mark.parametrize("channels", [(), (1,), (3,)])
def test_pictures_are_embedded_exactly_or_shrunk(channels):
    pixels = np.random.default_rng(0).random((30, 60, *channels))
    expected = np.round(pixels * 255).reshape(30, 60, *(channels if channels == (3,) else ()))
    np.testing.assert_array_equal(np.asarray(opened(markup.png(pixels), "png")), expected)
    assert opened(markup.jpeg(pixels, 20, 90), "jpeg").size == (20, 10)
    assert opened(markup.jpeg(pixels, 90, 90), "jpeg").size == (60, 30)


def test_a_profile_goes_along():
    profile, pixels = b"profile", np.zeros((4, 4, 3))
    assert opened(markup.png(pixels, profile), "png").info["icc_profile"] == profile
    assert opened(markup.jpeg(pixels, 4, 90, profile), "jpeg").info["icc_profile"] == profile
    assert "icc_profile" not in opened(markup.jpeg(pixels, 4, 90), "jpeg").info


def test_text_cannot_become_markup():
    figure = markup.figure("data:,", "<b> & 'it' \"s\"")
    assert "<b>" not in figure
    assert "alt='&lt;b&gt; &amp; &#x27;it&#x27; &quot;s&quot;'" in figure


def test_a_page_is_ascii_whatever_its_text():
    # The last character is a byte of a file's name that is no character.
    page = markup.document("é<", "p {}", ["<p>\u2192</p>", "\udcff"])
    assert page.isascii()
    assert "<title>&#233;&lt;</title>" in page and "<p>&#8594;</p>" in page

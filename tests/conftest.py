"""What several test files share: the evaluation images, float64, quick compilation."""

import os
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from vdip_jax import runtime

TESTS = Path(__file__).parent
# Without it a GPU's products are shorter than the golden numbers.
jax.config.update("jax_default_matmul_precision", "float32")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The evaluation images: VDIP_DATA_DIR, by default ../shared/data beside the checkout."""
    path = Path(os.environ.get("VDIP_DATA_DIR", TESTS.parent.parent / "shared" / "data"))
    if not (path / "levin2009" / "blurred").is_dir():
        assert not os.environ.get("CI"), f"CI must have the evaluation images, and {path} has none"
        pytest.skip(f"no evaluation images in {path}; set VDIP_DATA_DIR")
    return path


@pytest.fixture(scope="session")
def levin(data_dir):
    """A function from a name such as 'im1_kernel1' to its blurred image, [255, 255] in [0, 1]."""

    def load(name: str) -> np.ndarray:
        return np.asarray(Image.open(data_dir / "levin2009" / "blurred" / f"{name}_img.png"), np.float32) / 255

    return load


@pytest.fixture(autouse=True)
def few_mappings():
    """The suite compiles more than one process can hold."""
    yield
    runtime.few_mappings()


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module")
def quick_compilation():
    """Compile without optimisation: the same programs, in a third of the time."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)

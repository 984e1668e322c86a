"""What several test files share: the evaluation images, float64, quick compilation."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from vdip_jax import runtime

TESTS = Path(__file__).parent
# XLA's older way to make a CPU's loops: without optimisation it compiles them in half of the time. XLA reads this once,
# as it starts, and ends a process that asks for what it no longer has.
OLDER_LOOPS = "--xla_cpu_use_fusion_emitters=false"
# Without it a GPU's products are shorter than the golden numbers.
jax.config.update("jax_default_matmul_precision", "float32")


def pytest_configure():
    known = os.environ.get("XLA_FLAGS", "")
    if OLDER_LOOPS not in known:
        flags = {"XLA_FLAGS": f"{known} {OLDER_LOOPS}"}
        start = [sys.executable, "-c", "import jax; jax.devices('cpu')"]
        tried = subprocess.run(start, env={**os.environ, **flags, "JAX_PLATFORMS": "cpu"}, capture_output=True)
        if tried.returncode == 0:
            # Workers, and the programs that tests start, find it in the environment.
            os.environ.update(flags)


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

"""Seconds a step, compile time and peak memory for an image and kernel of given sizes."""

import concurrent.futures
import multiprocessing
import resource
import statistics
import time
from typing import Any

import jax
import jax.numpy as jnp

from vdip_jax import checks, solver
from vdip_jax.checks import Refusal
from vdip_jax.config import Config
from vdip_jax.runtime import describe


def measure_apart(config: Config, size: tuple[int, int], kernel: int, colors: int, num_steps: int) -> dict[str, Any]:
    """`measure` in a process of its own, so that peak memory and compile time are its own."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as process:
        return process.submit(measure, config, size, kernel, colors, num_steps).result()


def measure(config: Config, size: tuple[int, int], kernel: int, colors: int, num_steps: int) -> dict[str, Any]:
    """Compile for an image of `size` with a square `kernel` and time `num_steps` steps of each phase."""
    y = jax.random.uniform(jax.random.key(0), (*size, colors))
    began = time.perf_counter()
    begin = (y, jax.random.key(0), None, None)
    problem, state = jax.block_until_ready(
        solver._begin(*begin, kernel_size=(kernel, kernel), config=config, batched=False)
    )
    compiled = solver._advance.lower(problem, state, 0, 1, config=config, batched=False).compile()
    compile_seconds = time.perf_counter() - began
    seconds, first = {}, 0
    for name, phase_steps in config.phases:
        last = min(num_steps, phase_steps)
        state = jax.block_until_ready(compiled(problem, state, first, first + 1))
        runs = []
        for _ in range(3):
            began = time.perf_counter()
            state = jax.block_until_ready(compiled(problem, state, first, first + last))
            runs.append((time.perf_counter() - began) / last)
        seconds[name] = statistics.median(runs)
        first += phase_steps
    statistics_of_device = jax.devices()[0].memory_stats() or {}
    peak = statistics_of_device.get("peak_bytes_in_use", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
    assert bool(jnp.isfinite(state.params["image"]).all())
    return {
        "image": list(size),
        "kernel": kernel,
        "canvas_pixels": (size[0] + kernel - 1) * (size[1] + kernel - 1),
        "colors": colors,
        "compile_seconds": round(compile_seconds, 2),
        "seconds_a_step": {name: round(value, 4) for name, value in seconds.items()},
        "peak_megabytes": round(peak / 1e6, 1),
        "peak_is": "device memory" if statistics_of_device else "resident memory of the process, compiler included",
        "where": describe(),
    }


def parse_case(case: str, config: Config) -> tuple[tuple[int, int], int]:
    """Image size (height, width) and kernel side of HEIGHTxWIDTH:KERNEL.

    Raises:
      Refusal: for other text, or sizes that cannot be solved.
    """
    try:
        image, kernel = case.split(":")
        height, width = image.split("x")
        size, side = (int(height), int(width)), int(kernel)
    except ValueError:
        raise Refusal(f"--case must be HEIGHTxWIDTH:KERNEL such as 128x128:31, got {case!r}.") from None
    checks.check_kernel_size(side, size)
    checks.check_canvas(size, (side, side), *config.least_canvas)
    return size, side

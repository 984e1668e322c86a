"""Seconds a step, compile time and peak memory for given sizes, beside what the machine can do."""

import concurrent.futures
import itertools
import multiprocessing
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from vdip_jax import checks, programs
from vdip_jax.checks import Refusal
from vdip_jax.config import Config
from vdip_jax.cost import multiply_adds
from vdip_jax.runtime import describe, use_compile_cache

_REPEATS = 5


class Case(NamedTuple):
    """What to time: image size (height, width) and kernel side in pixels, images a batch."""

    size: tuple[int, int]
    kernel: int
    batch: int = 1


def parse_case(text: str, config: Config) -> Case:
    """The case that HEIGHTxWIDTH:KERNEL or HEIGHTxWIDTH:KERNEL*BATCH stands for.

    Raises:
      Refusal: for other text, or sizes that cannot be solved.
    """
    try:
        image, rest = text.split(":")
        side, _, batch = rest.partition("*")
        height, width = image.split("x")
        case = Case((int(height), int(width)), int(side), int(batch or 1))
        if case.batch < 1:
            raise ValueError
    except ValueError:
        raise Refusal(
            f"--case must be HEIGHTxWIDTH:KERNEL, or HEIGHTxWIDTH:KERNEL*IMAGES, such as 128x128:31, got {text!r}."
        ) from None
    checks.check_kernel_size(case.kernel, case.size)
    checks.check_canvas(case.size, (case.kernel, case.kernel), *config.least_canvas)
    return case


def measure_apart(
    config: Config, case: Case, colors: int, num_steps: int, profile: str | None = None
) -> dict[str, Any]:
    """`measure` in a process of its own, so that peak memory and compile time are its own, and a second one after it.

    The second finds the compiled programs in the cache that the first one filled.
    """
    with tempfile.TemporaryDirectory() as cache:
        row = _apart(measure, config, case, colors, num_steps, cache, profile)
        row |= _apart(measure_again, config, case, colors, cache)
    return row


def _apart(function: Callable, *arguments: Any) -> Any:
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as process:
        return process.submit(function, *arguments).result()


def measure_again(config: Config, case: Case, colors: int, cache: str) -> dict[str, Any]:
    """Seconds until the first update can run, with the compile cache in the folder `cache`, and the peak of memory.

    What an update takes and no compiler, which on a GPU tries products and convolutions with far more memory.
    """
    seconds, problem, state, compiled = _compiled(config, case, colors, cache)
    jax.block_until_ready(compiled(problem, state, 0, 2))
    return {"compile_again_seconds": round(seconds, 2), "peak_megabytes": _peak_megabytes()}


def _peak_megabytes() -> float:
    """Of device memory, or, on a CPU, of the process's resident memory."""
    of_device = jax.devices()[0].memory_stats() or {}
    peak = of_device.get("peak_bytes_in_use", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
    return round(peak / 1e6, 1)


def measure(
    config: Config, case: Case, colors: int, num_steps: int, cache: str, profile: str | None = None
) -> dict[str, Any]:
    """Compile for the case and time `num_steps` steps of each phase; rates of the machine before and after.

    Args:
      config: settings.
      case: what to time.
      colors: channels of the image.
      num_steps: steps a measurement.
      cache: folder of the compile cache.
      profile: folder for a trace of one step of each phase, made after the measurement.

    Returns:
      A row ready for JSON. Shares are of the rates measured here: operations of matrix products, counted
      directly, against the rate of a large product; traffic as XLA counts it, as if nothing stayed in a cache,
      against the rate of a copy.
    """
    seconds_compile, problem, state, compiled = _compiled(config, case, colors, cache)
    limits = machine_limits(config.precision)
    seconds, first = {}, 0
    for name, phase_steps in config.phases:
        last = min(num_steps, phase_steps)
        state = jax.block_until_ready(compiled(problem, state, first, first + 1))
        runs = []
        for _ in range(_REPEATS):
            began = time.perf_counter()
            state = jax.block_until_ready(compiled(problem, state, first, first + last))
            runs.append((time.perf_counter() - began) / last)
        seconds[name] = statistics.median(runs)
        first += phase_steps
    # After the peak of a step is known; the machine may have become slower or faster in between.
    compile_peak = _peak_megabytes()
    again = machine_limits(config.precision)
    limits = {name: max(rate, again[name]) for name, rate in limits.items()}
    assert bool(jnp.isfinite(state.params["image"]).all())
    if profile is not None:
        with jax.profiler.trace(profile, create_perfetto_trace=True):
            for first in itertools.accumulate((count for _, count in config.phases[:-1]), initial=0):
                state = jax.block_until_ready(compiled(problem, state, first, first + 1))
    canvas = (case.size[0] + case.kernel - 1, case.size[1] + case.kernel - 1)
    gflop = 2e-9 * case.batch * multiply_adds(canvas, (case.kernel, case.kernel), config, colors)
    analysis = compiled.cost_analysis() or {}
    gigabytes = analysis.get("bytes accessed", float("nan")) / 1e9
    memory = compiled.memory_analysis()
    buffers = memory.argument_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
    return {
        "image": list(case.size),
        "kernel": case.kernel,
        "batch": case.batch,
        "canvas_pixels": canvas[0] * canvas[1],
        "colors": colors,
        "compile_seconds": round(seconds_compile, 2),
        "seconds_a_step": {name: round(value, 4) for name, value in seconds.items()},
        "gflop_a_step": round(gflop, 2),
        "gigabytes_a_step": round(gigabytes, 2),
        **{name: round(rate, 1) for name, rate in limits.items()},
        "share_of_matmul": {
            name: round(gflop / value / limits["matmul_gflop_a_second"], 3) for name, value in seconds.items()
        },
        "share_of_copy": {
            name: round(gigabytes / value / limits["copy_gigabytes_a_second"], 3) for name, value in seconds.items()
        },
        "buffer_megabytes": round((buffers + memory.temp_size_in_bytes) / 1e6, 1),
        "compile_peak_megabytes": compile_peak,
        "peak_is": "device memory" if jax.devices()[0].memory_stats() else "resident memory of the process",
        "where": describe(),
    }


def ratios(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Step time at the largest kernel over that at the smallest, for each image size, beside that of the canvases."""
    lines = []
    for image, batch in dict.fromkeys((tuple(row["image"]), row["batch"]) for row in rows):
        alike = [row for row in rows if (tuple(row["image"]), row["batch"]) == (image, batch)]
        alike.sort(key=lambda row: row["kernel"])
        small, large = alike[0], alike[-1]
        if small is large:
            continue
        for phase, seconds in large["seconds_a_step"].items():
            lines.append(
                f"{image[0]}x{image[1]} {phase}: kernel {large['kernel']} takes "
                f"{seconds / small['seconds_a_step'][phase]:.2f} times kernel {small['kernel']}, "
                f"its canvas has {large['canvas_pixels'] / small['canvas_pixels']:.2f} times the pixels"
            )
    return lines


def machine_limits(precision: str) -> dict[str, float]:
    """Rates of a large matrix product in one of `config.PRECISIONS` and of a float32 copy (bytes read and written)."""
    large = jax.default_backend() != "cpu"
    side, entries = (8192, 2**28) if large else (2048, 2**25)
    line = jnp.ones(entries)
    square = jnp.ones((side, side), jnp.bfloat16 if precision == "bfloat16" else jnp.float32)
    with jax.default_matmul_precision(precision):
        seconds = _best_seconds(lambda x: x @ x / side, square, 3)
    return {
        "matmul_gflop_a_second": 2e-9 * side**3 / seconds,
        "copy_gigabytes_a_second": 2e-9 * line.nbytes / _best_seconds(lambda x: x + 1, line, 20),
    }


def _best_seconds(function: Callable[[jax.Array], jax.Array], x: jax.Array, turns: int) -> float:
    """Seconds of `function` within a loop, as in the solver: memory new to a process takes longer than its use."""
    repeated = jax.jit(lambda x: jax.lax.fori_loop(0, turns, lambda _, x: function(x), x))
    jax.block_until_ready(repeated(x))
    runs = []
    for _ in range(_REPEATS):
        began = time.perf_counter()
        jax.block_until_ready(repeated(x))
        runs.append((time.perf_counter() - began) / turns)
    return min(runs)


def _compiled(config: Config, case: Case, colors: int, cache: str) -> tuple[float, Any, Any, Any]:
    """Seconds to compile, problem and state to begin with, and the compiled loop over updates."""
    use_compile_cache(Path(cache))
    batched = case.batch > 1
    y = jax.random.uniform(jax.random.key(0), (case.batch, *case.size, colors))
    keys = jax.random.split(jax.random.key(0), case.batch)
    began = time.perf_counter()
    begin = (y, keys) if batched else (y[0], keys[0])
    problem, state = jax.block_until_ready(
        programs.begin(*begin, None, None, kernel_size=(case.kernel, case.kernel), config=config, shards=int(batched))
    )
    compiled = programs.advance.lower(problem, state, 0, 1, config=config, shards=int(batched)).compile()
    return time.perf_counter() - began, problem, state, compiled

"""Compile cache, device record, progress."""

import gzip
import json
import signal
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from programs import options

from vdip_jax.runtime import (
    Reporter,
    Trace,
    describe,
    few_mappings,
    free_memory,
    heed_interrupts,
    raise_lost_interrupt,
    unmasked_interrupts,
    use_compile_cache,
)
from vdip_jax.solver import Progress


def progress(step):
    return Progress("ssim", step, 40, np.float32(0.25), np.True_, None)


def test_the_record_of_a_run_names_device_and_versions():
    record = json.loads(json.dumps(describe()))
    assert record["platform"] == jax.devices()[0].platform
    assert record["versions"]["jax"] == jax.__version__


def test_free_memory_is_less_than_the_machine_has():
    with open("/proc/meminfo") as lines:
        total = 1024 * int(next(line for line in lines if line.startswith("MemTotal")).split()[1])
    assert 0 < free_memory() < total


@pytest.mark.parametrize(("held", "forgotten"), [(50, 0), (51, 1)])
def test_compiled_programs_are_forgotten_before_their_mappings_are_too_many(monkeypatch, tmp_path, held, forgotten):
    cleared = []
    monkeypatch.setattr(jax, "clear_caches", lambda: cleared.append(1))
    (tmp_path / "sys" / "vm").mkdir(parents=True)
    (tmp_path / "self").mkdir()
    (tmp_path / "sys" / "vm" / "max_map_count").write_text("100\n")
    (tmp_path / "self" / "maps").write_text("7f0-7f1 r-xp\n" * held)
    few_mappings(tmp_path)
    assert len(cleared) == forgotten


def test_where_mappings_are_not_counted_nothing_is_forgotten(monkeypatch, tmp_path):
    monkeypatch.delattr(jax, "clear_caches")
    few_mappings(tmp_path)


@pytest.fixture
def cache_settings():
    """Put back what a test changes of the compile cache."""
    names = "jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs"
    before = {name: getattr(jax.config, name) for name in names}
    yield
    for name, value in before.items():
        jax.config.update(name, value)


def test_compiled_programs_are_kept_in_the_users_cache_folder(monkeypatch, tmp_path, cache_settings):
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    use_compile_cache()
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "vdip_jax" / "compile")


def test_small_programs_are_kept_too(monkeypatch, tmp_path):
    monkeypatch.delenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", raising=False)
    code = "import pathlib, jax; from vdip_jax import runtime; runtime.use_compile_cache(pathlib.Path('cache'))"
    add = "; print(jax.jit(lambda x: x + 1)(1))"
    subprocess.run([sys.executable, "-c", code + add], check=True, **options(tmp_path))
    assert any("lambda" in path.name for path in (tmp_path / "cache").iterdir())


def test_a_cache_folder_from_the_environment_is_left_alone(monkeypatch, cache_settings):
    before = jax.config.jax_compilation_cache_dir
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "elsewhere")
    use_compile_cache()
    assert jax.config.jax_compilation_cache_dir == before


def test_in_a_pipe_progress_is_a_line_a_phase_and_one_at_the_end(capsys):
    ok = np.array([True, False])
    with Reporter("photo") as report:
        report(Progress("prefit", 1, 40, np.array([0.5, 0.3]), ok, None))
        report(Progress("prefit", 2, 40, np.array([0.5, 0.3]), ok, None))
        report(Progress("ssim", 20, 40, np.float32(0.25), np.True_, None))
        report(Progress("ssim", 40, 40, np.float32(0.125), np.True_, None))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "photo: compiling"
    assert lines[1] == "photo: prefit step 1/40, loss 0.4000, not finite"
    assert lines[2].startswith("photo: ssim step 20/40, loss 0.2500, ")
    assert lines[2].endswith(" s left")
    assert lines[3].startswith("photo: ssim step 40/40, loss 0.1250, 0 s left")
    assert len(lines) == 4


def test_a_classical_start_has_no_loss_to_tell_of(capsys):
    with Reporter("photo") as report:
        report(Progress("start", 0, 40, np.float32(np.nan), np.True_, None))
    assert capsys.readouterr().err.splitlines()[1:] == ["photo: classical start made; compiling"]


@pytest.fixture
def told(monkeypatch):
    """What Python tells of exceptions that it drops, interrupts being heeded as a program does."""
    told = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: told.append(unraisable.exc_type))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    heed_interrupts()
    yield told
    signal.signal(signal.SIGINT, before)


def test_a_ctrl_c_that_python_dropped_is_raised_later_and_once(told):
    class Finalised:
        def __init__(self, finalise):
            self.finalise = finalise

        def __del__(self):
            self.finalise()

    Finalised(lambda: signal.raise_signal(signal.SIGINT))
    assert told == []
    with pytest.raises(KeyboardInterrupt):
        raise_lost_interrupt()
    raise_lost_interrupt()
    Finalised(lambda: 1 / 0)
    assert told == [ZeroDivisionError]


@pytest.mark.usefixtures("told")
def test_a_ctrl_c_that_another_exception_was_put_in_place_of_is_one_all_the_same():
    def masked():
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt as error:
            raise SystemError("a result with an exception set") from error

    with pytest.raises(SystemError, match="mine"), unmasked_interrupts():
        raise SystemError("mine")
    with pytest.raises(KeyboardInterrupt), unmasked_interrupts():
        masked()
    raise_lost_interrupt()


def test_a_profile_is_of_the_second_chunk_and_can_be_opened(tmp_path):
    with Trace(str(tmp_path)) as trace:
        for step in (0, 1, 3, 5):
            jnp.arange(10 + step).sum().block_until_ready()
            trace(progress(step))
    (trace_file,) = tmp_path.glob("plugins/profile/*/perfetto_trace.json.gz")
    assert json.loads(gzip.decompress(trace_file.read_bytes()))["traceEvents"]
    assert list(tmp_path.glob("plugins/profile/*/*.xplane.pb"))


def test_a_profile_ends_with_the_run_and_none_is_made_unasked(tmp_path):
    with Trace(None) as trace:
        trace(progress(1))
    with Trace(str(tmp_path)) as trace:
        trace(progress(1))
    assert list(tmp_path.glob("plugins/profile/*/*.xplane.pb"))
    # None is running any more: else another could not begin.
    jax.profiler.start_trace(tmp_path / "next")
    jax.profiler.stop_trace()

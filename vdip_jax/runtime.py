"""Where a run happens and how it tells: compile cache, device and versions, progress."""

import contextlib
import importlib.metadata
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import jax
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar

from vdip_jax.solver import Progress

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "pillow")
_SECONDS_A_LINE = 10.0
_COMPILER_BYTES = 1_500_000_000
# The exit status of a program that a Ctrl-C ended, as shells have it.
INTERRUPTED = 130


def use_compile_cache(folder: Path | None = None) -> None:
    """Keep compiled programs, so that a second run of a shape starts at once.

    They go into `folder`; by default into the one that JAX_COMPILATION_CACHE_DIR names, or the user's cache folder.
    """
    if folder is None and "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        folder = base / "vdip_jax" / "compile"
    if folder is not None:
        jax.config.update("jax_compilation_cache_dir", str(folder))
    # JAX leaves out what compiles within a second. A run has some two hundred such programs: seven seconds of it.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def few_mappings(proc: Path = Path("/proc")) -> None:
    """Forget compiled programs once they hold half of the memory mappings that Linux grants: of more a process dies.

    On a CPU a program holds hundreds of them. From the compile cache it is soon back.
    """
    try:
        granted = int((proc / "sys" / "vm" / "max_map_count").read_text())
        held = (proc / "self" / "maps").read_bytes().count(b"\n")
    except OSError:
        # Not Linux: there is no such limit.
        return
    if held > granted // 2:
        jax.clear_caches()


def describe() -> dict[str, object]:
    """Device, platform and versions, for the record of a run."""
    device = jax.devices()[0]
    versions = {name: importlib.metadata.version(name) for name in _PACKAGES}
    return {
        "device": device.device_kind,
        "platform": device.platform,
        "num_devices": jax.device_count(),
        "num_cpus": os.cpu_count(),
        "machine": platform.platform(),
        "versions": {"python": platform.python_version(), **versions},
    }


def free_memory() -> int:
    """Bytes that the device has left for a run; on a CPU what the system has available beside what compiling takes."""
    of_device = jax.devices()[0].memory_stats()
    if of_device and "bytes_limit" in of_device:
        return int(of_device["bytes_limit"] - of_device["bytes_in_use"])
    limits = []
    for path, name in (("/proc/meminfo", "MemAvailable:"), ("/sys/fs/cgroup/memory.max", "")):
        try:
            words = next(line for line in Path(path).read_text().splitlines() if line.startswith(name)).split()
            limits.append(1024 * int(words[1]) if name else int(words[0]))
        except (OSError, StopIteration, ValueError):
            # Not Linux, or no limit.
            continue
    return max(0, min(limits) - _COMPILER_BYTES) if limits else sys.maxsize


def commit() -> str | None:
    """The commit of this checkout, with '+' if files differ from it; None for an installed copy."""
    root = Path(__file__).parent.parent
    if not (root / ".git").exists():
        return None
    try:
        options: dict[str, Any] = dict(cwd=root, capture_output=True, text=True, check=True)
        head = subprocess.run(["git", "rev-parse", "--short", "HEAD"], **options).stdout.strip()
        changed = subprocess.run(["git", "status", "--porcelain", "--untracked-files=no"], **options).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + ("+" if changed else "")


class Trace:
    """Profiles the second chunk of steps, the first that compiles nothing. A context manager; None profiles nothing.

    In `folder`/plugins/profile each trace has a folder of its own, which TensorBoard, XProf and Perfetto open.
    """

    def __init__(self, folder: str | None):
        self._folder = folder
        self._running = False

    def __enter__(self) -> Callable[[Progress], None]:
        return self._after_chunk

    def __exit__(self, *_: object) -> None:
        # The run may end before the chunk does.
        if self._running:
            jax.profiler.stop_trace()

    def _after_chunk(self, progress: Progress) -> None:
        if self._running:
            jax.profiler.stop_trace()
            self._running, self._folder = False, None
        elif self._folder is not None and progress.step:
            jax.profiler.start_trace(self._folder, create_perfetto_trace=True)
            self._running = True


class Reporter:
    """Tells how a run goes: a bar on a terminal, a plain line now and then in a pipe. A context manager."""

    def __init__(self, title: str):
        self._title = title
        self._began = self._told = time.monotonic()
        self._first: tuple[int, float] | None = None
        self._phase = ""
        self._bar: Bar | None = None
        if sys.stderr.isatty():
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[tail]}"),
            )
            self._bar = Bar(*columns, console=Console(stderr=True), transient=True)

    def __enter__(self) -> Callable[[Progress], None]:
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task(f"{self._title}: compiling", total=None, tail="")
        else:
            self._line("compiling")
        return self._report

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def _report(self, progress: Progress) -> None:
        now = time.monotonic()
        if not progress.step:
            # A classical start: no step has been made and there is no loss yet.
            if self._bar is not None:
                self._bar.update(self._task, description=f"{self._title}: compiling", total=progress.num_steps)
            elif progress.num_steps:
                self._line("classical start made; compiling")
            return
        # The first chunk holds the compilation: the pace is measured from its end.
        self._first = self._first or (progress.step, now)
        steps, seconds = progress.step - self._first[0], now - self._first[1]
        left = f"{seconds / steps * (progress.num_steps - progress.step):.0f} s left" if steps else ""
        loss = f"loss {float(np.mean(progress.loss)):.4f}"
        failed = "" if np.all(progress.ok) else ", not finite"
        if self._bar is not None:
            self._bar.update(
                self._task,
                description=f"{self._title}: {progress.phase}",
                completed=progress.step,
                total=progress.num_steps,
                tail=f"{loss}{failed}  {left}",
            )
        elif (
            progress.phase != self._phase or now - self._told >= _SECONDS_A_LINE or progress.step == progress.num_steps
        ):
            self._line(
                f"{progress.phase} step {progress.step}/{progress.num_steps}, {loss}{failed}{left and ', ' + left}"
            )
            self._told = now
        self._phase = progress.phase

    def _line(self, text: str) -> None:
        line(self._title, text)


def line(title: str, text: str) -> None:
    """Tell something of what is named by `title`."""
    print(f"{title}: {text}", file=sys.stderr, flush=True)


_interrupted = threading.Event()


def heed_interrupts() -> None:
    """From now on a Ctrl-C that got lost is raised by `raise_lost_interrupt`.

    Python drops an exception raised in a destructor or in a callback of the garbage collector, of which JAX has one,
    and prints a traceback: of this one it no longer does.
    """

    def interrupt(*_: object) -> None:
        _interrupted.set()
        raise KeyboardInterrupt

    # A program in the background, which ignores it, goes on ignoring it.
    if signal.getsignal(signal.SIGINT) not in (signal.default_int_handler, signal.SIG_DFL):
        return
    signal.signal(signal.SIGINT, interrupt)
    tell = sys.unraisablehook

    def dropped(unraisable: Any) -> None:
        if not issubclass(unraisable.exc_type, KeyboardInterrupt):
            tell(unraisable)

    sys.unraisablehook = dropped


def raise_lost_interrupt() -> None:
    """Raise the KeyboardInterrupt of a Ctrl-C that has been pressed, if there was one."""
    if _interrupted.is_set():
        _interrupted.clear()
        raise KeyboardInterrupt


@contextlib.contextmanager
def unmasked_interrupts() -> Iterator[None]:
    """After a Ctrl-C raise KeyboardInterrupt, whatever exception it became.

    Compiled code that calls Python may put its own in the place of what is raised there: NumPy a SystemError.
    """
    try:
        yield
    except Exception:
        raise_lost_interrupt()
        raise


def end_at_once(status: int) -> NoReturn:
    """End the process, not waiting for what threads, its own or XLA's, still compute.

    That can take a minute, and it crashes where Python is taken down beneath it.
    """
    # Who read them may have been ended by the same Ctrl-C.
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)

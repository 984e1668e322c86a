"""Independent work at the same time on the cores of a CPU, where XLA runs the programs of one thread in turn."""

import contextlib
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import jax

from vdip_jax.checks import is_concrete

Piece = TypeVar("Piece")
Made = TypeVar("Made")

# Settings of JAX that hold in the thread in which they were made, each the name of what makes it.
_OF_A_THREAD = ("enable_x64", "default_device", "default_matmul_precision")

_here = threading.local()


def are_best_apart(*arrays: Any) -> bool:
    """Whether work on these arrays is best done piece by piece: on a CPU, which takes longer over them as one program.

    A program that is not yet run cannot be shared out: a trace belongs to its thread.
    """
    return jax.default_backend() == "cpu" and is_concrete(*arrays)


def side_by_side(function: Callable[[Piece], Made], pieces: Sequence[Piece]) -> list[Made]:
    """`function` of each of the pieces, as many at a time as there are cores; in turn where that is seen to already."""
    workers = 1 if getattr(_here, "shared_out", False) else min(_num_cores(), len(pieces))
    if workers == 1:
        return [function(piece) for piece in pieces]
    settings = {name: getattr(jax.config, f"jax_{name}") for name in _OF_A_THREAD}

    def in_thread(piece: Piece) -> Made:
        with contextlib.ExitStack() as stack:
            for name, value in settings.items():
                stack.enter_context(getattr(jax, name)(value))
            _here.shared_out = True
            return jax.block_until_ready(function(piece))

    pool, waited_for = ThreadPoolExecutor(workers), True
    try:
        return list(pool.map(in_thread, pieces))
    except KeyboardInterrupt:
        # What is begun may take a minute, and nobody wants it any more.
        waited_for = False
        raise
    finally:
        pool.shutdown(wait=waited_for, cancel_futures=True)


def _num_cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

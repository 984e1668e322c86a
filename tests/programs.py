"""Programs from the outside: how tests start one, and what a refusal looks like."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def command(module, *arguments):
    """The command line of one of the package's programs."""
    # The module, not the launcher: which Python to use is settled when tests run.
    return [sys.executable, "-P", "-m", f"vdip_jax.{module}", *map(str, arguments)]


def options(cwd):
    """How to start it in a folder: with its programs compiled without optimisation, in a third of the time."""
    settings = {"PYTHONPATH": str(ROOT), "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    return dict(cwd=cwd, env={**os.environ, **settings}, text=True)


def run(module, *arguments, cwd=ROOT):
    """Run one of the package's programs to its end."""
    return subprocess.run(command(module, *arguments), capture_output=True, timeout=600, **options(cwd))


def refused(run, *words):
    """One sentence on stderr, exit status 1, no traceback, every word in it."""
    assert run.returncode == 1, run.stderr
    assert "Traceback" not in run.stderr
    assert len(run.stderr.strip().splitlines()) == 1, run.stderr
    for word in words:
        assert word in run.stderr

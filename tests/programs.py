"""Programs from the outside: how tests start one, and what a refusal looks like."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def command(module, *arguments, small=True):
    """The command line of one of the package's programs, with small networks unless it is their size that counts."""
    # What a launcher runs, not the launcher: which Python to use is settled when tests run.
    program = ROOT / "tests" / "small.py" if small else ROOT / "bin" / "program.py"
    return [sys.executable, "-P", *map(str, (program, module, *arguments))]


def options(cwd):
    """How to start it in a folder: with its programs compiled without optimisation, in a fraction of the time."""
    settings = {"PYTHONPATH": str(ROOT), "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    return dict(cwd=cwd, env={**os.environ, **settings}, text=True)


def run(module, *arguments, cwd=ROOT, small=True):
    """Run one of the package's programs to its end."""
    return subprocess.run(command(module, *arguments, small=small), capture_output=True, timeout=600, **options(cwd))


def refused(run, *words):
    """One sentence on stderr, exit status 1, no traceback, every word in it."""
    assert run.returncode == 1, run.stderr
    assert "Traceback" not in run.stderr
    assert len(run.stderr.strip().splitlines()) == 1, run.stderr
    for word in words:
        assert word in run.stderr

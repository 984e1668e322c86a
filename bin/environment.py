"""Print the path of a Python that has the project's packages, first making a virtual environment if need be.

Run by environment.sh, with the Python that it chose and before anything is installed: standard library only.
Arguments: the launcher's name, the environment's folder, a key of what it is made from, and the wanted parts.
"""

import configparser
import fcntl
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

PROGRAM, VENV, KEY = sys.argv[1], Path(sys.argv[2]).absolute(), sys.argv[3]
WANTED = set(sys.argv[4:])
# The stamp comes last: an environment without it, or still with the other mark, is one that was cut off.
STAMP, UNFINISHED = VENV / "ready", VENV / "unfinished"
LOG = Path(f"{VENV}.log")
THIS_PYTHON = os.path.realpath(sys.executable)


class SetUpError(Exception):
    """What went wrong and what to do about it, in a sentence for the person at the terminal."""


def main() -> None:
    """Print the path of the Python to use."""
    if usable_as_it_is():
        print(sys.executable)
        return
    try:
        VENV.parent.mkdir(parents=True, exist_ok=True)
        with open(f"{VENV}.lock", "w") as lock:
            hold(lock.fileno())
            if not is_ready():
                make()
        print(VENV / "bin" / "python")
    except SetUpError as failure:
        if "test" not in WANTED or os.environ.get("CI") or not has("core") or not satisfied("pytest"):
            sys.exit(f"{PROGRAM}: {failure}.")
        say(f"{failure}. Going on with the test tools that {sys.executable} has.")
        print(sys.executable)
    except OSError as error:
        sys.exit(f"{PROGRAM}: {error}: set VDIP_VENV to a folder that can be written.")
    except KeyboardInterrupt:
        sys.exit(130)


def usable_as_it_is() -> bool:
    """Tell whether this Python has all that is wanted; unless it was asked for, CUDA too if possible."""
    if not has(*WANTED - {"nvidia"}):
        return False
    with_cuda = satisfied("jax-cuda13-plugin") or satisfied("jax-cuda12-plugin")
    return with_cuda or bool(os.environ.get("VDIP_PYTHON")) or not cuda_extra()


def has(*parts: str) -> bool:
    """Tell whether this Python has everything that some parts require."""
    return all(map(satisfied, requirements(*parts)))


def requirements(*parts: str) -> list[str]:
    """Return what setup.cfg requires for the core and for its extras."""
    config = configparser.ConfigParser()
    config.read(Path(__file__).resolve().parent.parent / "setup.cfg", encoding="utf-8")
    lists = {"core": config["options"]["install_requires"], **config["options.extras_require"]}
    return [line for part in parts for line in lists[part].split("\n") if line]


def satisfied(requirement: str) -> bool:
    """Tell whether this Python has a package in a required version, without the seconds of importing it."""
    name, bounds = re.fullmatch(r"([\w.-]+)(.*)", requirement).groups()
    try:
        version = numbers(importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return False
    return all(
        version >= numbers(bound) if sign == ">=" else version < numbers(bound)
        for sign, bound in re.findall(r"(>=|<)([\d.]+)", bounds)
    )


def numbers(version: str) -> tuple[int, ...]:
    """Return the release numbers that a version begins with."""
    return tuple(map(int, re.match(r"\d+(\.\d+)*", version)[0].split(".")))


def cuda_extra() -> list[str]:
    """Return the extra with the CUDA packages that the NVIDIA driver and devices here can use, if any."""
    if "nvidia" not in WANTED:
        return []
    newest = ask_nvidia(pattern=r"CUDA (?:\w+ )?Version: *(\d+\.\d+)")
    if max(newest, default=0) < 12:
        return []
    # CUDA 13 has left devices below compute capability 7.5 behind, which its drivers still serve.
    devices = ask_nvidia("--query-gpu=compute_cap", "--format=csv,noheader", pattern=r"\d+\.\d+")
    return ["cuda13" if max(newest) >= 13 and min(devices, default=0) >= 7.5 else "cuda12"]


def ask_nvidia(*arguments: str, pattern: str) -> list[float]:
    """Return the numbers in nvidia-smi's answer, none where it fails."""
    try:
        answer = subprocess.run(["nvidia-smi", *arguments], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [float(number) for number in re.findall(pattern, answer.stdout)]


def hold(lock: int) -> None:
    """Wait for the lock, so that two first runs at once make one environment."""
    # pip inherits the lock: where this process alone is killed, nobody interferes with the pip left over.
    os.set_inheritable(lock, True)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say("waiting for another run that is setting up the Python environment")
        fcntl.flock(lock, fcntl.LOCK_EX)


def is_ready() -> bool:
    """Tell whether the environment is whole, up to date and made from this Python."""
    key, _, parts = stamped()
    return key == KEY and is_from_this_python() and parts >= WANTED


def is_from_this_python() -> bool:
    """Tell whether the environment was made from this Python, and still runs it."""
    return stamped()[1] == os.path.realpath(VENV / "bin" / "python") == THIS_PYTHON


def stamped() -> tuple[str, str, set[str]]:
    """Return the key, the Python and the parts of the environment that is there."""
    try:
        key, made_from, parts = STAMP.read_text().splitlines()
    except (OSError, ValueError):
        return "", "", set()
    return key, made_from, set(parts.split())


def make() -> None:
    """Make the environment, or bring up to date the one that is there."""
    if VENV.is_dir() and any(VENV.iterdir()) and not STAMP.exists() and not UNFINISHED.exists():
        raise SetUpError(
            f"{VENV} was not made by this program and is left alone: remove it, or set VDIP_VENV to another"
            " folder, or VDIP_PYTHON to its Python"
        )
    fresh = not is_from_this_python()
    # A package that was being added when a set-up was cut off can look installed without being whole.
    repair = ["--force-reinstall"] if UNFINISHED.exists() and not fresh else []
    parts = WANTED if fresh else WANTED | stamped()[2] & {"test"}
    cuda = cuda_extra()
    duration = "some minutes: the CUDA packages are large" if cuda else "about a minute"
    say(f"setting up the Python environment {VENV} (once, {duration})")
    VENV.mkdir(exist_ok=True)
    UNFINISHED.touch()
    LOG.write_text("")
    if fresh:
        STAMP.unlink(missing_ok=True)
        for entry in set(VENV.iterdir()) - {UNFINISHED}:
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        # Where only test tools are lacking they are added to this Python's packages, and so test its jax.
        share = ["--system-site-packages"] if has("core") else []
        if call(sys.executable, "-m", "venv", *share, VENV) != 0:
            raise SetUpError(
                f"{sys.executable} could not make a virtual environment (see {LOG}): on Debian or Ubuntu"
                " install python3-venv, or set VDIP_PYTHON to another Python"
            )
    pip = [VENV / "bin" / "python", "-I", "-m", "pip", "install", "--quiet", "--no-input", "--retries=2"]
    # Photographs of more than eight bits: a Python that is used as it is may do without.
    extras = sorted(parts - {"nvidia"} | {"photos"})
    if call(*pip, *repair, *requirements(*extras, *cuda)) != 0:
        raise SetUpError(
            f"could not install the packages (see {LOG}): this needs a network connection to PyPI, or"
            " VDIP_PYTHON set to a Python that already has them"
        )
    new = VENV / "ready.new"
    new.write_text(f"{KEY}\n{THIS_PYTHON}\n{' '.join(sorted(parts))}\n")
    new.replace(STAMP)
    UNFINISHED.unlink()


def call(*command: str | Path) -> int:
    """Run a command that writes to the log, and return its exit status."""
    with LOG.open("a") as log:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, close_fds=False)
    return done.returncode


def say(text: str) -> None:
    """Print to the terminal; standard output is read by environment.sh."""
    print(f"{PROGRAM}: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()

"""The ledger: keeps what was measured in `results/`, a folder a run, and writes README.md from it.

python benchmarks/ledger.py add OUTPUT NAME     keep an output of bin/evaluate as results/NAME
python benchmarks/ledger.py                     write README.md anew
python benchmarks/ledger.py check               exit 1 if README.md is not what the results say
"""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
RESULTS = HERE / "results"
TABLES = ("settings.json", "table.txt", "table.csv", "table.json")


class Run(NamedTuple):
    """One folder of results: what every record in it says of where and how, and the records."""

    name: str
    about: dict[str, Any]
    records: list[dict[str, Any]]

    def solved(self, **wanted: Any) -> list[dict[str, Any]]:
        """Records of pictures that were solved here, with these settings and fields."""
        return [
            record
            for record in self.records
            if "seconds" in record and all({**self.about, **record}.get(key) == value for key, value in wanted.items())
        ]


def _images(count: int, **wanted: Any) -> Callable[[list[Run]], bool]:
    """Whether so many images were solved with these settings."""
    return lambda runs: len({r["name"] for run in runs for r in run.solved(**wanted)}) >= count


def _benched(platform: str) -> Callable[[list[Run]], bool]:
    return lambda runs: any("cases" in run.about and run.about.get("platform") == platform for run in runs)


# What the project wants to know, and how to tell from the ledger that it does.
WANTED: dict[str, Callable[[list[Run]], bool]] = {
    "Levin, all 32, instant": _images(32, dataset="levin2009", preset="instant"),
    "Levin, all 32, quick": _images(32, dataset="levin2009", preset="quick", method="refined"),
    "Levin, all 32, best": _images(32, dataset="levin2009", preset="best"),
    "Lai, the 60 at hand, instant": _images(60, dataset="lai2016", preset="instant"),
    "Lai, the 60 at hand, quick": _images(60, dataset="lai2016", preset="quick", method="refined"),
    "Levin, all 32, published schedule": _images(32, dataset="levin2009", preset="published", method="vdip-sparse"),
    "Lai, the 60 at hand, published schedule": _images(60, dataset="lai2016", preset="published", method="vdip-sparse"),
    "Lai, all 100, published schedule": _images(100, dataset="lai2016", preset="published", method="vdip-sparse"),
    "Which protocol the paper's tables fit": _images(60, dataset="lai2016", preset="published", method="vdip-sparse"),
    "Lai's real photographs without a reference": _images(1, dataset="lai2016_real"),
    "Time and memory on a CPU": _benched("cpu"),
    "Time and memory on a GPU": _benched("gpu"),
    "Anything at all on a GPU": lambda runs: any(run.about.get("platform") in ("gpu", "cuda") for run in runs),
}


def read_runs() -> list[Run]:
    """All runs, in order of their names, which begin with a date."""
    runs = []
    for folder in sorted(path for path in RESULTS.iterdir() if path.is_dir()):
        records = [json.loads(path.read_text()) for path in sorted((folder / "records").glob("*.json"))]
        runs.append(Run(folder.name, json.loads((folder / "run.json").read_text()), records))
    return runs


def add(output: Path, name: str) -> None:
    """Keep tables and records of an evaluation; pictures and report are too large for a repository."""
    folder = RESULTS / name
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(output / "records", folder / "records")
    for table in TABLES:
        shutil.copy(output / table, folder / table)
    records = [json.loads(path.read_text()) for path in sorted((output / "records").glob("*.json"))]
    shared = {key: records[0][key] for key in ("device", "platform", "num_devices", "num_cpus", "machine", "versions")}
    about = {
        **json.loads((output / "settings.json").read_text()),
        "command": sorted({record["command"] for record in records}),
        "commit": sorted({str(record["commit"]) for record in records}),
        **shared,
    }
    (folder / "run.json").write_text(json.dumps(about, indent=1) + "\n")


def readme(runs: list[Run]) -> str:
    """The page about the ledger."""
    lines = [
        "# Benchmarks",
        "",
        "Programs that measure, and `results/`: what they measured, a folder a run, with machine, versions, commit and",
        "command. This page is written by `python benchmarks/ledger.py` from them. The machines are noisy: compare",
        "within one run, as ratios.",
        "",
        "| program | what |",
        "| --- | --- |",
        "| `bin/evaluate` | image, kernel and uncertainty of a data set against the truth, beside published numbers |",
        "| `bin/bench` | seconds a step of each phase, compile time, peak memory |",
        "| `bin/figure` | the paper's figures: time against size, kernels side by side, failures |",
        "| `python benchmarks/ledger.py add OUTPUT NAME` | keeps an evaluation here |",
        "| `python benchmarks/curve.py` | how good the answer is if a run ends after so many seconds |",
        "| `python benchmarks/warm.py` | how good the answer is after so many steps, from a start and from none |",
        "| `python benchmarks/photographs.py` | a data set of sharp photographs, blurred anew |",
        "| `python benchmarks/starts.py` | seconds of a start alone and in a batch |",
        "| `python benchmarks/kernel_sizes.py` | what a kernel size that was not known costs |",
        "| `python benchmarks/seeds.py OUTPUT` | how good the choice among seeds is |",
        "| `python benchmarks/large.py` | a photograph of 12 megapixels from end to end: time, memory, gain |",
        "| `python benchmarks/scoring.py` | seconds to score a picture |",
        "",
        "## Measured",
        "",
        "| run | device | commit | what | command |",
        "| --- | --- | --- | --- | --- |",
        *(_line(run) for run in runs),
        "",
        "## Not measured yet",
        "",
        *(f"* {what}." for what, is_known in WANTED.items() if not is_known(runs)),
    ]
    return "\n".join(lines) + "\n"


def _line(run: Run) -> str:
    about = run.about
    cores = f", {about['num_cpus']} cores" if about.get("platform") == "cpu" and "num_cpus" in about else ""
    commits, commands = (_several(about.get(key, "")) for key in ("commit", "command"))
    shown = "<br>".join(f"`{command}`" for command in commands)
    return (
        f"| [{run.name}](results/{run.name}) | {about.get('device', '')}{cores} | {', '.join(commits)} "
        f"| {about.get('what') or _what(run)} | {shown} |"
    )


def _what(run: Run) -> str:
    methods = ", ".join(sorted({record["method"] for record in run.records}))
    images = len({record["name"] for record in run.records})
    seconds = "" if run.solved() else ", scored only"
    return f"{run.about.get('title')}, {images} images: {methods}{seconds}"


def _several(value: Any) -> list[str]:
    return [str(part) for part in value] if isinstance(value, list) else [str(value)]


if __name__ == "__main__":
    if sys.argv[1:2] == ["add"] and len(sys.argv) == 4:
        add(Path(sys.argv[2]), sys.argv[3])
    elif sys.argv[1:] not in ([], ["check"]):
        sys.exit(str(__doc__))
    page = readme(read_runs())
    if sys.argv[1:] == ["check"]:
        sys.exit(0 if (HERE / "README.md").read_text() == page else "benchmarks/README.md is old: run ledger.py.")
    (HERE / "README.md").write_text(page)

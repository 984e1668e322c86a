"""bin/evaluate: a data set solved and scored, or pictures that exist scored, with tables beside published numbers."""

import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags

from vdip_jax import METHODS, Refusal, __version__, checks, datasets, evaluation, options, records, rendering, tables
from vdip_jax.datasets import CONVENTIONS, KNOWN, Dataset, Pair
from vdip_jax.evaluation import Plan
from vdip_jax.images import write_text
from vdip_jax.quality import BrisqueModel, read_brisque_model
from vdip_jax.report import write_report
from vdip_jax.runtime import INTERRUPTED, commit, describe, unmasked_interrupts, use_compile_cache

_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Folder with blurred/ and, for a scored set, ground_truth/, kernels/."
)
_DATASET = flags.DEFINE_string("dataset", "auto", f"One of {', '.join(KNOWN)}, other; auto tells by the files' names.")
_KERNEL_CONVENTION = flags.DEFINE_string(
    "kernel_convention", "convolution", f"Of the kernel files of another data set: {' or '.join(CONVENTIONS)}."
)
_OUTPUT = flags.DEFINE_string(
    "output", "evaluated", "Folder for records, pictures and tables; continued if it is there."
)
_METHOD = flags.DEFINE_list("method", ["vdip-sparse"], f"Some of {', '.join(METHODS)}, or all.")
_SEEDS = flags.DEFINE_list("seeds", ["0"], "Seeds of all random draws; each image is solved with each.")
_ONLY = flags.DEFINE_list("only", [], "Only these, in this order: names, patterns such as 'text_*', categories.")
_LIMIT = flags.DEFINE_integer("limit", None, "At most this many images.", lower_bound=1)
_CROP = flags.DEFINE_integer(
    "crop", 0, "Solve only the central square of this side in pixels; 0 for all.", lower_bound=0
)
_KERNEL_SIZE = flags.DEFINE_integer("kernel_size", None, "Odd side of the kernel; by default the true kernel's size.")
_MAX_MINUTES = flags.DEFINE_float(
    "max_minutes", None, "Stop before an image that would end later; run again to go on.", lower_bound=0
)
_SCORE_ONLY = flags.DEFINE_bool("score_only", False, "Solve nothing: score the pictures in --results.")
_RESULTS = flags.DEFINE_string("results", None, "With --score_only: folder of pictures made by any program.")
_RESULT_PATTERN = flags.DEFINE_string(
    "result_pattern", "{name}.png", "Their names: {name} is the blurred file's, {image} and {kernel} its parts."
)
_RESULT_KERNEL_PATTERN = flags.DEFINE_string(
    "result_kernel_pattern", "{name}_kernel.npy", "Names of their kernels, .npy in true convolution; may be missing."
)
_LABEL = flags.DEFINE_string("label", "results", "With --score_only: what to call them in tables.")
_TABLES_ONLY = flags.DEFINE_bool("tables_only", False, "Only make tables and report anew from the records in --output.")
_BRISQUE_MODEL = flags.DEFINE_string(
    "brisque_model", None, "libsvm model of BRISQUE (its authors' allmodel), for BRISQUE."
)
_BRISQUE_RANGE = flags.DEFINE_string("brisque_range", None, "Its svm-scale ranges (their allrange).")
flags.adopt_module_key_flags(options)

# What a run may differ in and still share a folder: it picks records, or how fast they come.
_FREE = {
    *("data_dir", "output", "method", "seeds", "only", "limit", "max_minutes", "batch_size", "compile_cache"),
    *("max_memory",),
    *("score_only", "results", "result_pattern", "result_kernel_pattern", "label", "tables_only"),
}


def run() -> None:
    """Entry point of the console script."""
    options.run_program(main, "evaluate", sys.modules[__name__])


def main(argv: Sequence[str]) -> None:
    """Exits 0 when all is done, 1 for refused input, 2 if an image failed, 3 if time ran out, 130 on Ctrl-C."""
    try:
        if len(argv) > 1:
            raise Refusal(f"takes no arguments but flags, got {argv[1]!r}; give the data set as --data_dir.")
        if _DATA_DIR.value is None:
            raise Refusal("--data_dir must name the folder of a data set, with blurred/ in it.")
        dataset = datasets.find_dataset(Path(_DATA_DIR.value), _DATASET.value, _KERNEL_CONVENTION.value)
        pairs = datasets.choose(dataset, _ONLY.value, _LIMIT.value)
        folder = Path(_OUTPUT.value)
        if _TABLES_ONLY.value:
            records.read_settings(folder)
            _conclude(dataset, folder)
            return
        plan = _plan(pairs)
        seeds = _seeds()
        with records.opened(folder, _settings(dataset)):
            sys.exit(_evaluate(dataset, pairs, seeds, plan, folder))
    except Refusal as refusal:
        sys.exit(f"evaluate: {refusal}")


def _evaluate(dataset: Dataset, pairs: Sequence[Pair], seeds: Sequence[int], plan: Plan, folder: Path) -> int:
    """Solve or score, then make the tables of all that is there; return the exit status."""
    for problem in [*dataset.notes, *(pair.problem for pair in pairs if pair.problem)]:
        print(f"evaluate: {problem}", file=sys.stderr)
    left, interrupted = 0, False
    try:
        with unmasked_interrupts():
            if _SCORE_ONLY.value:
                _score(dataset, pairs, plan, folder)
            else:
                left = _solve(dataset, pairs, seeds, plan, folder)
    except KeyboardInterrupt:
        interrupted = True
    failed = _conclude(dataset, folder)
    if interrupted:
        print(f"evaluate: stopped; {folder} holds what was finished, run again to go on.", file=sys.stderr)
    elif left:
        print(f"evaluate: time is up with {left} images left; run again to go on.", file=sys.stderr)
    return INTERRUPTED if interrupted else 3 if left else 2 if failed else 0


def _score(dataset: Dataset, pairs: Sequence[Pair], plan: Plan, folder: Path) -> None:
    """Score the pictures that somebody else made."""
    results = Path(str(_RESULTS.value))

    def find(pair: Pair) -> evaluation.Picture:
        return evaluation.read_result(results, pair, _RESULT_PATTERN.value, _RESULT_KERNEL_PATTERN.value)

    evaluation.score_pictures(dataset, pairs, find, _LABEL.value, plan, folder, _tell)


def _solve(dataset: Dataset, pairs: Sequence[Pair], seeds: Sequence[int], plan: Plan, folder: Path) -> int:
    """Solve what has no record yet; return how many of it were left when time was up."""
    if options.COMPILE_CACHE.value:
        use_compile_cache()
    tasks = evaluation.make_tasks(pairs, list(plan.configs), seeds)
    todo = evaluation.pending(tasks, records.read_records(folder))
    if len(todo) < len(tasks):
        print(f"evaluate: {len(tasks) - len(todo)} of {len(tasks)} are in {folder} already.", file=sys.stderr)
    return evaluation.solve_tasks(dataset, todo, plan, folder, _tell)


def _conclude(dataset: Dataset, folder: Path) -> bool:
    """Write and print the tables of all records; return whether any image failed."""
    found = records.read_records(folder)
    made = tables.make_tables(dataset, found)
    text = rendering.as_text(made, found)
    write_text(folder / "table.txt", text)
    write_text(folder / "table.csv", rendering.as_csv(made))
    records.write_json(folder / "table.json", rendering.as_json(made, found))
    write_report(folder, dataset, found, made)
    print(text)
    return any(record["failed"] for record in found)


def _plan(pairs: Sequence[Pair]) -> Plan:
    """Check every flag that shapes the solving, before any work."""
    methods = list(METHODS) if _METHOD.value == ["all"] else _METHOD.value
    about: dict[str, Any] = {"version": __version__, "commit": commit(), **describe()}
    about["command"] = shlex.join(["bin/evaluate", *sys.argv[1:]])
    if _SCORE_ONLY.value:
        if _RESULTS.value is None or not Path(_RESULTS.value).is_dir():
            raise Refusal(f"--score_only needs --results, a folder of pictures, got {_RESULTS.value}.")
        for pattern in (_RESULT_PATTERN.value, _RESULT_KERNEL_PATTERN.value):
            _check_pattern(pattern)
        if not re.fullmatch(r"[\w+-][\w .+-]*", _LABEL.value) or _LABEL.value in METHODS:
            raise Refusal(f"--label must be a name of letters and digits and no method's, got {_LABEL.value!r}.")
        return Plan({}, brisque_model=_brisque_model(), about=about)
    if _RESULTS.value is not None:
        raise Refusal("--results belongs to --score_only; add it, or leave --results out to solve the data set.")
    for method in methods:
        checks.check_choice("--method", method, METHODS)
    made = [options.make_config(method) for method in methods]
    configs = {config.title: config for config in made}
    if len(configs) < len(made):
        raise Refusal(
            f"--method names {', '.join(methods)}, which are all one without a variational phase; give one of them, "
            f"or --variational_steps."
        )
    size = None
    if _KERNEL_SIZE.value is not None:
        size = checks.check_kernel_size(_KERNEL_SIZE.value, (10**6, 10**6))
    elif any(pair.kernel_file is None and not pair.problem for pair in pairs):
        raise Refusal("--kernel_size must be given for photographs whose kernel is not known.")
    seconds = float("inf") if _MAX_MINUTES.value is None else 60 * _MAX_MINUTES.value
    batch_size, most = options.BATCH_SIZE.value, options.max_memory()
    return Plan(configs, size, _CROP.value, batch_size, most, seconds, _brisque_model(), about)


def _seeds() -> list[int]:
    try:
        seeds = [int(seed) for seed in _SEEDS.value]
    except ValueError:
        seeds = []
    if not seeds or min(seeds) < 0:
        raise Refusal(f"--seeds must be whole numbers of at least 0, such as 0,1,2, got {','.join(_SEEDS.value)!r}.")
    return list(dict.fromkeys(seeds))


def _brisque_model() -> BrisqueModel | None:
    if (_BRISQUE_MODEL.value is None) != (_BRISQUE_RANGE.value is None):
        raise Refusal("--brisque_model and --brisque_range belong together; give both files or none.")
    if _BRISQUE_MODEL.value is None:
        return None
    return read_brisque_model(Path(_BRISQUE_MODEL.value), Path(str(_BRISQUE_RANGE.value)))


def _check_pattern(pattern: str) -> None:
    try:
        pattern.format(name="", image="", kernel="")
    except (KeyError, IndexError, ValueError):
        raise Refusal(f"--result_pattern may hold {{name}}, {{image}} and {{kernel}}, got {pattern!r}.") from None


def _settings(dataset: Dataset) -> dict[str, Any]:
    """What all records of a folder have in common."""
    own = options.own_flags(sys.modules[__name__])
    chosen = {name: flag.value for name, flag in own.items() if name not in _FREE and flag.value is not None}
    return {"format": 1, **chosen, "dataset": dataset.name, "title": dataset.title}


def _tell(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    run()

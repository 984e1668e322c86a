"""The ledger tells what its records say."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from vdip_jax.datasets import Dataset, Pair
from vdip_jax.records import read_records
from vdip_jax.rendering import as_json
from vdip_jax.tables import make_tables

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
RUNS = sorted(path.parent for path in (BENCHMARKS / "results").glob("*/run.json"))
EVALUATIONS = [run for run in RUNS if (run / "records").is_dir()]


def test_the_page_is_what_the_results_say():
    run = subprocess.run([sys.executable, BENCHMARKS / "ledger.py", "check"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_every_run_tells_device_commit_and_command(run):
    about = json.loads((run / "run.json").read_text())
    assert about["device"] and about["commit"] and about["command"]
    assert "versions" in about or "jax" in about


@pytest.mark.parametrize("run", EVALUATIONS, ids=lambda run: run.name)
def test_tables_are_those_of_the_records(run):
    settings = json.loads((run / "settings.json").read_text())
    records = read_records(run)
    # A data set that is not known counts its own pairs.
    pairs = {r["name"]: Pair(r["name"], r["image"], r["kernel"], r["category"], Path()) for r in records}
    dataset = Dataset(settings["dataset"], settings["title"], tuple(pairs.values()), (), "convolution")
    assert json.loads(json.dumps(as_json(make_tables(dataset, records), records))) == json.loads(
        (run / "table.json").read_text()
    )


def test_an_evaluation_is_kept_with_what_it_says_of_itself(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import ledger

    monkeypatch.setattr(ledger, "RESULTS", tmp_path)
    source = EVALUATIONS[0]
    ledger.add(source, "again")
    [kept] = ledger.read_runs()
    assert len(kept.records) == len(read_records(source))
    assert kept.about == json.loads((source / "run.json").read_text())
    page = ledger.readme([kept])
    assert "[again](results/again)" in page
    assert "* Levin, all 32, published schedule." in page

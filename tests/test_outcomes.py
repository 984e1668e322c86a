"""A photograph that is sharp is given back, with the reason."""

import json

import numpy as np

from vdip_jax import Config, outcomes
from vdip_jax.inputs import Task
from vdip_jax.photographs import Photo
from vdip_jax.planning import Decision
from vdip_jax.triage import Finding


def test_what_is_sharp_comes_back_as_it_is_and_why(tmp_path, capsys, monkeypatch):
    # Flags are read where a command line was.
    monkeypatch.setattr(outcomes.inputs, "recorded", lambda task, size: [f"--input={task.source}"])
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3)) / np.float32(255)
    why = "its edges are sharp"
    task = Task("a.png", Photo("a", pixels, ()), None, "none", Finding("sharp", 2.1, 0.0, 0.01), sharp=why)
    call = outcomes.Call(Config.preset("instant"), tmp_path, 3, ("--seed=3",))
    assert outcomes.give_back(call, task, (Decision("kernel size", "9x9", "seen"),), 12.3)
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in outcomes.paths(tmp_path, task.photo)}
    record = json.loads((tmp_path / "a.json").read_text())
    assert record["seconds"] == 12.3
    assert record["answer"] == "the photograph itself" and record["seed"] == 3 and "--seed=3" in record["flags"]
    assert [decision["what"] for decision in record["decisions"]] == ["kernel size", "answer"]
    assert why in record["decisions"][1]["why"] and why in capsys.readouterr().err

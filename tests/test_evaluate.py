"""bin/evaluate from the outside: solving, scoring, going on after a kill, refusals."""

import csv
import functools
import io
import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import scipy.ndimage
from PIL import Image
from programs import ROOT, command, options, refused, run

TINY = ("--preset=cold", "--channels=4", "--prefit_steps=2", "--variational_steps=10", "--ssim_steps=20")


evaluate = functools.partial(run, "evaluate")


def write(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.round(pixels).astype(np.uint8)).save(path)


def make_set(folder, names=("a_1", "a_2", "b_1"), shape=(48, 56)):
    """Smooth images blurred by a horizontal stroke, in the layout of a data set."""
    kernel = np.zeros((3, 5))
    kernel[1] = 50
    write(folder / "kernels" / "k1.png", kernel)
    for seed, name in enumerate(names):
        noise = np.random.default_rng(seed).random(shape)
        truth = scipy.ndimage.gaussian_filter(noise, 1)
        truth = 255 * (truth - truth.min()) / np.ptp(truth)
        write(folder / "ground_truth" / f"{name}.png", truth)
        write(folder / "blurred" / f"{name}_k1.png", scipy.ndimage.uniform_filter1d(truth, 5, axis=1))


def records(folder):
    return {path.stem: json.loads(path.read_text()) for path in (folder / "records").glob("*.json")}


def table(folder, without=("Seconds",)):
    """The CSV's lines but for those that differ from run to run."""
    lines = csv.DictReader(io.StringIO((folder / "table.csv").read_text()))
    return [line for line in lines if not line["table"].startswith(without)]


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """A data set, one of its images without a truth, solved whole and uninterrupted."""
    folder = tmp_path_factory.mktemp("evaluated")
    make_set(folder / "set")
    write(folder / "set" / "blurred" / "c_1_k1.png", np.full((48, 56), 99))
    run = evaluate("--data_dir=set", "--output=whole", "--seeds=0", *TINY, cwd=folder)
    assert run.returncode == 2, run.stderr
    return folder, run


def test_every_image_has_a_record_and_its_pictures(evaluated):
    folder, _ = evaluated
    found = records(folder / "whole")
    assert set(found) == {f"{name}_k1.vdip-sparse.seed0" for name in ("a_1", "a_2", "b_1", "c_1")}
    record = found["a_1_k1.vdip-sparse.seed0"]
    assert record["kernel_size"] == [3, 5] and record["ok"] is True and record["failed"] is None
    assert set(record["restored"]) == set(record["blurred"]) == {"rgb", "selfdeblur"}
    assert record["device"] and record["versions"]["jax"] and record["command"].startswith("bin/evaluate --data_dir")
    assert 0 < record["calibration"]["within"][0] <= 1
    assert np.load(folder / "whole" / "pictures" / "a_1_k1.vdip-sparse.seed0_kernel.npy").shape == (3, 5)
    for name in ("table.txt", "table.csv", "table.json", "report.html"):
        assert (folder / "whole" / name).stat().st_size > 0


def test_a_missing_file_fails_its_image_alone_and_is_told(evaluated):
    folder, run = evaluated
    failed = records(folder / "whole")["c_1_k1.vdip-sparse.seed0"]["failed"]
    assert "ground_truth/c_1.png" in failed
    text = (folder / "whole" / "table.txt").read_text()
    assert "Failed: 1" in text and "c_1_k1" in text
    assert "(3 of 4)" in text
    assert "expected ground_truth/c_1.png" in run.stderr
    assert "c_1_k1" in (folder / "whole" / "report.html").read_text()


def test_a_killed_evaluation_goes_on_and_gives_the_same_table(evaluated):
    folder, _ = evaluated
    arguments = ("--data_dir=set", "--output=killed", *TINY)
    process = subprocess.Popen(
        command("evaluate", *arguments), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options(folder)
    )
    while process.poll() is None and not list((folder / "killed" / "records").glob("[!.]*.json")):
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    left = len(records(folder / "killed"))
    assert 1 <= left < 4
    assert not (folder / "killed" / "table.csv").exists()
    run = evaluate(*arguments, cwd=folder)
    assert run.returncode == 2, run.stderr
    assert f"{left} of 4 are in killed already" in run.stderr
    assert table(folder / "killed") == table(folder / "whole")
    assert not list((folder / "killed").rglob(".*.json*"))


def test_scoring_the_pictures_again_gives_the_same_scores(evaluated):
    folder, _ = evaluated
    run = evaluate(
        *("--data_dir=set", "--output=again", "--score_only", "--results=whole/pictures", "--only=a"),
        *("--result_pattern={name}.vdip-sparse.seed0.png", "--label=another program"),
        "--result_kernel_pattern={name}.vdip-sparse.seed0_kernel.npy",
        cwd=folder,
    )
    assert run.returncode == 0, run.stderr
    solved, scored = records(folder / "whole"), records(folder / "again")
    for name in ("a_1_k1", "a_2_k1"):
        ours, theirs = solved[f"{name}.vdip-sparse.seed0"], scored[f"{name}.another program.seed0"]
        for field in ("restored", "blurred", "kernel_error", "error_ratio", "no_reference"):
            assert ours[field] == theirs[field]
    assert "another program" in (folder / "again" / "table.txt").read_text()


def test_the_truth_itself_scores_infinity_and_one(evaluated):
    folder, _ = evaluated
    run = evaluate(
        *("--data_dir=set", "--output=truth", "--score_only", "--results=set/ground_truth", "--only=a_1_k1,b_1_k1"),
        *("--result_pattern={image}.png", "--label=truth"),
        cwd=folder,
    )
    assert run.returncode == 0, run.stderr
    rows = [line for line in table(folder / "truth") if line["row"] == "truth" and line["table"].startswith("Image")]
    assert {float(line["value"]) for line in rows if line["metric"] == "PSNR dB"} == {float("inf")}
    assert {round(float(line["value"]), 12) for line in rows if line["metric"] == "SSIM"} == {1.0}


def test_results_that_are_missing_or_of_another_size_are_failures(evaluated):
    folder, _ = evaluated
    (folder / "theirs").mkdir(exist_ok=True)
    write(folder / "theirs" / "a_1_k1.png", np.zeros((48, 57)))
    run = evaluate(
        *("--data_dir=set", "--output=theirs-out", "--score_only", "--results=theirs", "--only=a"), cwd=folder
    )
    assert run.returncode == 2, run.stderr
    found = records(folder / "theirs-out")
    assert "expected a picture of 48x56" in found["a_1_k1.results.seed0"]["failed"]
    assert "a_2_k1.png, found none" in found["a_2_k1.results.seed0"]["failed"]


def test_other_settings_are_refused_and_nothing_is_lost(evaluated):
    folder, _ = evaluated
    before = sorted((path, path.stat().st_mtime_ns) for path in (folder / "whole").rglob("*"))
    refused(
        evaluate("--data_dir=set", "--output=whole", *TINY[:-1], "--ssim_steps=21", cwd=folder),
        *("ssim_steps=20", "this run has 21"),
    )
    after = sorted((path, path.stat().st_mtime_ns) for path in (folder / "whole").rglob("*"))
    assert before == after


def test_no_time_leaves_all_for_the_next_run(evaluated):
    folder, _ = evaluated
    run = evaluate("--data_dir=set", "--output=late", "--max_minutes=0", *TINY, cwd=folder)
    assert run.returncode == 3, run.stderr
    assert "time is up with 4 images left" in run.stderr
    assert records(folder / "late") == {}


def test_tables_can_be_made_anew(evaluated):
    folder, _ = evaluated
    before = (folder / "whole" / "table.csv").read_bytes()
    (folder / "whole" / "table.csv").unlink()
    run = evaluate("--data_dir=set", "--output=whole", "--tables_only", cwd=folder)
    assert run.returncode == 0, run.stderr
    assert (folder / "whole" / "table.csv").read_bytes() == before


BAD = {
    "no data": ((), ("--data_dir",)),
    "no such folder": (("--data_dir=nowhere",), ("nowhere", "blurred/")),
    "no images": (("--data_dir=empty",), ("empty/blurred", "found none")),
    "an argument": (("set", "--data_dir=set"), ("'set'", "--data_dir")),
    "unknown data set": (("--data_dir=set", "--dataset=lay2016"), ("did you mean 'lai2016'",)),
    "not the data set": (("--data_dir=set", "--dataset=levin2009"), ("a_1_k1.png", "levin2009")),
    "unknown category": (("--data_dir=set", "--only=txt_*"), ("'txt_*'", "a category: a")),
    "unknown method": (("--data_dir=set", "--method=dip,vdip-spars"), ("did you mean 'vdip-sparse'",)),
    "seeds that are none": (("--data_dir=set", "--seeds=0,x"), ("--seeds", "0,x")),
    "even kernel": (("--data_dir=set", "--kernel_size=4"), ("odd", "4")),
    "no kernel size for photographs": (("--data_dir=photographs",), ("--kernel_size",)),
    "nothing to score": (("--data_dir=set", "--score_only"), ("--results",)),
    "no folder to score": (("--data_dir=set", "--score_only", "--results=nowhere"), ("nowhere",)),
    "results without scoring": (("--data_dir=set", "--results=set"), ("--score_only",)),
    "a label that is a method": (("--data_dir=set", "--score_only", "--results=set", "--label=dip"), ("--label",)),
    "a pattern of unknown parts": (
        ("--data_dir=set", "--score_only", "--results=set", "--result_pattern={file}.png"),
        ("{name}", "{file}"),
    ),
    "half a BRISQUE model": (("--data_dir=set", "--brisque_model=allmodel"), ("--brisque_range",)),
    "a BRISQUE model that is none": (
        ("--data_dir=set", "--brisque_model=text", "--brisque_range=text"),
        ("text",),
    ),
    "output is a file": (("--data_dir=set", "--output=text"), ("text", "folder")),
    "output holds other files": (("--data_dir=set", "--output=set"), ("--output=set", "other files")),
    "tables of nothing": (("--data_dir=set", "--tables_only", "--output=nowhere"), ("settings.json",)),
    "misspelt flag": (("--data_dir=set", "--sseds=1"), ("sseds", "seeds")),
}


@pytest.fixture(scope="module")
def bad_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad")
    make_set(folder / "set", names=("a_1",))
    (folder / "empty" / "blurred").mkdir(parents=True)
    write(folder / "photographs" / "blurred" / "street.png", np.zeros((48, 56)))
    (folder / "text").write_text("not a picture")
    return folder


# Each case as a program of its own would be: flags from nothing, what it says and how it exits. One Python for all,
# for importing jax is most of what a refusal takes.
SCRIPT = """
import contextlib, io, json, sys
from absl import flags
from absl.testing import flagsaver
from vdip_jax import evaluate, options
told = {}
for case, arguments in json.load(sys.stdin).items():
    error = io.StringIO()
    with flagsaver.flagsaver(), contextlib.redirect_stderr(error):
        try:
            options.run_program(evaluate.main, "evaluate", evaluate, ["evaluate", *arguments])
            status = 0
        except SystemExit as stop:
            status = 1 if isinstance(stop.code, str) else stop.code
            error.write(str(stop.code))
    told[case] = status, error.getvalue()
json.dump(told, sys.stdout)
"""


@pytest.fixture(scope="module")
def refusals(bad_folder):
    """What each bad command line was told, and the files before and after all of them."""
    before = sorted(bad_folder.rglob("*"))
    cases = json.dumps({case: arguments for case, (arguments, _) in BAD.items()})
    script = [sys.executable, "-P", "-c", SCRIPT]
    run = subprocess.run(script, input=cases, capture_output=True, timeout=600, **options(bad_folder))
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout), before, sorted(bad_folder.rglob("*"))


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_before_any_work(case, refusals):
    told, before, after = refusals
    status, message = told[case]
    refused(subprocess.CompletedProcess((), status, "", message), *BAD[case][1])
    assert before == after


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("l*.flags")), ids=lambda path: path.name)
def test_flagfiles_of_data_sets_are_valid(path, tmp_path):
    refused(evaluate(f"--flagfile={path}", "--data_dir=nowhere", cwd=tmp_path), "nowhere")


def test_refined_results_are_listed_apart_with_all_candidates(tmp_path):
    make_set(tmp_path / "set", names=("a_1",))
    run = evaluate("--data_dir=set", "--output=out", "--preset=quick", "--channels=4", "--ssim_steps=3", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert "a_1_k1 refined seed 0" in run.stdout
    (path,) = (tmp_path / "out" / "records").iterdir()
    record = json.loads(path.read_text())
    assert record["method"] == "refined"
    assert [set(found) for found in record["candidates"]] == [{"criterion", "psnr", "ncc"}] * 4
    # Of the network's image, which is still rough, a quarter is in the answer.
    worth = [found["psnr"]["rgb"] for found in record["candidates"]]
    assert min(worth[1], worth[record["choice"]]) < record["restored"]["rgb"]["psnr"] < max(worth) + 1
    assert json.loads((tmp_path / "out" / "settings.json").read_text())["preset"] == "quick"
    refused(
        evaluate("--data_dir=set", "--output=two", "--preset=quick", "--method=dip,vdip-sparse", cwd=tmp_path),
        "dip, vdip-sparse", "--variational_steps",
    )  # fmt: skip

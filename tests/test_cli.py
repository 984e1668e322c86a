"""bin/deblur from the outside: what it writes, what it refuses, how it fails."""

import functools
import json
import os
import signal
import subprocess
import time

import numpy as np
import pytest
import scipy.ndimage
from absl import flags
from absl.testing import flagsaver
from mosaics import mosaic
from PIL import Image
from programs import ROOT, command, refused, run
from programs import options as how

from vdip_jax import Config, cli, options, results
from vdip_jax.inputs import Task
from vdip_jax.outcomes import Call
from vdip_jax.photographs import Photo, read_image
from vdip_jax.planning import Plan
from vdip_jax.search import Found
from vdip_jax.tiles import Tile
from vdip_jax.triage import Finding

TINY = (
    "--preset=cold",
    "--channels=4",
    "--prefit_steps=2",
    "--variational_steps=2",
    "--ssim_steps=2",
    "--kernel_size=5x7",
    "--nocompile_cache",
)


deblur = functools.partial(run, "cli")


def picture(path, shape=(40, 44), seed=0):
    """Blurred patches, so that it is neither noise nor sharp."""
    patches = np.kron(np.random.default_rng(seed).uniform(0, 255, shape), np.ones((6, 6) + (1,) * (len(shape) - 2)))
    pixels = scipy.ndimage.uniform_filter(patches[: shape[0], : shape[1]], (5, 5) + (0,) * (len(shape) - 2))
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return path


@pytest.fixture(scope="module")
def solved(tmp_path_factory):
    """A folder's photographs solved in one run: two gray of one size in a batch."""
    folder = tmp_path_factory.mktemp("solved")
    (folder / "in").mkdir()
    for i, name in enumerate(("gray 0", "gray1")):
        picture(folder / "in" / f"{name}.png", seed=i)
    run = deblur("in", "--output=out", "--batch_size=2", "--seed=5", "--animate", *TINY, cwd=folder)
    assert run.returncode == 0, run.stderr
    return folder, run


def test_every_file_is_written_and_named(solved):
    folder, run = solved
    for name in ("gray 0", "gray1"):
        for suffix in (".png", *results.SUFFIXES, "_report.html"):
            assert (folder / "out" / (name + suffix)).stat().st_size > 0
            assert name + suffix in run.stdout
    assert read_image(folder / "out" / "gray 0.png").pixels.shape == (40, 44)
    with Image.open(folder / "out" / "gray1_steps.webp") as moving:
        assert moving.n_frames > 1
    kernel = np.load(folder / "out" / "gray 0_kernel.npy")
    assert kernel.shape == (5, 7)
    np.testing.assert_allclose(kernel.sum(), 1, rtol=1e-5)
    assert not list((folder / "out").glob(".*"))


def test_progress_in_a_pipe_is_plain_lines(solved):
    _, run = solved
    assert "ssim step 6/6, loss 0." in run.stderr
    assert "\x1b" not in run.stderr


def test_record_tells_settings_versions_seed_times_and_losses(solved):
    folder, _ = solved
    record = json.loads((folder / "out" / "gray1.json").read_text())
    assert record["ok"] is True
    assert record["seed"] == 5
    assert record["config"]["channels"] == 4
    assert record["versions"]["jax"]
    assert record["seconds"] > 0
    assert set(record["final_loss"]) == {"prefit", "variational", "ssim"}


def test_recorded_flags_repeat_the_run_alone(solved):
    """gray1 was solved in a batch of two; alone, from its flagfile, it comes out the same to rounding."""
    folder, _ = solved
    flagfile = folder / "out" / "gray1.flags"
    run = deblur(f"--flagfile={flagfile}", "--output=again", "--nocompile_cache", cwd=folder)
    assert run.returncode == 0, run.stderr
    first, again = (read_image(folder / d / "gray1.png").pixels for d in ("out", "again"))
    assert np.abs(first - again).max() < 2.5 / 255


def test_results_are_not_replaced_unasked(solved):
    folder, _ = solved
    before = (folder / "out" / "gray 0.png").read_bytes()
    refused(deblur("in/gray 0.png", "--output=out", "--seed=6", *TINY, cwd=folder), "gray 0.png", "--overwrite")
    assert (folder / "out" / "gray 0.png").read_bytes() == before


def test_other_files_in_the_output_folder_are_left_alone(solved):
    folder, _ = solved
    (folder / "mine").mkdir()
    (folder / "mine" / "writable").write_text("kept")
    run = deblur("in/gray 0.png", "--output=mine", *TINY, cwd=folder)
    assert run.returncode == 0, run.stderr
    assert (folder / "mine" / "writable").read_text() == "kept"


def test_scored_sample_with_a_known_kernel(tmp_path):
    np.save(tmp_path / "kernel.npy", np.full((19, 19), 1 / 361, np.float32))
    tiny = [flag for flag in TINY if "kernel_size" not in flag]
    run = deblur("sample:astronaut", "--kernel=kernel.npy", "--output=out", *tiny, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert "PSNR 21.45 ->" in run.stdout
    np.testing.assert_allclose(np.load(tmp_path / "out" / "astronaut_kernel.npy"), 1 / 361, rtol=1e-5)
    assert json.loads((tmp_path / "out" / "astronaut.json").read_text())["score"]["protocol"] == "rgb"


def test_an_image_that_diverges_keeps_its_last_good_state_and_the_others_go_on(tmp_path):
    for name in ("a", "b"):
        picture(tmp_path / f"{name}.png")
    run = deblur("a.png", "b.png", "--output=out", "--lr_image=1e38", *TINY, cwd=tmp_path)
    assert run.returncode == 2, run.stderr
    assert "a: an update was not finite" in run.stderr
    assert "b: an update was not finite" in run.stderr
    assert "a: failed (diverged" in run.stderr and "once more with another seed" in run.stderr
    assert "Traceback" not in run.stderr
    for name in ("a", "b"):
        record = json.loads((tmp_path / "out" / f"{name}.json").read_text())
        assert record["ok"] is False and record["seed"] in (0, 1)
        assert "seed" in {row["what"] for row in record["decisions"]}
        assert np.isfinite(np.load(tmp_path / "out" / f"{name}_kernel.npy")).all()


BAD = {
    "missing file": (("nowhere.png",), ("nowhere.png", "no such file")),
    "not an image": (("text.png",), ("text.png", "expected an image")),
    "directory with no images": (("empty",), ("empty", "found none")),
    "one pixel": (("pixel.png",), ("pixel.png", "1x1")),
    "zero bytes": (("zero.png",), ("zero.png", "expected an image")),
    "smaller than the network allows": (("small.png", "--kernel_size=3"), ("small.png", "at least")),
    "even kernel": (("good.png", "--kernel_size=4"), ("odd", "4")),
    "zero kernel": (("good.png", "--kernel_size=0"), ("odd", "0")),
    "negative kernel": (("good.png", "--kernel_size=-5"), ("odd", "-5")),
    "kernel larger than the image": (("good.png", "--kernel_size=99"), ("99x99", "40x44")),
    "kernel size not a number": (("good.png", "--kernel_size=big"), ("odd", "big")),
    "unknown flag": (("good.png", "--kernal=3"), ("kernal", "kernel")),
    "unknown method": (("good.png", "--method=vdip-sprase"), ("vdip-sparse", "did you mean")),
    "unknown preset": (("good.png", "--preset=publshed"), ("did you mean 'published'",)),
    "unknown sample": (("sample:klock",), ("did you mean 'clock'",)),
    "images given twice": (("good.png", "--input=good.png"), ("--input",)),
    "kernel and its size": (("good.png", "--kernel=k.npy", "--kernel_size=5"), ("contradict",)),
    "samples for a point method": (("good.png", "--method=dip", "--num_samples=4"), ("--num_samples", "dip")),
    "known kernel and estimate": (("good.png", "--kernel=k.npy", "--init_kernel=k.npy"), ("contradict",)),
    "kernel file that is none": (("good.png", "--kernel=text.png"), ("--kernel=text.png", "expected an image")),
    "kernel file cut off": (("good.png", "--kernel=cut.npy"), ("cut.npy", ".npy")),
    "kernel file of three axes": (("good.png", "--kernel=cube.npy"), ("cube.npy", "(5, 5, 5)")),
    "kernel with negative mass": (("good.png", "--kernel=negative.npy"), ("negative.npy", "non-negative")),
    "kernel that is black": (("good.png", "--init_kernel=black.png"), ("black.png", "positive sum")),
    "known kernel larger than the image": (("small.png", "--kernel=good.png"), ("41x45", "12x12")),
    "estimate without a start": (("good.png", "--init_kernel=k.npy", "--preset=cold"), ("--start=classical",)),
    "two results of one name": (("good.png", "other/good.png", "--kernel_size=5"), ("both be written",)),
    "output is a file": (("good.png", "--kernel_size=5", "--output=text.png"), ("text.png", "folder")),
    "profile is a file": (("good.png", "--kernel_size=5", "--profile=text.png"), ("--profile=text.png", "folder")),
    "no room at all": (("good.png", "--preset=published", "--kernel_size=5", "--max_memory=0.01"), ("GB of memory",)),
    "negative learning rate": (("good.png", "--lr_image=-1"), ("lr_image", "-1")),
    "no steps at all": (
        ("good.png", "--start=uniform", "--prefit_steps=0", "--variational_steps=0", "--ssim_steps=0"),
        ("number of steps",),
    ),
    "flagfile missing": (("good.png", "--flagfile=no.flags"), ("no.flags",)),
}


@pytest.fixture(scope="module")
def bad_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad")
    for name in ("empty", "other"):
        (folder / name).mkdir()
    (folder / "text.png").write_text("not a picture")
    (folder / "zero.png").write_bytes(b"")
    picture(folder / "pixel.png", (1, 1))
    picture(folder / "small.png", (12, 12))
    picture(folder / "good.png")
    picture(folder / "other" / "good.png")
    Image.new("L", (5, 5)).save(folder / "black.png")
    for name, kernel in (("k", np.ones((5, 5))), ("cube", np.ones((5, 5, 5))), ("negative", np.eye(5) - 0.1)):
        np.save(folder / f"{name}.npy", kernel.astype(np.float32))
    (folder / "cut.npy").write_bytes((folder / "k.npy").read_bytes()[:90])
    return folder


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_before_any_work(case, bad_folder):
    arguments, words = BAD[case]
    before = sorted(bad_folder.rglob("*"))
    refused(deblur(*arguments, cwd=bad_folder, small=False), *words)
    assert sorted(bad_folder.rglob("*")) == before


def test_one_bad_photograph_among_good_ones_is_refused_before_any_work(bad_folder):
    refused(deblur("good.png", "text.png", "--kernel_size=5", cwd=bad_folder), "text.png")
    assert not (bad_folder / "deblurred").exists()


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.flags")), ids=lambda path: path.name)
def test_every_flagfile_is_valid(path):
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    known = {flag.name for flag in options.own_flags(cli).values()}
    settings = dict(line.removeprefix("--").split("=") for line in lines)
    assert set(settings) <= known
    assert Config.preset(settings["preset"], method=settings["method"])
    assert f"--flagfile=configs/{path.name}" in path.read_text(), "the header tells the command"


def blurred(path, size=(72, 80)):
    """A gray mosaic moved during the exposure, as a file."""
    rng = np.random.default_rng(0)
    sharp = np.kron(rng.random((size[0] // 8, size[1] // 8)), np.ones((8, 8)))
    pixels = sum(np.roll(sharp, step, 1) for step in range(-2, 3)) / 5
    Image.fromarray((255 * pixels).astype(np.uint8)).save(path)


WARM = ("--preset=quick", "--channels=4", "--kernel_size=7", "--nocompile_cache", "--output=out")


def test_instant_answers_with_the_classical_estimate_alone(tmp_path):
    blurred(tmp_path / "a.png")
    run = deblur("a.png", "--preset=instant", "--kernel_size=7", "--nocompile_cache", "--output=out", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert "a: the answer is the classical estimate" in run.stdout
    record = json.loads((tmp_path / "out" / "a.json").read_text())
    assert record["steps"] == 0 and record["final_loss"] == {}
    assert "--preset=instant" in record["flags"]


def test_a_photograph_too_large_for_memory_is_refused_with_the_size_that_fits(tmp_path):
    blurred(tmp_path / "a.png")
    flags = ("--preset=published", "--kernel_size=7", "--max_memory=0.1", "--output=out")
    run = deblur("a.png", *flags, cwd=tmp_path, small=False)
    refused(run, "a.png: ", "GB of memory", "--crop=")
    assert not (tmp_path / "out").exists()


def test_time_budget_ends_a_run_with_the_best_so_far(tmp_path):
    blurred(tmp_path / "a.png")
    run = deblur("a.png", *WARM, "--ssim_steps=200000", "--time_budget=1", "--finish=network", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert "a: the answer is" in run.stdout
    record = json.loads((tmp_path / "out" / "a.json").read_text())
    assert record["steps"] < 1000
    assert "--time_budget=1.0" in record["flags"]


def test_the_time_that_looking_takes_counts(tmp_path):
    """A budget that is over before the solving began leaves the start; what was seen first is written long before."""
    blurred(tmp_path / "a.png", (136, 136))
    flags = [flag for flag in WARM if "kernel_size" not in flag]
    began = time.monotonic()
    run = deblur("a.png", *flags, "--ssim_steps=200000", "--time_budget=0.5", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    record = json.loads((tmp_path / "out" / "a.json").read_text())
    assert record["steps"] == 0
    lines = run.stderr.splitlines()
    preview = lines.index("a: preview written, by the first kernel that was seen")
    assert preview < next(i for i, line in enumerate(lines) if line.startswith("a: kernel size: "))
    # The looks, of a second and more, are in what is told; what Python takes to start is not.
    assert 0.5 < record["seconds"] < time.monotonic() - began


def interrupted(process):
    """What a program says on its standard error after a Ctrl-C, which has to end it soon."""
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert "Traceback" not in stderr
    return stderr


@pytest.fixture
def start():
    """Starts a program that heeds a Ctrl-C: one that is started in the background inherits that it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    started = []

    def start(arguments, **settings):
        started.append(subprocess.Popen(arguments, stderr=subprocess.PIPE, stdout=subprocess.PIPE, **settings))
        return started[-1]

    yield start
    signal.signal(signal.SIGINT, before)
    for process in started:
        process.kill()


def test_ctrl_c_leaves_the_preview(tmp_path, start):
    blurred(tmp_path / "a.png")
    process = start(command("cli", "a.png", *WARM, "--ssim_steps=200000"), **how(tmp_path))
    # The record is the last of the files.
    waited = time.monotonic()
    while not (tmp_path / "out" / "a.json").exists():
        assert process.poll() is None and time.monotonic() - waited < 300
        time.sleep(0.1)
    stderr = interrupted(process)
    assert process.returncode == 130, stderr
    assert "holds images finished before and the best so far" in stderr
    record = json.loads((tmp_path / "out" / "a.json").read_text())
    assert record["answer"] == "the classical estimate"
    for suffix in (".png", *results.SUFFIXES):
        assert (tmp_path / "out" / f"a{suffix}").stat().st_size > 0


@pytest.mark.parametrize("seconds", [0, 1])
def test_ctrl_c_ends_what_searches_for_the_kernel_in_threads(tmp_path, start, seconds):
    blurred(tmp_path / "a.png")
    process = start(command("cli", "a.png", *INSTANT), **how(tmp_path))
    assert process.stderr.readline()
    time.sleep(seconds)
    stderr = interrupted(process)
    assert process.returncode == 130, stderr


def test_ctrl_c_while_a_program_is_still_importing_ends_it_without_a_word(tmp_path, start):
    (tmp_path / "vdip_jax").mkdir()
    (tmp_path / "vdip_jax" / "__init__.py").write_text("import time\nprint('here', flush=True)\ntime.sleep(300)")
    process = start(command("cli", small=False), env={**os.environ, "PYTHONPATH": str(tmp_path)}, text=True)
    assert process.stdout.readline() == "here\n"
    assert interrupted(process) == ""
    assert process.returncode == -signal.SIGINT


def test_a_small_photograph_gets_a_kernel_that_it_can_show(tmp_path):
    picture(tmp_path / "a.png", (24, 26))
    run = deblur("a.png", "--preset=instant", "--nocompile_cache", "--output=out", cwd=tmp_path)
    assert run.returncode in (0, 2), run.stderr
    assert np.load(tmp_path / "out" / "a_kernel.npy").shape in ((7, 7), (9, 9))
    record = json.loads((tmp_path / "out" / "a.json").read_text())
    assert "kernel size" in {row["what"] for row in record["decisions"]}


INSTANT = ("--preset=instant", "--kernel_size=7", "--nocompile_cache", "--output=out")


def test_a_blank_picture_and_noise_are_refused(tmp_path):
    Image.fromarray(np.full((72, 80), 90, np.uint8)).save(tmp_path / "a.png")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (96, 96), np.uint8)).save(tmp_path / "b.png")
    refused(deblur("a.png", *INSTANT, cwd=tmp_path), "a.png: ", "blank")
    refused(deblur("b.png", *INSTANT, cwd=tmp_path), "b.png: ", "noise")
    assert not (tmp_path / "out").exists()
    run = deblur("a.png", *INSTANT, "--force", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out" / "a.png")), 90)


def test_a_sharp_photograph_comes_back_unharmed(tmp_path):
    pixels = (255 * mosaic((400, 380, 1))[..., 0]).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    run = deblur("a.png", *INSTANT, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert "a: is given back as it is: its edges are sharp" in run.stderr
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out" / "a.png")), pixels)
    record = json.loads((tmp_path / "out" / "a.json").read_text())
    assert record["answer"] == "the photograph itself"
    assert "sharp" in (tmp_path / "out" / "a_report.html").read_text()


@pytest.mark.parametrize(
    ("width", "kernel_size", "middle", "agreement", "why"),
    [
        (2.9, None, 0.8, 0.9, "all but a point"),
        (2.9, None, 0.2, 0.7, "agree on what blur"),
        (2.9, None, 0.2, 0.9, None),
        (4.3, None, 0.2, 0.7, "agree on what blur"),
        (4.5, None, 0.8, 0.7, None),
        (2.9, (5, 5), 0.8, 0.7, None),
    ],
)
def test_a_nearly_sharp_photograph_is_deblurred_only_if_its_kernel_shows(
    tmp_path, monkeypatch, width, kernel_size, middle, agreement, why
):
    pixels = np.zeros((30, 40, 3), np.float32)
    kernel = np.full((5, 5), (1 - middle) / 24, np.float32)
    kernel[2, 2] = middle
    found = Found(kernel, np.array(True), np.array(agreement), np.array(1.0))
    steep = []

    def plan(light, *rest):
        steep.append(rest[-1])
        return Plan(light, Tile(0, 0, 30, 40), (5, 5))

    monkeypatch.setattr(cli.planning, "plan", plan)
    monkeypatch.setattr(cli.classical, "estimate", lambda gray, size: found)
    task = Task("a.png", Photo("a", pixels, ()), kernel_size, "none", Finding("blurred", width, 0.0, 0.01))
    with flagsaver.flagsaver():
        flags.FLAGS(["deblur"])
        job = cli._job(Call(Config.preset("instant"), tmp_path, 0, ()), task, known=False)
    assert why in job.task.sharp if why else job.task.sharp is None
    assert steep == [width < 4.4]


def test_a_large_photograph_is_restored_whole_by_what_a_part_tells(tmp_path):
    sharp = np.kron(np.random.default_rng(0).random((30, 40, 3)), np.ones((8, 8, 1)))
    pixels = (255 * scipy.ndimage.uniform_filter(sharp, (1, 5, 0))).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    run = deblur("a.png", *INSTANT, "--crop=96", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert read_image(tmp_path / "out" / "a.png").pixels.shape == (240, 320, 3)
    record = json.loads((tmp_path / "out" / "a.json").read_text())
    assert record["part"]["height"] == record["part"]["width"] == 96
    assert {"part that is solved", "blur", "transfer"} <= {row["what"] for row in record["decisions"]}

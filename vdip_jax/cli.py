"""bin/deblur: blurred photographs in, sharp images, kernels and uncertainty maps out."""

import sys
import tempfile
import time
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from absl import flags

from vdip_jax import (
    METHODS,
    Config,
    Refusal,
    classical,
    inputs,
    kernels,
    options,
    outcomes,
    planning,
    pyramid,
    restarts,
    support,
    triage,
)
from vdip_jax.animation import Animation
from vdip_jax.batches import Estimate, OutOfMemory, by_known_kernel, grouped, room
from vdip_jax.completion import FINISHES, complete
from vdip_jax.cost import finish_bytes
from vdip_jax.inputs import Task
from vdip_jax.outcomes import Call, Job, give_back, tell, write
from vdip_jax.planning import Decision
from vdip_jax.runtime import INTERRUPTED, line, unmasked_interrupts, use_compile_cache
from vdip_jax.solver import Progress
from vdip_jax.support import Look
from vdip_jax.tiles import Tile
from vdip_jax.transfer import spread_as_stored, to_light, to_stored

_OUTPUT = flags.DEFINE_string("output", "deblurred", "Folder for the results; made if it is not there.")
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace results that exist.")
_METHOD = flags.DEFINE_string("method", "vdip-sparse", f"One of {', '.join(METHODS)}.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of all random draws.", lower_bound=0)
_RESTARTS = flags.DEFINE_integer(
    "restarts", 1, "Seeds to solve with side by side; those that agree with the best make one answer.", lower_bound=1
)
_FINISH = flags.DEFINE_enum(
    "finish",
    "auto",
    FINISHES,
    "How the whole image is made: network, in tiles where a part was solved; classical; by default the answer itself "
    "where the part was all, else classical.",
)
_TIME_BUDGET = flags.DEFINE_float(
    "time_budget",
    None,
    "Seconds an image, looks at its blur included: after them the best so far is the answer.",
    lower_bound=0,
)
_ANIMATE = flags.DEFINE_bool("animate", False, "Also write the optimisation as a moving picture, NAME_steps.webp.")
_PROFILE = flags.DEFINE_string(
    "profile", None, "Folder for a trace of a few steps of each batch, as TensorBoard, XProf and Perfetto open it."
)
flags.adopt_module_key_flags(options)
flags.adopt_module_key_flags(inputs)

# The best so far is written anew at most this often, and never for more than a tenth of the time.
_SECONDS_A_PREVIEW = 20.0
# Of a larger photograph, restoring all of which takes a minute and more, there is no early preview.
_PIXELS_OF_A_PREVIEW = 4_000_000
# Nor one by the first look at a part of it, before the kernel's size is known.
_PIXELS_OF_A_FIRST_SIGHT = 1_000_000


def run() -> None:
    """Entry point of the console script."""
    options.run_program(main, "deblur", sys.modules[__name__])


def main(argv: Sequence[str]) -> None:
    """Check everything, then solve. Exits 0, 1 for refused input, 2 if an image was not finished, 130 on Ctrl-C."""
    try:
        config = options.make_config(_METHOD.value)
        if _FINISH.value == "network" and not config.num_steps:
            raise Refusal("--finish=network needs a preset with steps of the network, such as quick; got instant.")
        kernel = inputs.given_kernel(config)
        tasks = inputs.tasks(argv[1:], kernel, config)
        for task in tasks:
            _check_room(task, config)
        call = Call(config, _output_folder(tasks), _SEED.value, _recorded_flags(), _FINISH.value)
    except Refusal as refusal:
        sys.exit(f"deblur: {refusal}")
    if options.COMPILE_CACHE.value:
        use_compile_cache()
    try:
        with unmasked_interrupts():
            finished = _solve_all(call, tasks, kernel)
    except KeyboardInterrupt:
        print(f"deblur: stopped; {call.output} holds images finished before and the best so far.", file=sys.stderr)
        sys.exit(INTERRUPTED)
    sys.exit(0 if all(finished) else 2)


def _solve_all(call: Call, tasks: Sequence[Task], kernel: np.ndarray | None) -> list[bool]:
    """Solve every photograph and write its files; whether each, or each batch, came out finite."""
    finished = [give_back(call, task) for task in tasks if task.sharp]
    blurred = [task for task in tasks if not task.sharp]
    # One after another, for their sizes are found one after another; together only if batches are asked for.
    together = [blurred] if options.BATCH_SIZE.value > 1 else [[task] for task in blurred]
    for some in together:
        jobs = [_job(call, task, kernel is not None) for task in some]
        finished += [give_back(call, job.task, job.plan.decisions, job.looked) for job in jobs if job.task.sharp]
        still_blurred = [job for job in jobs if not job.task.sharp]
        for batch in grouped(still_blurred, _likeness, options.BATCH_SIZE.value):
            finished.append(_solve_batch(call, batch, kernel))
    return finished


def _output_folder(tasks: Sequence[Task]) -> Path:
    """The folder for results; made only once everything else has been found good."""
    folder = Path(_OUTPUT.value)
    written = [path for task in tasks for path in outcomes.paths(folder, task.photo)]
    existing = next((path for path in written if path.exists()), None)
    if existing is not None and not _OVERWRITE.value:
        raise Refusal(f"{existing} exists already; give --overwrite to replace it, or another --output.")
    if _PROFILE.value is not None:
        _make_folder(Path(_PROFILE.value), "--profile")
    _make_folder(folder, "--output")
    return folder


def _make_folder(folder: Path, flag: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise Refusal(f"{flag}={folder}: expected a folder that can be written to ({error.strerror}).") from None


def _check_room(task: Task, config: Config) -> None:
    """Refuse a photograph of which not even one fits into memory, as far as its kernel's size is known."""
    height, width, *colors = task.photo.pixels.shape
    shape = (*planning.part_size((height, width), inputs.crop_side()), *colors)
    size = task.kernel_size or (planning.support.FRAME,) * 2
    try:
        room(shape, size, config, options.max_memory(), "--crop")
    except Refusal as refusal:
        raise Refusal(f"{task.source}: {refusal}") from None


def _recorded_flags() -> tuple[str, ...]:
    """The flags that repeat this call, but for those that name a photograph."""
    left_out = ("overwrite", "profile", *inputs.RECORDED)
    return tuple(
        f"--{flag.name}={str(flag.value).lower() if isinstance(flag.value, bool) else flag.value}"
        for flag in options.own_flags(sys.modules[__name__]).values()
        if flag.name not in left_out and flag.value is not None
    )


def _job(call: Call, task: Task, known: bool) -> Job:
    """How to solve a photograph, in the light that its file stands for; or that it is sharp, as its kernel shows."""
    began = time.perf_counter()
    for note in task.photo.notes:
        line(task.photo.name, note)
    if task.kernel_size is None:
        line(task.photo.name, "looking how far the blur reaches")
    light = to_light(task.photo.pixels, task.transfer)
    written = False

    def first_sight(look: Look) -> None:
        """Write what may be long before anything better: the photograph by the first kernel that can be believed."""
        nonlocal written
        clear = look.is_believed and look.shrink == 1 and not look.is_full
        pixels, colors = light.shape[0] * light.shape[1], light[0, 0].size
        # In one piece, and in seconds.
        small = pixels <= _PIXELS_OF_A_FIRST_SIGHT and pixels * finish_bytes(colors) < options.max_memory()
        if clear and small and not written:
            written = True
            side = support.side_for(look, pyramid.largest_kernel((light.shape[0], light.shape[1])))
            seen = by_known_kernel(light, kernels.framed(look.kernel, side))
            job = Job(task, planning.Plan(light, Tile(0, 0, *light.shape[:2]), seen.kernel.shape))
            write(call, job, _restored(job, seen, call.config), time.perf_counter() - began)
            line(task.photo.name, "preview written, by the first kernel that was seen")

    nearly_sharp = task.finding is not None and triage.nearly_sharp(task.finding)
    plan = planning.plan(light, task.kernel_size, inputs.crop_side(), known, first_sight, nearly_sharp)
    for decision in plan.decisions:
        line(task.photo.name, f"{decision.what}: {decision.value}, {decision.why}")
    why = "what its camera stored is taken for sRGB" if task.transfer == "srgb" else "it is blurred as it is stored"
    light_or_not = Decision("transfer", task.transfer, why)
    plan = plan._replace(decisions=(*plan.decisions, light_or_not))
    # Who gives a size says that there is a blur.
    if nearly_sharp and task.kernel_size is None:
        # As the solver will find it, which then compiles nothing new.
        found = classical.estimate(jnp.asarray(triage.gray(plan.y)), plan.kernel_size)
        task = task._replace(sharp=triage.why_left(np.asarray(found.kernel), float(found.agreement)))
    return Job(task, plan, time.perf_counter() - began)


def _likeness(job: Job) -> Hashable:
    """What photographs must have in common to be solved together."""
    return job.plan.y.shape, job.plan.kernel_size


def _solve_batch(call: Call, batch: Sequence[Job], kernel: np.ndarray | None) -> bool:
    """Solve parts of one shape together and write the files of each photograph; True if all came out finite."""
    config = call.config
    title = ", ".join(job.task.photo.name for job in batch)
    began = time.perf_counter() - sum(job.looked for job in batch)
    written, cost, done = 0.0, 0.0, 0
    moving = [Animation(job.task.photo.pixels[job.plan.part.window]) for job in batch if _ANIMATE.value]

    def keep(progress: Progress, estimates: Callable[[], list[Estimate]]) -> bool:
        """Write the best so far now and then; True when time is up."""
        nonlocal written, cost, done
        done = progress.step
        seconds = time.perf_counter() - began
        due = seconds - written >= max(_SECONDS_A_PREVIEW, 10 * cost)
        small = all(job.plan.light.size <= 3 * _PIXELS_OF_A_PREVIEW for job in batch)
        if small and progress.step < progress.num_steps and (due or progress.phase == "start"):
            for job, estimate in zip(batch, estimates(), strict=True):
                write(call, job, _restored(job, estimate, config), seconds)
            written = time.perf_counter() - began
            cost = written - seconds
        if moving and moving[0].wants(progress.step):
            _add_frames(moving, batch, estimates(), progress.step)
        return _TIME_BUDGET.value is not None and time.perf_counter() - began >= _TIME_BUDGET.value

    try:
        estimates = restarts.solve_several(
            [job.plan.y for job in batch],
            restarts.Seeds(_SEED.value, _RESTARTS.value),
            config,
            title,
            options.max_memory(),
            keep,
            _PROFILE.value,
            **inputs.about_kernel(batch[0].plan.kernel_size, kernel),
        )
    except (OutOfMemory, Refusal) as error:
        height, width = batch[0].plan.y.shape[:2]
        hint = "a smaller --batch_size" if len(batch) > 1 else "a smaller --crop"
        reason = error if isinstance(error, Refusal) else f"{width}x{height} pixels need more memory than there is"
        print(f"deblur: {title}: {reason}; give {hint}.", file=sys.stderr)
        return False
    if moving:
        _add_frames(moving, batch, [chosen.estimate for chosen in estimates], done)
    for i, (job, chosen) in enumerate(zip(batch, estimates, strict=True)):
        restored = _restored(job, chosen.estimate, config, _FINISH.value, tell=True)
        seconds = time.perf_counter() - began
        record = write(call, job, restored, seconds, chosen)
        if moving:
            moving[i].write(call.output / f"{job.task.photo.name}_steps.webp")
        tell(job, record["doubts"], config, record)
        print(f"{job.task.photo.name}: {seconds:.0f} s, wrote in {call.output}: {' '.join(record['files'])}")
    return all(bool(chosen.estimate.ok) for chosen in estimates)


def _restored(job: Job, estimate: Estimate, config: Config, finish: str = "auto", tell: bool = False) -> Estimate:
    """The estimate of the part as one of the whole photograph, in stored values."""
    name, plan = job.task.photo.name, job.plan

    def told(done: int, number: int) -> None:
        if tell and number > 1:
            line(name, f"restoring all of it, tile {done} of {number}")

    whole = complete(plan, estimate, config, finish, options.max_memory(), told)
    stored = to_stored(whole.image, job.task.transfer)
    std = spread_as_stored(whole.image, whole.std, job.task.transfer)
    return estimate._replace(image=stored, std=std, reserve=whole.reserve)


def _add_frames(moving: Sequence[Animation], batch: Sequence[Job], estimates: Sequence[Estimate], step: int) -> None:
    for animation, job, estimate in zip(moving, batch, estimates, strict=True):
        image = to_stored(estimate.image.reshape(job.plan.y.shape), job.task.transfer)
        animation.add(step, image, estimate.kernel)


if __name__ == "__main__":
    run()

"""What became of a photograph: its record, its files, and what is said of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vdip_jax import Config, __version__, inputs, metrics, remarks, restarts
from vdip_jax.batches import Estimate
from vdip_jax.inputs import Task
from vdip_jax.page import write_page
from vdip_jax.photographs import Photo
from vdip_jax.planning import Decision, Plan
from vdip_jax.results import final_losses, finite, result_paths, write_result
from vdip_jax.runtime import describe, line
from vdip_jax.tiles import Tile


class Job(NamedTuple):
    """A photograph, how it is to be solved, and how many seconds it was `looked` at to find that out."""

    task: Task
    plan: Plan
    looked: float = 0.0


class Call(NamedTuple):
    """What the photographs of one call of the program have in common.

    Attributes:
      config: settings.
      output: folder for the files.
      seed: the first one.
      flags: those that repeat the call, but for what concerns one photograph.
      finish: how a whole photograph is restored, one of `completion.FINISHES`.
    """

    config: Config
    output: Path
    seed: int
    flags: tuple[str, ...]
    finish: str = "auto"


def paths(output: Path, photo: Photo) -> list[Path]:
    """All files that are written of a photograph in any case, its page last."""
    return [*result_paths(output, photo), output / f"{photo.name}_report.html"]


def write(
    call: Call,
    job: Job,
    restored: Estimate,
    seconds: float,
    chosen: restarts.Chosen | None = None,
) -> dict[str, Any]:
    """Write all files of a photograph; return its record.

    Args:
      call: of the program.
      job: the photograph.
      restored: all of it, in stored values.
      seconds: that it took, looks included.
      chosen: the runs of several seeds that it was chosen from, once they are over.
    """
    record = _record(call, job, restored, seconds, chosen)
    *_, page = paths(call.output, job.task.photo)
    written = write_result(call.output, job.task.photo, restored, record)
    write_page(page, job.task.photo, restored, record, record["doubts"])
    return {**record, "files": [path.name for path in (*written, page)]}


def give_back(call: Call, task: Task, seen: tuple[Decision, ...] = (), seconds: float = 0.0) -> bool:
    """Write a photograph that is to be left as it is as its own result; True.

    `seen`: the decisions that led there. `seconds`: that they took.
    """
    y, why = task.photo.pixels, f"{task.sharp}; --force deblurs it all the same"
    plan = Plan(y, Tile(0, 0, *y.shape[:2]), (3, 3), (*seen, Decision("answer", "the photograph as it is", why)))
    record = write(call, Job(task, plan), remarks.unharmed(y), seconds)
    line(task.photo.name, f"is given back as it is: {why}")
    print(f"{task.photo.name}: {seconds:.0f} s, wrote in {call.output}: {' '.join(record['files'])}")
    return True


def tell(job: Job, doubts: Sequence[str], config: Config, record: dict[str, Any]) -> None:
    """Say what became of a photograph."""
    name = job.task.photo.name
    for doubt in doubts:
        line(name, doubt)
    if config.start == "classical":
        print(f"{name}: the answer is {record['answer']}")
    if "score" in record:
        before, after = record["score"]["blurred"], record["score"]["restored"]
        print(
            f"{name}: PSNR {before['psnr']:.2f} -> {after['psnr']:.2f} dB ({after['psnr'] - before['psnr']:+.2f}), "
            f"SSIM {before['ssim']:.3f} -> {after['ssim']:.3f}, protocol rgb"
        )


def _record(call: Call, job: Job, result: Estimate, seconds: float, chosen: restarts.Chosen | None) -> dict[str, Any]:
    """All that is told of one photograph's result, ready for JSON."""
    task, plan, config = job.task, job.plan, call.config
    # Else the photograph is restored with the answer's kernel, and what the answer looks like is of no matter.
    unchanged = plan.is_whole and call.finish == "auto"
    decisions = [*plan.decisions, *(restarts.decisions(chosen) if chosen is not None else ())]
    misfit = remarks.misfit_of(plan.y, result)
    faults = chosen.failures if chosen else ()
    record: dict[str, Any] = {
        "version": __version__,
        "source": task.source,
        "notes": task.photo.notes,
        "ok": bool(result.ok),
        "seed": call.seed if chosen is None else chosen.seed,
        "kernel_size": plan.kernel_size,
        "part": plan.part._asdict(),
        "decisions": [decision._asdict() for decision in decisions],
        "doubts": [*plan.warnings, *remarks.doubts(result, config, faults, misfit)],
        "config": vars(config),
        "flags": [*inputs.recorded(task, plan.kernel_size), *call.flags],
        "seconds": round(seconds, 2),
        "steps": result.num_steps,
        "final_loss": final_losses(result.loss, config),
        "answer": "the photograph itself" if task.sharp else remarks.answer(result, config, unchanged),
        "agreement": finite(result.agreement),
        "misfit": finite(misfit),
        "criterion": [finite(value) for value in result.candidates.criterion],
        **describe(),
    }
    if task.truth is not None:
        images = {"blurred": task.photo.pixels, "restored": result.image}
        scores = {name: metrics.score(image, task.truth)._asdict() for name, image in images.items()}
        record["score"] = {"protocol": "rgb", **scores}
    return record

"""The whole photograph, once its kernel is known from a part of it: tile by tile, within a limit of memory."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vdip_jax import answers, cost, finishing, nonblind, solver, tiles, uncertainty
from vdip_jax.batches import Estimate
from vdip_jax.candidates import luma
from vdip_jax.config import Config
from vdip_jax.planning import Plan
from vdip_jax.triage import gray

FINISHES = ("auto", "classical", "network")
# Tiles larger than this are no faster, and take longer between signs of life.
_SIDE = 1024
# What a tile may take of the memory, beside the photograph itself.
_SHARE_OF_MEMORY = 0.5
# Copies of the photograph that are held beside a tile: as read, in light, restored, its std, and for writing.
_COPIES = 8
# The most of the photograph that is left where the network has found a kernel of its own, of which the agreement on the
# classical one tells less (docs/refinement.md).
_MOST_LEFT = 0.3


class Whole(NamedTuple):
    """A restored photograph: `image` and `std`, of its shape; and how much of it is left in the image, 0 ... 1."""

    image: np.ndarray
    std: np.ndarray
    reserve: np.ndarray


def complete(
    plan: Plan,
    estimate: Estimate,
    config: Config,
    finish: str,
    limit: int,
    tell: Callable[[int, int], None] = lambda done, number: None,
) -> Whole:
    """The whole photograph by the kernel that was found on a part of it.

    Args:
      plan: the photograph and its part.
      estimate: of the part.
      config: settings of the networks.
      finish: 'classical', 'network', or 'auto': the answer itself where the part is all, else classical.
      limit: bytes of memory.
      tell: called with the number of tiles done and of all.
    """
    # A run that ended before its network began has the classical estimate alone.
    if finish == "network" and len(estimate.candidates.image) <= answers.network_candidate(config):
        finish = "auto"
    if plan.is_whole and finish == "auto":
        image, std = (a.reshape(plan.light.shape) for a in (estimate.image, estimate.std))
        return Whole(image, std, estimate.reserve)
    kernel = jnp.asarray(estimate.kernel)
    if finish == "network":
        side = max(plan.part.height, plan.part.width)
        restore = _already(plan, estimate, config) if plan.is_whole else _by_network(kernel, config)
        # The network's own image is no picture of the kernel.
        agreement = np.nan
    else:
        side, restore = tile_side(plan, estimate.kernel.shape, limit), _classically(plan, estimate, config)
        agreement = float(estimate.agreement)
    part, restored_part = (jnp.asarray(a) for a in (_planes(plan.y), restore(_planes(plan.y))))
    scale = uncertainty.scale(jnp.asarray(gray(plan.y)), luma(restored_part), kernel)
    reserve = finishing.reserve(agreement, scale * uncertainty.pattern(restored_part), part - restored_part)
    if not answers.comes_of_start(estimate.choice, estimate.agreement):
        reserve = jnp.minimum(reserve, _MOST_LEFT)

    @jax.jit
    def mixed(tile: jax.Array, image: jax.Array) -> jax.Array:
        return jnp.concatenate(uncertainty.mixed(image, scale * uncertainty.pattern(image), tile, reserve), axis=-1)

    def both(tile: np.ndarray) -> np.ndarray:
        return np.asarray(mixed(jnp.asarray(tile), jnp.asarray(restore(tile))))

    margin = max(estimate.kernel.shape)
    parts = tiles.tiling((plan.light.shape[0], plan.light.shape[1]), side, margin)
    found = tiles.blended(_planes(plan.light), parts, margin, both, lambda done: tell(done, len(parts)))
    image, std = np.split(found, 2, axis=-1)
    return Whole(image.reshape(plan.light.shape), std.reshape(plan.light.shape), np.asarray(reserve))


def tile_side(plan: Plan, kernel_size: tuple[int, ...], limit: int) -> int:
    """Side in pixels of the tiles of the classical finish that fit into `limit` bytes; at least four kernels."""
    colors = _planes(plan.light).shape[-1]
    free = _SHARE_OF_MEMORY * (limit - _COPIES * plan.light.nbytes)
    fitting = int(max(free, 0) ** 0.5 / cost.finish_bytes(colors) ** 0.5) - max(kernel_size)
    return max(4 * max(kernel_size), min(_SIDE, fitting))


def _classically(plan: Plan, estimate: Estimate, config: Config) -> Callable[[np.ndarray], np.ndarray]:
    """What restores a tile [H, W, C] by `nonblind`, with the weight of the data that fits the part."""
    kernel, y = jnp.asarray(estimate.kernel), jnp.asarray(_planes(plan.y))
    doubtful = bool(estimate.agreement < finishing.UNSURE)
    # After a classical start only a known kernel has no agreement.
    known = config.start == "classical" and bool(np.isnan(estimate.agreement))
    fidelity = finishing.fidelity(y, kernel, doubtful, known)
    return lambda tile: np.asarray(nonblind.deconvolve(jnp.asarray(tile), kernel, fidelity=fidelity))


def _already(plan: Plan, estimate: Estimate, config: Config) -> Callable[[np.ndarray], np.ndarray]:
    """The image of the network, where its part was all and there is but one tile."""
    image = estimate.candidates.image[answers.network_candidate(config)]
    return lambda tile: np.asarray(image).reshape(tile.shape)


def _by_network(kernel: jax.Array, config: Config) -> Callable[[np.ndarray], np.ndarray]:
    """What restores a tile [H, W, C] by an image network of its own."""

    def restore(tile: np.ndarray) -> np.ndarray:
        result = solver.solve(jnp.asarray(tile), jax.random.key(0), kernel=kernel, config=config)
        return np.asarray(result.candidates.image[answers.network_candidate(config)])

    return restore


def _planes(pixels: np.ndarray) -> np.ndarray:
    return pixels.reshape(*pixels.shape[:2], -1)

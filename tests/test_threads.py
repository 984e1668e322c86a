import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from mosaics import KERNEL_SIZE, photo

from vdip_jax import classical, threads


@pytest.fixture
def two_cores(monkeypatch):
    monkeypatch.setattr(threads, "_num_cores", lambda: 2)


def test_pieces_are_worked_on_at_the_same_time_and_come_back_in_their_order(two_cores):
    both_are_here = threading.Barrier(2, timeout=60)

    def wait(piece):
        both_are_here.wait()
        return 2 * piece

    assert threads.side_by_side(wait, [1, 2, 3, 4]) == [2, 4, 6, 8]


def test_settings_of_the_calling_thread_hold_and_nothing_is_shared_out_again(two_cores):
    def look(_):
        precision = jax.config.jax_default_matmul_precision
        here = threading.get_ident()
        threads_of_more = threads.side_by_side(lambda _: threading.get_ident(), range(3))
        return jnp.ones(1, float).dtype, precision, threads_of_more == [here] * 3

    with jax.enable_x64(True), jax.default_matmul_precision("bfloat16"):
        assert threads.side_by_side(look, [0, 1]) == [(jnp.float64, "bfloat16", True)] * 2
    assert threads.side_by_side(lambda _: jnp.ones(1, float).dtype, [0, 1]) == [jnp.float32] * 2


def test_what_goes_wrong_with_a_piece_is_raised(two_cores):
    with pytest.raises(ZeroDivisionError):
        threads.side_by_side(lambda piece: 1 / piece, [1, 0])


def test_after_a_ctrl_c_what_is_begun_is_not_waited_for(two_cores):
    begun, left = threading.Event(), threading.Event()
    ended = []

    def work(piece):
        if piece:
            begun.set()
            left.wait(60)
            ended.append(piece)
        else:
            # As the thread that waits for both would.
            begun.wait(60)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        threads.side_by_side(work, [0, 1, 2])
    assert begun.is_set() and ended == []
    left.set()


def test_a_single_core_works_on_one_piece_after_the_other_in_its_own_thread(monkeypatch):
    monkeypatch.setattr(threads, "_num_cores", lambda: 1)
    assert threads.side_by_side(lambda _: threading.get_ident(), [0, 1]) == [threading.get_ident()] * 2


def test_what_is_traced_and_what_another_device_does_is_done_as_one(monkeypatch):
    seen = []
    jax.jit(lambda x: seen.append(threads.are_best_apart(x)) or x)(jnp.ones(1))
    jax.vmap(lambda x: seen.append(threads.are_best_apart(x)) or x)(jnp.ones(1))
    assert threads.are_best_apart(jnp.ones(1))
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert [*seen, threads.are_best_apart(jnp.ones(1))] == [False] * 3


def test_a_start_is_the_same_by_searches_in_turn_and_side_by_side(monkeypatch):
    _, y = photo()
    starts = []
    for cores in (1, 2):
        monkeypatch.setattr(threads, "_num_cores", lambda cores=cores: cores)
        starts.append(classical.deblur(jnp.asarray(y), KERNEL_SIZE))
    one, two = starts
    np.testing.assert_allclose(one.kernel, two.kernel, atol=1e-5)
    np.testing.assert_allclose(one.image, two.image, atol=1e-3)
    np.testing.assert_allclose(one.agreement, two.agreement, atol=1e-3)

from __future__ import annotations

import numpy as np  # its BLAS is what is looked at
from threadpoolctl import threadpool_info, threadpool_limits

from keybed.extract.encoders import blas, describe
from keybed.extract.encoders.torch import device


def _threads() -> set[int]:
    assert np.ones(2) @ np.ones(2) == 2
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


def test_one_thread_inside_and_as_before_outside() -> None:
    with threadpool_limits(limits=2, user_api="blas"):
        with blas.one_thread():
            assert _threads() == {1}
        assert _threads() == {2}


def test_the_recipes_threads_reach_blas() -> None:
    for threads in (1, 2):
        with threadpool_limits(limits=3 - threads, user_api="blas"):
            device.prepare(describe("mert", weights="random:tiny", n_bins=4, window_s=2.0, threads=threads)[0])
            assert _threads() == {threads}

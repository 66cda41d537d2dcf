from __future__ import annotations

import numpy as np
import pytest
import torch

from keybed.extract.encoders import describe
from keybed.extract.encoders.mert.model import Mert
from keybed.extract.encoders.torch.transfer import Transfer, fetch_later


def test_a_batch_keeps_its_buffer_while_the_next_is_filled() -> None:
    transfer = Transfer(torch.device("cpu"), (2, 3))
    fetches = []
    for batch in range(5):
        transfer.next_buffer()[:] = batch
        sent = transfer.send()
        if fetches:
            np.testing.assert_array_equal(fetches[-1]()[0], batch - 1)
        fetches.append(fetch_later([sent * 1.0]))
    np.testing.assert_array_equal(fetches[-1]()[0], 4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_copies_beside_the_computing_lose_nothing(make_clip) -> None:  # type: ignore[no-untyped-def]
    """Batches in flight against one at a time, many small ones, so that a buffer given back too early would show."""
    clips = [make_clip(seed, window_s=1.0) for seed in range(8)] * 8
    spec, _ = describe("mert", weights="random:tiny", n_bins=4, window_s=1.0)
    encoder = Mert(spec, None, batch_rows=2)
    together = encoder.encode(clips)
    apart = np.concatenate([encoder.encode(clips[start : start + 2]).layers for start in range(0, len(clips), 2)])
    np.testing.assert_array_equal(together.layers, apart)

from __future__ import annotations

import numpy as np

from keybed.store.write.rules import _INFINITE, _magnitude


def test_the_bits_of_every_float16_say_what_numpy_says_of_it():
    values = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    magnitude = _magnitude(values)
    np.testing.assert_array_equal(magnitude < _INFINITE, np.isfinite(values))
    np.testing.assert_array_equal(magnitude > _INFINITE, np.isnan(values))
    np.testing.assert_array_equal(magnitude > 0, values != 0)

"""Limits on requests per rater and per address: a token bucket for each, in memory."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable


class RateLimit:
    """`per_s` requests a second on average, `burst` at once, for each key; the least recently seen keys are forgotten."""

    def __init__(
        self, per_s: float, burst: int, *, keys: int = 4096, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Start with a full bucket for every key."""
        self.per_s, self.burst, self.keys, self._clock = per_s, burst, keys, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def allows(self, key: str) -> bool:
        """Use one request of this key; false where it has none left."""
        with self._lock:
            now = self._clock()
            left, then = self._buckets.pop(key, (float(self.burst), now))
            left = min(float(self.burst), left + (now - then) * self.per_s)
            allowed = left >= 1
            self._buckets[key] = (left - 1 if allowed else left, now)
            while len(self._buckets) > self.keys:
                self._buckets.popitem(last=False)
            return allowed

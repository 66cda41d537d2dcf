"""Checking a store: verify, repair, status, leftovers of killed tasks, and rows made again.

The functions `verify`, `repair` and `status` are imported from their modules, which have the same names.
"""

from keybed.store.check.recompute_difference import Recompute, RecomputeDifference
from keybed.store.check.status import StatusReport
from keybed.store.check.verify import Problem, VerifyConfig, VerifyReport

__all__ = ["Problem", "Recompute", "RecomputeDifference", "StatusReport", "VerifyConfig", "VerifyReport"]

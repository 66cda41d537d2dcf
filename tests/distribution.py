"""Which tests share one process of pytest-xdist, and which of them begin first."""

from __future__ import annotations

from pathlib import PurePosixPath

from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController

TOGETHER = (
    "tests/heads",
    "tests/slurm",
    "tests/faults",
    "tests/experiments/scoring",
    "tests/experiments/percepiano",
    "tests/extract/encoders/transkun",
)
"""Tests of heads share compiled programs, one machine runs one Slurm, and the others share what takes seconds to make."""
FIRST = (
    "tests/slurm",
    "tests/heads",
    "tests/extract/encoders/transkun",
    "tests/faults",
    "tests/experiments/scoring",
    "tests/experiments/percepiano",
    "tests/experiments/listening/app/test_browser.py",
    "tests/packaging/test_installs.py",
    "tests/store/test_fuzz.py",
    "tests/store/test_hostile_stores.py",
    "tests/extract/planning/test_join.py",
    "tests/extract/test_processes.py",
    "tests/extract/run/test_shard.py",
    "tests/experiments/audits/test_fingerprints.py",
    "tests/experiments/phases/test_compare.py",
    "tests/docs/test_site.py",
    "tests/test_import_walls.py",
)
"""What takes longest, in this order; the rest follows by the number of tests. Begun late, it would run alone at the end."""


class Scheduler(LoadFileScheduling):
    """Keeps a file's tests on one process, so that its module fixtures are made once; a folder of TOGETHER likewise.

    Marks of `--dist loadgroup` cannot say this: xdist 3.8 appends them to a test's id, where pytest 9.2 does not look.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        folders = {str(folder) for folder in PurePosixPath(file).parents}
        return next((folder for folder in TOGETHER if folder in folders), file)

    def _assign_work_unit(self, node: WorkerController) -> None:
        first = next((scope for scope in FIRST if scope in self.workqueue), None)
        if first is not None:
            self.workqueue.move_to_end(first, last=False)
        super()._assign_work_unit(node)

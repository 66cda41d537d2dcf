"""Tests of one file run in one process of pytest-xdist, as do those of a folder that shares what is dear."""

from __future__ import annotations

from types import SimpleNamespace

from tests.distribution import FIRST, TOGETHER, Scheduler

FILES = {
    "tests/store/test_a.py": 5,
    "tests/store/test_b.py": 4,
    "tests/extract/test_c.py": 3,
    "tests/heads/test_d.py": 2,
    "tests/heads/alignment/test_e.py": 2,
    "tests/slurm/test_f.py": 1,
}
TESTS = [f"{file}::test_{i}" for file, n in FILES.items() for i in range(n)]


class Process:
    """Stands for a worker: remembers what it was sent."""

    shutting_down = False

    def __init__(self, name):
        self.gateway = SimpleNamespace(id=name)
        self.sent = []

    def send_runtest_some(self, indices):
        self.sent += [TESTS[i] for i in indices]

    def shutdown(self):
        self.shutting_down = True


def test_a_file_or_a_folder_stays_on_one_process():
    options = SimpleNamespace(tx=["2*popen"], loadscopereorder=True)
    scheduler = Scheduler(SimpleNamespace(option=options, getvalue=lambda name: getattr(options, name)), None)
    processes = [Process("gw0"), Process("gw1")]
    for process in processes:
        scheduler.add_node(process)
        scheduler.add_node_collection(process, TESTS)
    scheduler.schedule()
    assert processes[0].sent[0].startswith("tests/slurm/"), "what takes longest begins first"
    assert processes[1].sent[0].startswith("tests/heads/")
    done = dict.fromkeys(processes, 0)
    while not all(done[process] == len(process.sent) for process in processes):
        for process in processes:
            if done[process] < len(process.sent):
                scheduler.mark_test_complete(process, TESTS.index(process.sent[done[process]]))
                done[process] += 1
    assert sorted(processes[0].sent + processes[1].sent) == sorted(TESTS)
    for group in ("tests/store/test_a.py", "tests/store/test_b.py", "tests/extract/test_c.py", "tests/heads/"):
        assert sum(any(test.startswith(group) for test in process.sent) for process in processes) == 1


def test_what_is_named_is_there(request):
    for name in (*FIRST, *TOGETHER):
        assert (request.config.rootpath / name).exists()

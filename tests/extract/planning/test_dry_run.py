"""What a dry run counts and says, on the metadata of all of MAESTRO."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from keybed.extract.config import PlanConfig
from keybed.extract.planning.plan import dry_run
from tests.extract.planning.small_plans import config_for

ALL_ENCODERS = ("mert", "midibert", "logmel", "expressive")


def test_full_maestro_from_metadata_alone(shared_data: Path, tmp_path: Path) -> None:
    csv_path = shared_data / "maestro-v3.0.0.csv"
    report = dry_run(
        PlanConfig(csv_path, tmp_path / "store", encoders=ALL_ENCODERS, metadata_only=True, check_disk_space=False)
    )
    assert (report.n_recordings, report.n_segments, report.n_rows) == (1276, 113_934, 455_736)
    assert report.estimate.n_shards == 446  # ceil(455736 / 1024)
    assert report.estimate.array_bytes["audio/mert/layers"] == 455_736 * 2 * 13 * 768 * 2
    assert report.estimate.array_bytes["audio/mert/frames"] == 455_736 * 20 * 2 * 768 * 2
    assert report.estimate.total_bytes <= 90e9
    assert report.estimate.n_files < 20_000
    assert 1 <= report.estimate.tasks <= 1000
    text = "\n".join(report.lines())
    for words in (
        "113,934 segments",
        "455,736 rows",
        "GPU-hours",
        "CPU-core-hours",
        "inodes",
        "K. 466",
        "rows/s per core",
    ):
        assert words in text
    assert not (tmp_path / "store").exists()


def test_full_maestro_from_metadata_alone_takes_little_memory(shared_data: Path, tmp_path: Path) -> None:
    command = (
        "import sys\n"
        "from pathlib import Path\n"
        "from keybed.extract.config import PlanConfig\n"
        "from keybed.extract.planning.plan import dry_run\n"
        f"dry_run(PlanConfig(Path(sys.argv[1]), Path(sys.argv[2]), encoders={ALL_ENCODERS!r}, metadata_only=True, check_disk_space=False))\n"
        "print(next(x.split()[1] for x in Path('/proc/self/status').read_text().splitlines() if x.startswith('VmHWM')))\n"
    )
    # Not ru_maxrss: a child is born with its parent's, and the tests before this one may have been large.
    arguments = [str(shared_data / "maestro-v3.0.0.csv"), str(tmp_path / "store")]
    done = subprocess.run([sys.executable, "-c", command, *arguments], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 2_000_000  # KiB


def test_float32_is_named_with_what_it_costs(tiny_corpus: Path, tmp_path: Path) -> None:
    both = {"encoders": ("mert", "expressive"), "weights": {"mert": "random:tiny"}}
    lines = {
        d: dry_run(config_for(tiny_corpus, tmp_path / "s", **both, compute_dtype=d)).lines()
        for d in ("float32", "bfloat16")
    }
    assert [line for line in lines["float32"] if line.startswith("arithmetic: float32 for mert; `--dtype bfloat16`")]
    assert not [line for line in lines["bfloat16"] if line.startswith("arithmetic")]

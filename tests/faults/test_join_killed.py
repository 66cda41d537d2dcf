"""`keybed join` under SIGKILL at steps from its first to its last: what is left, and that the same command completes it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from keybed.extract.config import JoinConfig
from keybed.extract.planning.join import join
from keybed.store.check.verify import VerifyConfig, verify
from keybed.store.errors import Incomplete, StoreError
from keybed.store.read.opening import open_store
from tests.extract.planning.test_join import bytes_of, store_of

KILLS = 16


def left(out: Path) -> str:
    """What a killed join left: "nothing", "refused" with a message, "part", whose rows no reader gets, or "whole"."""
    if not out.exists():
        return "nothing"
    try:
        store = open_store(out)
    except StoreError as error:
        return "refused" if str(out) in str(error) else f"{error}"
    if len(store.committed) == store.n_shards:
        return "whole"
    with pytest.raises(Incomplete, match="shard"):
        store.rows()
    return "part"


@pytest.mark.slow
def test_a_join_that_is_killed_at_any_step_leaves_nothing_wrong_and_goes_on(tmp_path: Path) -> None:
    sources = (store_of(tmp_path, "a"), store_of(tmp_path, "b"))
    before = [bytes_of(source) for source in sources]
    runs = tmp_path / "runs"
    for name in ("whole", *map(str, range(KILLS))):
        (runs / name).mkdir(parents=True)
    command = [sys.executable, Path(__file__).with_name("join_killed.py"), runs, *sources, str(KILLS)]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert len(said["killed_at"]) == KILLS
    assert set(said["statuses"]) == {-signal.SIGKILL}
    assert [bytes_of(source) for source in sources] == before

    def kept(folder: Path) -> dict[str, bytes]:
        return {name: data for name, data in bytes_of(folder).items() if not name.startswith(("logs/", "claims/"))}

    whole = kept(runs / "whole" / "joined")
    found = []
    for k in range(KILLS):
        out = runs / str(k) / "joined"
        found.append(left(out))
        if found[-1] == "whole":  # killed after the last commit
            assert kept(out) == whole
        join(JoinConfig(sources, out))
        assert kept(out) == whole, f"killed before step {said['killed_at'][k]} of {said['steps']}"
        report = verify(VerifyConfig(out))
        assert report.sound
        assert not report.leftovers
        assert [path.name for path in out.parent.iterdir()] == ["joined"], "nothing is left beside the store"
    assert [bytes_of(source) for source in sources] == before
    assert found[0] == "nothing"
    assert found.count("part") >= 3
    assert set(found) <= {"nothing", "refused", "part", "whole"}

"""Claims: one holder at a time, old ones taken over, tasks that lost a claim cannot commit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time

import pytest

from keybed.store import errors
from keybed.store.check.leftovers import shards_in_work
from keybed.store.format.layout import Layout
from keybed.store.write.claim_files import read_holder
from keybed.store.write.claims import claim
from keybed.store.write.task_failures import read_failures


def claim_file(opened, shard):
    return Layout(opened.path).claim_of(shard)


def foreign(path, **changes):
    """Make a claim look like another host's, so that nothing but its age speaks."""
    path.write_text(json.dumps({**json.loads(path.read_text()), "boot": "elsewhere", **changes}))


def age(path, seconds):
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_a_young_claim_is_busy_and_names_its_holder(tmp_path, synthetic):
    opened = synthetic.create(tmp_path / "S")
    with claim(opened, 1):
        busy = rf"shard 1 is being made by process {os.getpid()} on"
        with pytest.raises(errors.ShardBusy, match=busy), claim(opened, 1):
            pass
        with claim(opened, 2):
            assert shards_in_work(Layout(opened.path)) == {1, 2}
    assert not list((opened.path / "claims").iterdir())


def test_a_committed_shard_cannot_be_claimed(filled):
    with pytest.raises(errors.AlreadyCommitted), claim(filled, 0):
        pass
    assert not list((filled.path / "claims").iterdir())
    assert read_failures(Layout(filled.path)) == {}


def test_an_old_claim_is_taken_over_and_its_lost_holder_cannot_commit(tmp_path, synthetic, snapshot):
    opened = synthetic.create(tmp_path / "S")
    with claim(opened, 0) as lost_holder:
        foreign(lost_holder.path, token=lost_holder.holder.token)
        age(lost_holder.path, 601)
        with claim(opened, 0) as new_holder:
            with pytest.raises(errors.ClaimLost, match="taken over"):
                lost_holder.refresh()
            with pytest.raises(errors.ClaimLost, match=f"process {os.getpid()} on .* holds it now"):
                synthetic.commit(opened, 0, lost_holder)
            assert opened.committed == frozenset()
            new_holder.check()
            synthetic.commit(opened, 0, new_holder)
        assert opened.committed == {0}
        before = snapshot(opened.path)
        with pytest.raises(errors.ClaimLost, match="it is gone"):
            synthetic.commit(opened, 0, lost_holder)
    assert snapshot(opened.path) == before


def test_the_holder_of_a_released_claim_cannot_commit(tmp_path, synthetic):
    opened = synthetic.create(tmp_path / "S")
    with claim(opened, 0) as held:
        pass
    with pytest.raises(errors.ClaimLost):
        synthetic.commit(opened, 0, held)
    assert not (opened.path / "features.zarr" / "row" / "score" / "c.0.0").exists()


def test_a_claim_is_kept_young_while_it_is_held(tmp_path, synthetic):
    opened = synthetic.create(tmp_path / "S")
    with claim(opened, 0, refresh_s=0.05) as held:
        age(held.path, 3600)
        deadline = time.monotonic() + 60
        while time.time() - held.path.stat().st_mtime > 60:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_the_claim_of_a_killed_process_of_this_machine_is_free_at_once(tmp_path, synthetic):
    opened = synthetic.create(tmp_path / "S")
    script = (
        "import os; from keybed import store; from keybed.store.write.claims import claim\n"
        f"with claim(store.open({str(opened.path)!r}), 0): os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", script], check=False)
    assert read_holder(claim_file(opened, 0)) is not None
    with claim(opened, 0) as held:
        assert held.holder.pid == os.getpid()


def test_a_young_claim_of_another_machine_is_never_presumed_dead(tmp_path, synthetic):
    opened = synthetic.create(tmp_path / "S")
    with claim(opened, 0) as held:
        foreign(held.path, pid=2**22 + 1)
        with pytest.raises(errors.ShardBusy), claim(opened, 0):
            pass


def test_a_claim_cut_short_by_a_crash_ages_like_any_other(tmp_path, synthetic):
    opened = synthetic.create(tmp_path / "S")
    claim_file(opened, 0).touch()
    with pytest.raises(errors.ShardBusy, match="just starting"), claim(opened, 0):
        pass
    age(claim_file(opened, 0), 601)
    with claim(opened, 0):
        pass


def test_of_many_takers_of_an_old_claim_one_succeeds(tmp_path, synthetic):
    opened = synthetic.create(tmp_path / "S")
    for _ in range(20):
        claim_file(opened, 0).write_text("")
        age(claim_file(opened, 0), 601)
        start, done, winners = threading.Barrier(4, timeout=60), threading.Barrier(4, timeout=60), []

        def take(start=start, done=done, winners=winners):
            start.wait()
            try:
                with claim(opened, 0) as held:
                    winners.append(held.holder.token)
                    done.wait()
            except errors.ShardBusy:
                done.wait()

        threads = [threading.Thread(target=take) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(winners) == 1
        assert not list((opened.path / "claims").iterdir())


def test_an_error_in_a_held_shard_is_logged_and_an_interruption_is_not(tmp_path, synthetic):
    opened = synthetic.create(tmp_path / "S")
    with pytest.raises(ZeroDivisionError), claim(opened, 3):
        _ = 1 / 0
    with pytest.raises(KeyboardInterrupt), claim(opened, 4):
        raise KeyboardInterrupt
    failures = read_failures(Layout(opened.path))
    assert list(failures) == [3]
    assert failures[3].reason == "ZeroDivisionError: division by zero"
    synthetic.fill(opened, [3])
    assert read_failures(Layout(opened.path)) == {}


def test_a_claim_from_the_future_blocks_its_shard_for_one_lease_only(tmp_path, synthetic):
    """As after a clock that was set back or a restored backup: by its date alone it would block for a day."""
    opened = synthetic.create(tmp_path / "S")
    with claim(opened, 0) as lost_holder:
        foreign(lost_holder.path, token=lost_holder.holder.token)
        age(lost_holder.path, -86_400)
        with pytest.raises(errors.ShardBusy, match=r"dated 86\d{3} s in the future"), claim(opened, 0):
            pass
        assert abs(lost_holder.path.stat().st_mtime - time.time()) < 60, "the lease begins when it is seen"
        with pytest.raises(errors.ShardBusy, match="last refreshed"), claim(opened, 0):
            pass
        age(lost_holder.path, 601)  # nobody has refreshed it over a lease
        with claim(opened, 0) as new_holder:
            synthetic.commit(opened, 0, new_holder)
    assert opened.committed == {0}


def test_a_live_holder_keeps_a_claim_whose_date_was_put_right(tmp_path, synthetic):
    opened = synthetic.create(tmp_path / "S")
    with claim(opened, 0, refresh_s=0.05) as held:
        age(held.path, -86_400)
        with pytest.raises(errors.ShardBusy), claim(opened, 0):
            pass
        held.check()
        synthetic.commit(opened, 0, held)
    assert opened.committed == {0}

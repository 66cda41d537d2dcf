"""Run by the fault tests as a process of its own: fills, creates, or holds a claim and waits.

fill_store.py STORE TASK TASKS [loop]     fill_store.py STORE create     fill_store.py STORE ghost
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from keybed import store
from keybed.store.errors import ClaimLost, ShardBusy
from keybed.store.format.shards import shards_of_task
from keybed.store.write.claims import claim


def made_up_store():
    """The same made-up store as the tests use."""
    spec = importlib.util.spec_from_file_location("made_up", Path(__file__).with_name("conftest.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["made_up"] = module
    spec.loader.exec_module(module)
    return module.Made()


def main(path: str, what: str, tasks: str = "1", *_: str) -> None:
    made = made_up_store()
    if what == "create":
        made.create(Path(path))
        return
    opened = store.open(path)
    if what == "ghost":
        try:
            with claim(opened, 0) as held:
                print("claimed", flush=True)
                sys.stdin.readline()
                made.commit(opened, 0, held)
        except ClaimLost as error:
            print(f"ClaimLost: {error}")
        return
    for shard in shards_of_task(opened.n_shards, int(what), int(tasks)):
        if shard not in opened.committed:
            try:
                with claim(opened, shard) as held:
                    made.commit(opened, shard, held)
            except ShardBusy as busy:
                print(busy, file=sys.stderr)


if __name__ == "__main__":
    main(*sys.argv[1:])

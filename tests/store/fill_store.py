"""A process for the fault tests: it fills or creates a store, or claims a shard and waits.

fill_store.py STORE TASK TASKS     fill_store.py STORE create     fill_store.py STORE claim-and-wait
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from keybed import store
from keybed.store.errors import ClaimLost, ShardBusy
from keybed.store.format.shards import shards_of_task
from keybed.store.write.claims import claim


def synthetic_store():
    """The same synthetic store as the tests use."""
    spec = importlib.util.spec_from_file_location("synthetic_store", Path(__file__).with_name("conftest.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["synthetic_store"] = module
    spec.loader.exec_module(module)
    return module.Synthetic()


def main(path: str, what: str, tasks: str = "1", *_: str) -> None:
    synthetic = synthetic_store()
    if what == "create":
        synthetic.create(Path(path))
        return
    opened = store.open(path)
    if what == "claim-and-wait":
        try:
            with claim(opened, 0) as held:
                print("claimed", flush=True)
                sys.stdin.readline()
                synthetic.commit(opened, 0, held)
        except ClaimLost as error:
            print(f"ClaimLost: {error}")
        return
    for shard in shards_of_task(opened.n_shards, int(what), int(tasks)):
        if shard not in opened.committed:
            try:
                with claim(opened, shard) as held:
                    synthetic.commit(opened, shard, held)
            except ShardBusy as busy:
                print(busy, file=sys.stderr)


if __name__ == "__main__":
    main(*sys.argv[1:])

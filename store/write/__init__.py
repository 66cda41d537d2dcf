"""Writing a store: `create` makes an empty one, tasks `claim` shards, and `commit_shard` checks and stores a whole shard.

`create` is imported from its module, which has the same name.
"""

from keybed.store.write.claims import Claim, claim, claim_for_repair
from keybed.store.write.commit import commit_shard
from keybed.store.write.create import refuse_foreign, update_machine_paths
from keybed.store.write.task_failures import TaskFailure, read_failures

__all__ = [
    "Claim",
    "TaskFailure",
    "claim",
    "claim_for_repair",
    "commit_shard",
    "read_failures",
    "refuse_foreign",
    "update_machine_paths",
]

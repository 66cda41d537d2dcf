"""Keybed: frozen audio and MIDI features of degraded piano performances, and small heads that train on them.

    import keybed

    store = keybed.open("STORE")
    rows = store.rows(split="train")
    features = store.read("audio/logmel/layers", rows.index)  # float16 (row, stat, state, width)
    scores = rows.score  # float32 (row, dimension), 0–100; rows.valid says where a score counts

`open` returns a Store, `open_run` a finished Run, `fit` trains heads of several `HeadConfig`s side by side, `RidgeProbe`
is a closed-form ridge regression, `score` judges a recording with the heads of a run. Each name is imported at its first
use, so `import keybed` alone loads no library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["HeadConfig", "RidgeProbe", "__version__", "fit", "open", "open_run", "score"]

if TYPE_CHECKING:
    from keybed.experiments.reports.opened_run import open_run
    from keybed.experiments.scoring.score import score
    from keybed.heads import HeadConfig, fit
    from keybed.heads.ridge import RidgeProbe
    from keybed.store import open

    __version__: str
else:
    # A type checker must not see this function: with it, every misspelt name would have type Any.
    def __getattr__(name):
        from importlib import import_module
        from importlib.metadata import version

        homes = {
            "open": "keybed.store",
            "open_run": "keybed.experiments.reports.opened_run",
            "fit": "keybed.heads",
            "HeadConfig": "keybed.heads",
            "RidgeProbe": "keybed.heads.ridge",
            "score": "keybed.experiments.scoring.score",
        }
        if name == "__version__":
            return version("keybed")
        if name in homes:
            return getattr(import_module(homes[name]), name)
        raise AttributeError(f"module 'keybed' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted(__all__)

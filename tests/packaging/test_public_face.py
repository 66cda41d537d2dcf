"""What `import keybed` gives a user: few names, typed, loaded at their first use."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import keybed

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "jax", "flax", "zarr", "dask", "numpy", "scipy", "rich")

USER_FILE = """\
import keybed

store = keybed.open("STORE")
rows = store.rows(split="train")
features = store.read("audio/logmel/layers", rows.index)
probe = keybed.RidgeProbe()
config = keybed.HeadConfig("mid_fusion")
reveal_type(store)
reveal_type(features)
reveal_type(probe)
reveal_type(config)
reveal_type(keybed.__version__)
"""


def loaded_after(statements: str) -> list[str]:
    report = "\nimport sys\nprint('loaded', *sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", statements + report],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()[-1].split()[1:]


def test_importing_keybed_loads_nothing_else():
    loaded = set(loaded_after("import keybed")) - set(loaded_after("pass"))
    assert "keybed" in loaded
    assert not [name for name in loaded if name.partition(".")[0] in HEAVY or name.startswith("keybed.")]
    assert len(loaded) <= 10, sorted(loaded)


def test_opening_a_store_loads_neither_torch_nor_jax(finished_placeholder_store):
    loaded = loaded_after(f"import keybed\nkeybed.open({str(finished_placeholder_store)!r})")
    assert not {"torch", "jax", "transformers"} & set(loaded)


def test_the_public_names_are_the_real_ones():
    from keybed import heads, store
    from keybed.heads.ridge import RidgeProbe

    names = ["HeadConfig", "RidgeProbe", "__version__", "fit", "open", "open_run", "score"]
    assert dir(keybed) == sorted(keybed.__all__) == names
    assert keybed.open is store.open
    assert keybed.fit is heads.fit
    assert keybed.HeadConfig is heads.HeadConfig
    assert keybed.RidgeProbe is RidgeProbe
    assert keybed.__version__.count(".") == 2
    with pytest.raises(AttributeError, match="no attribute 'opne'; it has HeadConfig, RidgeProbe"):
        keybed.opne  # noqa: B018


def test_the_example_of_the_docstring_runs(finished_placeholder_store):
    lines = [line.strip() for line in keybed.__doc__.splitlines() if line.startswith("    ")]
    code = (
        "\n".join(lines)
        .replace('"STORE"', repr(str(finished_placeholder_store)))
        .replace("logmel", "placeholder-audio")
    )
    names: dict[str, object] = {}
    exec(code, names)
    features, scores = names["features"], names["scores"]
    assert isinstance(features, np.ndarray)
    assert isinstance(scores, np.ndarray)
    assert features.dtype == np.float16
    assert features.shape[1:] == (2, 3, 6)
    assert scores.shape == (len(features), 8)
    assert scores.dtype == np.float32


@pytest.mark.slow
def test_a_users_file_is_checked_by_mypy_strict(tmp_path):
    (tmp_path / "user.py").write_text(USER_FILE)
    (tmp_path / "misspelt.py").write_text('import keybed\n\nkeybed.opne("STORE")\n')
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", tmp_path / "cache", "user.py", "misspelt.py"]
    environment = {**os.environ, "MYPYPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    for kind in ("store.read.store.Store", "ndarray", "heads.ridge.RidgeProbe", "heads.models.HeadConfig", '"str"'):
        assert kind in done.stdout, done.stdout
    # On MYPYPATH keybed itself is checked as well, by this command's options and not by its own configuration.
    errors = [
        line for line in done.stdout.splitlines() if line.startswith(("user.py", "misspelt.py")) and "error" in line
    ]
    assert len(errors) == 1, done.stdout
    assert 'misspelt.py:3: error: Module has no attribute "opne"' in errors[0]

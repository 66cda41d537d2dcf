"""Compiled code is kept in the user's cache folder, within a bound, and only where the user has chosen nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from jax.experimental.compilation_cache import compilation_cache

from keybed.heads import xla

SETTINGS = (
    "jax_compilation_cache_dir",
    "jax_compilation_cache_max_size",
    "jax_persistent_cache_min_compile_time_secs",
)


@pytest.fixture
def nothing_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A cache folder of this test's own; JAX's settings as they were afterwards."""
    before = {name: getattr(jax.config, name) for name in SETTINGS}
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(xla, "CACHE_SECONDS", 0.0)
    jax.config.update("jax_compilation_cache_dir", None)
    yield tmp_path
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


def test_compiled_code_is_kept_in_the_users_cache_folder(nothing_chosen: Path) -> None:
    # compiled before the folder is set: JAX must look for the folder again
    jax.jit(lambda x: jnp.sin(x) * 2)(jnp.ones(3))
    folder = xla.keep_compiled_code.__wrapped__()
    assert folder is not None
    assert folder.is_relative_to(nothing_chosen / "keybed" / "jax")
    assert jax.config.jax_compilation_cache_max_size == xla.CACHE_BYTES == 2**30
    jax.jit(lambda x: jnp.cos(x) * 12345)(jnp.ones(3))
    kept = [path for path in folder.iterdir() if path.name.endswith("-cache")]
    assert kept


def test_the_users_own_choice_stands(nothing_chosen: Path) -> None:
    jax.config.update("jax_compilation_cache_dir", str(nothing_chosen / "mine"))
    assert xla.keep_compiled_code.__wrapped__() is None
    assert jax.config.jax_compilation_cache_dir == str(nothing_chosen / "mine")
    jax.config.update("jax_compilation_cache_dir", None)
    jax.config.update("jax_enable_compilation_cache", False)
    try:
        assert xla.keep_compiled_code.__wrapped__() is None
    finally:
        jax.config.update("jax_enable_compilation_cache", True)
    assert not (nothing_chosen / "keybed").exists()


def test_a_folder_that_cannot_be_made_keeps_nothing(nothing_chosen: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (nothing_chosen / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(nothing_chosen / "file"))
    assert xla.keep_compiled_code.__wrapped__() is None
    assert jax.config.jax_compilation_cache_dir is None


def test_each_kind_of_processor_has_its_own_name(monkeypatch: pytest.MonkeyPatch) -> None:
    here = xla._processor()
    assert here == xla._processor()
    read = Path.read_text
    monkeypatch.setattr(Path, "read_text", lambda self: read(self).replace("flags\t\t:", "flags\t\t: another"))
    assert xla._processor() != here

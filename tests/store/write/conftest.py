"""A finished store of two encoders, and the same with two encoders added to it."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from keybed import store
from keybed.store.write.layers import add_encoders
from tests.store.conftest import Synthetic, encoder

B, N = encoder("b", "audio", 5), encoder("n", "midi", 3)


@pytest.fixture
def four(synthetic):
    """The content of a store in which all four encoders were planned together."""
    return replace(synthetic, encoders=(*synthetic.encoders, B, N))


@pytest.fixture(scope="module")
def whole_extended(whole_store, tmp_path_factory):
    """A finished store of two encoders, to which two others were added and filled."""
    path = shutil.copytree(whole_store.path, tmp_path_factory.mktemp("extended") / "STORE")
    assert add_encoders(path, (B, N), {"weights/b": "/weights/b"}) == ["b", "n"]
    content = Synthetic()
    content = replace(content, encoders=(*content.encoders, B, N))
    return content.fill_layer(content.fill_layer(store.open(path), "n"), "b")


@pytest.fixture
def extended(whole_extended, tmp_path):
    """The same, for tests that change it."""
    return store.open(shutil.copytree(whole_extended.path, tmp_path / "STORE"))

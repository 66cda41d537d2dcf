"""`--slow` picks what CONTRIBUTING.md says: nothing slow, a seeded tenth, everything."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

SLOW = [f"tests/a.py::test_slow[{i}]" for i in range(25)]
FAST = "tests/a.py::test_fast"
LONG = SLOW[3]


@pytest.fixture
def picked(request):
    conftest = request.config.pluginmanager.get_plugin(str(request.config.rootpath / "tests" / "conftest.py"))

    def pick(slow, seed="1", args=()):
        deselected = []
        config = SimpleNamespace(
            getoption={"--slow": slow, "--slow-seed": seed}.get,
            args=list(args),
            hook=SimpleNamespace(pytest_deselected=lambda items: deselected.extend(items)),
        )
        items = [
            SimpleNamespace(
                nodeid=name,
                get_closest_marker=lambda mark, name=name: name in {"slow": SLOW, "long": [LONG]}[mark],
            )
            for name in (FAST, *SLOW)
        ]
        conftest.pytest_collection_modifyitems(config, items)
        kept = [item.nodeid for item in items]
        assert len(kept) + len(deselected) == 26
        return kept

    return pick


def test_what_runs(picked):
    assert picked("none") == [FAST]
    assert picked("all") == [FAST, *SLOW]
    one, two = picked("tenth", "1"), picked("tenth", "2")
    assert len(one) == len(two) == 1 + 3
    assert one != two
    assert one == picked("tenth", "1")
    assert picked("none", args=[SLOW[7]]) == [FAST, SLOW[7]], "a test that is asked for by name runs"


def test_a_test_of_many_minutes_is_never_drawn(picked):
    assert all(LONG not in picked("tenth", str(seed)) for seed in range(40))
    assert LONG in picked("all")
    assert LONG in picked("none", args=[LONG])

"""Which names of PercePiano are one composition: a theme and its variations are, a sonata's movements are not.

A head that was trained on a theme knows most of its variations, so a fold that holds back one of them holds back nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from keybed.extract.corpus.percepiano import composition_of


def joined(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Compositions that have more than one name, each with its names in order."""
    members: dict[str, set[str]] = {}
    for name in names:
        members.setdefault(composition_of(name), set()).add(name)
    return {composition: tuple(sorted(of)) for composition, of in sorted(members.items()) if len(of) > 1}

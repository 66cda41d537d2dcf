"""Write the JSON Schemas of results.json and gate.json: `python -m keybed.experiments.reports.schemas [FOLDER]`, or `make schemas`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from keybed.experiments.data.json_schema import schema
from keybed.experiments.evaluation.comparison_results import COMPARISON, Comparison
from keybed.experiments.evaluation.gates import Gate
from keybed.experiments.reports.results import KINDS

SCHEMAS: dict[str, type] = {
    **{
        (f"phase{phase}.json" if isinstance(phase, int) else f"{phase.replace(' ', '-')}.json"): kind
        for phase, kind in KINDS.items()
    },
    f"{COMPARISON}.json": Comparison,
    "gate.json": Gate,
}
"""File name → the dataclass that it describes."""


def write_schemas(folder: Path) -> list[Path]:
    """Write every schema into `folder`; the same dataclasses give the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, kind in SCHEMAS.items():
        text = json.dumps(schema(kind, kind.__name__), indent=1, ensure_ascii=False) + "\n"
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in SCHEMAS]


if __name__ == "__main__":
    for path in write_schemas(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/schemas")):
        print(path)

import ast
import re
from pathlib import Path

import pytest

from keybed.store.counted import counted

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 rows"), (1, "1 row"), (2, "2 rows"), (1200, "1,200 rows"), (-1, "-1 rows")]
)
def test_one_is_singular(count, text):
    assert counted(count, "row") == text


def test_an_irregular_plural_is_named():
    assert [counted(n, "criterion", "criteria") for n in (1, 2)] == ["1 criterion", "2 criteria"]


NOUNS = (
    "chunk|clip|composition|core|encoder|epoch|file|fold|passage|performance|piece|player|rater|recording|remark|repeat|"
    "resample|row|seed|segment|shard|task|warning|window"
)
COUNT_AND_PLURAL = re.compile(rf" (?:(?:{NOUNS})s|criteria)\b(?!/s)|.*\w\(s\)")


def test_no_message_counts_without_the_helper():
    """An f-string that goes from a number right into a plural would say "1 remarks" some day."""
    found = []
    for folder in ("store", "extract", "experiments"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            texts = [node for node in ast.walk(ast.parse(file.read_bytes())) if isinstance(node, ast.JoinedStr)]
            found += [
                f"{file.relative_to(ROOT)}:{text.lineno}: {ast.unparse(value)}{after.value[:20]}"
                for text in texts
                for value, after in zip(text.values, text.values[1:], strict=False)
                if isinstance(value, ast.FormattedValue)
                and isinstance(after, ast.Constant)
                and COUNT_AND_PLURAL.match(str(after.value))
                and not ast.unparse(value).strip("{}").isupper()  # a constant
                and "benchmarks" not in file.parts
            ]
    assert found == []

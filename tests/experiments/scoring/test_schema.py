"""docs/score.schema.json: it is the schema of this version's records, and a record fits it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from keybed.experiments.data.json_codec import plain
from keybed.experiments.data.json_schema import schema
from keybed.experiments.scoring.results import FailedFile, ScoreRecord
from tests.experiments.scoring.test_results import scored_file

FILE = Path(__file__).resolve().parents[3] / "docs" / "score.schema.json"
TITLE = "score.json of Keybed"


def test_the_file_in_the_documentation_is_of_this_version():
    assert json.loads(FILE.read_text()) == schema(ScoreRecord, TITLE)


def test_a_record_fits_the_schema_and_a_changed_one_does_not(model):
    jsonschema = pytest.importorskip("jsonschema")
    record = ScoreRecord(model.card, 2.0, (scored_file(),), (FailedFile("x", "/x", "absent"),), (), 1.5)
    written = json.loads(json.dumps(plain(record), allow_nan=False))
    jsonschema.validate(written, json.loads(FILE.read_text()))
    written["files"][0]["windows"][0]["scores"]["tone_quality"]["reason"] = "bad mood"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(written, json.loads(FILE.read_text()))

from markupsafe import Markup

from keybed.experiments.evaluation.criteria import Criterion
from keybed.experiments.evaluation.gates import NO_RUN, Override
from keybed.experiments.reports.page import (
    Page,
    Section,
    Table,
    criteria_table,
    override_banners,
    whole_intervals,
    write_page,
)


def test_an_override_says_what_it_went_on_against():
    banners = override_banners([Override(3, "NO-GO", "we know", "run-3"), Override(4, NO_RUN, "a trial", "no run")])
    assert [banner.text for banner in banners] == [
        "Phase 3 (run-3) ended with NO-GO. The recorded reason to go on: “we know”",
        "No run of Phase 4 was named, so no gate was checked. The recorded reason to go on: “a trial”",
    ]


def test_a_path_that_is_no_unicode_can_stand_on_a_page(tmp_path):
    page = Page("a", "GO", "GO", ["run \udcff"], [], None, [], [])
    assert "run ?" in write_page(page, tmp_path / "report.html").read_text()


def test_a_number_is_wrapped_before_its_interval_and_not_within():
    assert whole_intervals(Markup("0.41 (0.38 to 0.44)")) == '0.41 <span class="whole">(0.38 to 0.44)</span>'
    assert whole_intervals(Markup("–")) == "–"


def test_an_interval_in_a_marked_cell_is_not_wrapped_and_its_text_is_escaped(tmp_path):
    table = Table(["a", "b"], [["x", {"text": "0.41 (0.38 to 0.44) < 1", "style": "weak"}]], numeric=(1,))
    page = Page("a", "GO", "go", [], [], None, [], [Section("b", "Plain.", tables=[table])])
    text = write_page(page, tmp_path / "report.html").read_text()
    assert '<span class="weak">0.41 <span class="whole">(0.38 to 0.44)</span> &lt; 1</span>' in text


def test_a_count_has_no_digits_after_the_point():
    criteria = [
        Criterion("how many", 5.0, None, None, "≥ 3", "pass", ""),
        Criterion("share", 1.0, None, None, "≥ 0.9", "pass", ""),
    ]
    assert [row[1] for row in criteria_table(criteria).rows] == ["5", "1.000"]

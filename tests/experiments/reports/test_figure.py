"""Every plot is one well-formed SVG element, whatever a name, a title or an axis says."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest

from keybed.experiments.evaluation.alignment_measures import Projection2d
from keybed.experiments.evaluation.intervals import Interval
from keybed.experiments.evaluation.ordering import Decile, Difficulty
from keybed.experiments.listening import selection_plots
from keybed.experiments.reports import panels, plots
from keybed.experiments.reports.heat_map import heat_map
from keybed.store.format.vocabulary import AXIS_DIMENSIONS, DIMENSIONS

HALF = Interval(0.5, 0.4, 0.6)
NAMES = {
    "markup": "<script>alert(1)</script>",
    "attribute": "\" onload='alert(1)' x=\"",
    "entity": "&lt;b&gt; &nbsp; ]]> -->",
    "formula": r"$\frac{1}{0}$ a$b$c $ \alpha",
    "control": "a\x00b\x1b[1m\x7fc\ud800d\ufffee",
}
PLOTS = {
    "heat_map": lambda name: heat_map(np.eye(2), [name, "b"], ["a", name], name, low=0, high=1),
    "forest": lambda name: plots.forest([(name, HALF), ("b", HALF)], name, "r", threshold=0.3),
    "by_dimension": lambda name: plots.by_dimension({name: dict.fromkeys(DIMENSIONS, HALF)}, name, "r"),
    "ordering": lambda name: plots.ordering({name: {"good>poor": HALF}}, ["good>poor"], {}, name),
    "shares": lambda name: panels.shares({name: 0.3}, name),
    "curves": lambda name: panels.curves({name: [0.1, None, 0.3]}, name, "epoch", "CCC"),
    "difficulty": lambda name: panels.difficulty(
        Difficulty(by_decile=(Decile(0.5, 0.9, 10),), slopes={name: HALF}), 0.8, 0.1
    ),
    "attention": lambda _: panels.attention([[0.5, 0.5]], [[0.5, 0.5]], 10.0),
    "paired_points": lambda _: panels.paired_points(
        *[Projection2d(audio=((0.0, 1.0),), midi=((1.0, 0.0),))] * 2
    ),
    "label_strengths": lambda name: selection_plots.label_strengths(np.eye(7), name),
    "score_ranges": lambda name: selection_plots.score_ranges(dict.fromkeys((name, *AXIS_DIMENSIONS), [0.2] * 5)),
}  # fmt: skip
NAMELESS = {"attention", "paired_points"}
"""Plots that write no name that they are given."""


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("plot", PLOTS)
def test_a_name_is_text_and_nothing_else(plot, name):
    svg = PLOTS[plot](name)
    root = ET.fromstring(svg.replace('xlink:href="', 'href="'))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    tags = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert not tags & {"script", "foreignObject", "a", "image"} - (
        {"image"} if plot in ("heat_map", "attention", "label_strengths") else set()
    )
    assert not [key for element in root.iter() for key in element.attrib if key.startswith("on")]
    if plot not in NAMELESS:
        drawn = "".join(
            text for element in root.iter() for text in (element.text or "", element.get("aria-label") or "")
        )
        shown = name.replace("_", " ").translate(dict.fromkeys([0, 0x1B, 0x7F, 0xD800, 0xFFFE], "\ufffd"))
        assert shown in drawn

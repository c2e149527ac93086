"""Light pruning, ordering and optimism from frames of which the answer is known."""

import pytest

from supertickets.chapters.single_task.claims import light_pruning, optimism, ordering
from supertickets.chapters.single_task.tables import table1


def test_ordering(frame):
    found = ordering(frame, levels=(0.3, 0.5)).set_index("claim")
    assert found.loc["winning above random", "effect"] == pytest.approx(17, abs=2)
    assert found.loc["random above losing", "effect"] == pytest.approx(6.5, abs=2)
    assert set(found["verdict"]) == {"supported"}
    upside_down = ordering(frame.assign(report_score=-frame["report_score"]), levels=(0.3, 0.5))
    assert set(upside_down["verdict"]) == {"not supported"}


def test_light_pruning_is_level_by_level(frame):
    found = light_pruning(frame, (0.1, 0.3)).set_index("level")
    assert found.loc[0.1, "effect"] == pytest.approx(5, abs=1.5)
    assert found.loc[0.1, "verdict"] == "supported"
    harmful = light_pruning(frame, (0.5,)).iloc[0]
    assert harmful["verdict"] == "not supported"


def test_optimism_shows_what_the_choice_promised(frame):
    row = optimism(frame).iloc[0]
    assert row["kept"] == pytest.approx(table1(frame).iloc[0]["gain"])
    # Eight-fold choice among equals, at a spread of about 2 points on the selection split, promises something.
    assert 0.5 < row["promised if nothing were there"] < 6
    lucky = frame.assign(selection_score=frame["selection_score"] + 0.1 * (frame["kind"] == "winning"))
    assert optimism(lucky).iloc[0]["promised"] == pytest.approx(row["promised"] + 10)

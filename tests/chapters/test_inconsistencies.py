"""Notes on the paper hold the recomputed numbers."""

import pytest

from supertickets.chapters import inconsistencies
from supertickets.chapters.inconsistencies import paper_notes
from supertickets.chapters.paper import paper_facts
from supertickets.errors import SuperticketsError

NAMES = list(paper_facts()["inconsistencies"])


def test_notes_on_the_paper_hold_the_recomputed_numbers():
    notes = dict(zip(NAMES, paper_notes(NAMES), strict=True))
    assert all(notes[name].startswith(f"{name} (") and len(notes[name]) < 500 for name in NAMES)
    p3 = inconsistencies.computed("P3")
    assert f"{p3['mean of Table 7']:.1f} (mean of Table 7)" in notes["P3"]
    assert "SST-2: 0.93 (Table 7), 0.86 (Figure 3)" in notes["P4"]
    assert "10%: 23,000 (printed), 2,350 (from Table 9)" in notes["P6"]
    assert "0.05 (over tasks), 1.73 (over columns)" in notes["P1"]
    assert notes["P9"].endswith(paper_facts()["inconsistencies"]["P9"]["what"])
    with pytest.raises(SuperticketsError, match="P11"):
        paper_notes(["P11"])

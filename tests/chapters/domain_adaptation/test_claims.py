"""The claims about adaptation follow the scores."""

import numpy as np
import pytest
from adaptation_frames import made_up

from supertickets.chapters.domain_adaptation.claims import adaptation_claims, adaptation_gains, claim_sentences
from supertickets.chapters.domain_adaptation.tables import by_seed


def test_models_are_compared_on_the_same_draws():
    frame = made_up()
    gone = "seed == 2 and draw == 1 and model == 'SuperT' and task == 'science'"
    lacking = frame.drop(frame.query(gone).index)
    wide = by_seed(lacking).set_index(["task", "fraction", "seed"])
    assert np.isnan(wide.loc[("science", 0.01, 2), "SuperT"])
    assert wide.drop(index=("science", 0.01, 2)).notna().all().all()
    gains = adaptation_gains(lacking)
    assert list(gains.loc[gains["comparison"] == "SuperT minus ST-DNN", "seeds"]) == [5, 5, 4, 5]


def test_the_claims_follow_the_scores():
    up = adaptation_claims(made_up(gain=0.03, few=0.05))
    assert list(up["verdict"]) == ["supported"] * 4
    assert up["difference"].iloc[1] == pytest.approx(5, abs=0.5)
    assert list(adaptation_gains(made_up(gain=0.03))["verdict"].unique()) == ["supported"]
    level = adaptation_claims(made_up(seeds=4))
    assert "supported" not in list(level["verdict"])
    down = adaptation_claims(made_up(gain=-0.03))
    assert list(down["verdict"])[::2] == ["not supported"] * 2
    assert "SuperT adapts better than ST-DNN: supported (+5" in claim_sentences(up)[0]
    alone = adaptation_claims(made_up().query("model in ('ST-DNN', 'SuperT')"))
    assert len(alone) == 2
    assert set(adaptation_claims(made_up(gain=0.1, seeds=1))["verdict"]) == {"inconclusive"}

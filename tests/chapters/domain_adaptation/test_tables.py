"""Table 4 from made-up runs."""

import numpy as np
import pandas as pd
import pytest
from adaptation_frames import made_up

from supertickets.chapters.domain_adaptation.tables import table4
from supertickets.errors import SuperticketsError


def test_table_4_averages_draws_then_seeds():
    frame = made_up()
    table = table4(frame)
    assert len(table) == 2 * 2 * 4
    assert list(table["target"].unique()) == ["captions", "science"]
    row = table.loc[(table["target"] == "science") & (table["examples"] == 10) & (table["model"] == "SuperT")].iloc[0]
    own = frame.loc[(frame["task"] == "science") & (frame["fraction"] == 0.01) & (frame["model"] == "SuperT")]
    per_seed = 100 * own.groupby("seed")["report_score"].mean()
    assert (row["seeds"], row["draws"]) == (5, 2)
    assert row["score"] == pytest.approx(per_seed.mean())
    assert row["sd over seeds"] == pytest.approx(per_seed.std(ddof=1))
    within = 100 * own.groupby("seed")["report_score"].std(ddof=1)
    assert row["sd over draws"] == pytest.approx(np.sqrt((within**2).mean()))
    assert row["low"] < row["score"] < row["high"]
    assert (row["paper: target"], row["paper: accuracy"]) == ("SciTail", 89.8)
    whole = table.loc[(table["target"] == "captions") & (table["examples"] == 1000)].set_index("model")
    assert list(whole["paper: accuracy"]) == [90.7, 91.4, 91.1, 91.5]
    assert whole["sd over draws"].isna().all()


def test_without_runs_there_is_no_table():
    for frame in (pd.DataFrame(), made_up().drop(columns="draw")):
        with pytest.raises(SuperticketsError, match="no finished adaptation runs"):
            table4(frame)

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
    row = table.loc[(table["target"] == "science") & (table["examples"] == 23) & (table["model"] == "SuperT")].iloc[0]
    own = frame.loc[(frame["task"] == "science") & (frame["train_examples"] == 23) & (frame["model"] == "SuperT")]
    per_seed = 100 * own.groupby("seed")["report_score"].mean()
    assert (row["seeds"], row["draws"]) == (5, 2)
    assert row["score"] == pytest.approx(per_seed.mean())
    assert row["sd over seeds"] == pytest.approx(per_seed.std(ddof=1))
    within = 100 * own.groupby("seed")["report_score"].std(ddof=1)
    assert row["sd over draws"] == pytest.approx(np.sqrt((within**2).mean()))
    assert row["low"] < row["score"] < row["high"]
    assert row["share (%)"] == pytest.approx(2.3)
    assert (row["paper: target"], row["paper: examples"], row["paper: score"]) == ("SciTail", 23, 82.9)
    captions = table.loc[(table["target"] == "captions") & (table["examples"] == 549)].set_index("model")
    assert list(captions["paper: score"]) == [82.1, 82.9, 82.1, 83.3]  # 549 examples, the paper's 0.1%
    whole = table.loc[(table["target"] == "captions") & (table["examples"] == 1000)].set_index("model")
    assert whole["paper: score"].isna().all()  # as the paper's 100%, and 549 times fewer
    assert whole["sd over draws"].isna().all()


def test_every_model_is_tuned_on_the_selection_split():
    frame = made_up()
    other = frame.assign(learning_rate=2e-3, report_score=0.9)
    better = (other["model"] == "ST-DNN") & (other["task"] == "science")
    both = pd.concat([frame, other.assign(selection_score=np.where(better, 0.6, 0.4))], ignore_index=True)
    table = table4(both).set_index(["target", "model"])
    assert table.loc[("science", "ST-DNN"), "rate"].tolist() == ["0.002"] * 2
    assert table.loc[("science", "ST-DNN"), "score"].tolist() == pytest.approx([90.0, 90.0])
    untouched = table["rate"].drop(("science", "ST-DNN"))
    assert set(untouched) == {"0.001"}


def test_no_interval_leaves_the_scale():
    frame = made_up(seeds=2)
    high = frame.assign(report_score=np.where(frame["seed"] == 0, 0.9, 1.0))
    assert float(np.max(table4(high)["high"])) == 100
    assert float(np.min(table4(high.assign(report_score=0.1 - 0.1 * high["seed"]))["low"])) == 0


def test_without_runs_there_is_no_table():
    for frame in (pd.DataFrame(), made_up().drop(columns="draw")):
        with pytest.raises(SuperticketsError, match="no finished adaptation runs"):
            table4(frame)

"""Table 4 from made-up runs."""

import re

import numpy as np
import pandas as pd
import pytest
from adaptation_frames import made_up

from supertickets.chapters.display import table_html
from supertickets.chapters.domain_adaptation.tables import MODELS, table4, table4_layout
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
    whole = table.loc[(table["target"] == "captions") & (table["examples"] == 1000)].set_index("model")
    assert whole["sd over draws"].isna().all()


def test_table_4_in_the_papers_layout_has_its_accuracies_below_ours_or_in_columns_of_their_own():
    layouts, long = table4_layout(made_up()), table4(made_up()).set_index(["target", "examples", "model"])
    assert list(layouts) == ["captions", "science"]
    captions = layouts["captions"].set_index("model")
    assert list(captions.index) == list(MODELS)
    ours = ["549 (0.1%)", "549 (0.1%): low", "549 (0.1%): high", "paper: 549 (0.1%)"]
    theirs = ["5,493 (1%)", "paper: 5,493 (1%)"]
    assert list(captions)[:9] == [*ours, "1,000", "1,000: low", "1,000: high", *theirs]
    assert list(captions["paper: 549 (0.1%)"]) == [82.1, 82.9, 82.1, 83.3]
    assert bool(captions["5,493 (1%)"].isna().all())
    assert bool(captions["paper: 5,493 (1%)"].notna().all())
    assert captions.loc["SuperT", "1,000"] == long.loc[("captions", 1000, "SuperT"), "score"]
    assert layouts["science"].set_index("model").loc["SuperT", "paper: 23 (0.1%)"] == 82.9
    text = table_html(layouts["captions"], "Table 4.", decimals=1)
    assert re.findall('<th scope="col"[^>]*>([^<]*)', text)[:3] == ["model", "549 (0.1%)", "1,000"]
    assert '<td><span class="st-theirs">85.' in text  # a cell that only the paper has


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

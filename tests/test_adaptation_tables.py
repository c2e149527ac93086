"""Table 4 and its claims, on records made by hand."""

import numpy as np
import pandas as pd
import pytest

from supertickets.adaptation_tables import (
    MODELS,
    adaptation_claims,
    adaptation_figure,
    adaptation_gains,
    by_seed,
    claim_sentences,
    table4,
)
from supertickets.errors import SuperticketsError

SIZES = {0.01: 10, 1.0: 1000}


def made_up(gain: float = 0.0, few: float = 0.0, seeds: int = 5) -> pd.DataFrame:
    """Models with tickets gain so much, and so much more with few examples; two draws of the small subset."""
    rng = np.random.default_rng(1)
    rows = []
    for task in ("captions", "science"):
        for seed in range(seeds):
            for fraction, examples in SIZES.items():
                for draw in range(2 if fraction < 1 else 1):
                    luck = 0.02 * rng.normal() * (fraction < 1)  # of the draw, shared by all models
                    for model in MODELS:
                        with_tickets = model in ("SuperT", "Ticket-Share")
                        score = 0.6 + 0.2 * (fraction == 1) + luck + 0.002 * rng.normal()
                        score += with_tickets * (gain + few * (fraction < 1))
                        row = {"task": task, "seed": seed, "fraction": fraction, "draw": draw, "model": model}
                        rows.append({**row, "train_examples": float(examples), "report_score": score})
    return pd.DataFrame(rows)


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


def test_without_runs_there_is_no_table():
    for frame in (pd.DataFrame(), made_up().drop(columns="draw")):
        with pytest.raises(SuperticketsError, match="no finished adaptation runs"):
            table4(frame)


def test_the_figure_has_a_panel_per_target_and_a_line_per_model():
    fig = adaptation_figure(made_up())
    assert [ax.get_title() for ax in fig.axes] == ["captions (as SNLI)", "science (as SciTail)"]
    for ax in fig.axes:
        assert list(ax.get_legend_handles_labels()[1]) == list(MODELS)
        assert [tick.get_text() for tick in ax.get_xticklabels()] == ["10", "1000"]

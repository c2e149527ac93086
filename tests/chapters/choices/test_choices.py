"""Paper against code: changes are those put in, on paired sets; what leaks is told from what is gained."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

from supertickets.chapters.chapter import recorded_scales
from supertickets.chapters.choices.claims import change_claims, conclusion_claims, gain_claims, power_sentence
from supertickets.chapters.choices.figures import changes_figure, random_figure
from supertickets.chapters.choices.tables import (
    PAPER,
    PUBLISHED,
    audit_frames,
    audit_scores,
    audit_tasks,
    changed,
    choice_table,
    ffn_table,
    random_table,
    replacement_sentence,
    selection_gains,
)
from supertickets.chapters.claims import HOLDS, REVERSED, UNKNOWN
from supertickets.runs import CHOICES
from supertickets.studies import get_profile
from supertickets.tasks import score as task_score
from supertickets.tickets import Scores

RESULTS = Path(__file__).resolve().parents[3] / "book" / "results"
MODELS = [("full", 0.0), *((kind, level) for kind in ("winning", "random") for level in (0.2, 0.5, 0.8))]


def frame(seeds: int = 12, spread: float = 0.3, seed: int = 0, **moved: float) -> pd.DataFrame:
    """Rows of one case; ``moved`` are points by kind. Seeds differ by much more than what a choice changes."""
    rng, rows = np.random.default_rng(seed), []
    for k in range(seeds):
        for kind, level in MODELS:
            score = 70 + 5 * np.sin(k) - 20 * level + moved.get(kind, 0.0) + spread * rng.normal()
            row: dict[str, Any] = {"task": "t", "seed": k, "kind": kind, "level": level, "report_score": score / 100}
            rows.append(row | {"run": f"{kind}{level}-{k}", "heads_kept": 1 - level, "ffns_kept": 1 - level})
    return pd.DataFrame(rows)


def scores(**cases: pd.DataFrame) -> dict[str, pd.DataFrame]:
    return audit_scores({PAPER: frame(), **cases}, ["t"])


def test_a_change_is_found_where_it_is_and_nowhere_else():
    found = change_claims(scores(kinked_schedule=frame(seed=1, winning=-2.0, random=1.5), triangular=frame(seed=2)))
    assert found["effect"].abs().is_monotonic_decreasing
    verdicts = {(row["case"], row["kind"]): row["verdict"] for row in found.to_dict("records")}
    assert verdicts == {
        ("kinked_schedule", "winning"): REVERSED,
        ("kinked_schedule", "random"): HOLDS,
        ("kinked_schedule", "full"): UNKNOWN,
        ("triangular", "winning"): UNKNOWN,  # a score moves winning tickets alone
    }
    still = found.loc[found["case"] == "triangular"].iloc[0]
    assert still["power"] > 0.99  # nothing moved, and a point would have been seen
    assert still["where"] == "triangular, D1"


def test_changes_are_paired_by_training_set():
    both = scores(weight_decay=frame(seeds=8, spread=0.0, full=0.7))
    np.testing.assert_allclose(changed(both, "weight_decay", "full"), 0.7, atol=0.7)  # the paper's own spread
    assert len(changed(both, "weight_decay", "full")) == 8  # sets of both
    spreads = [np.std(x.to_numpy()) for x in (changed(both, "weight_decay", "full"), both[PAPER]["full", 0.0])]
    assert spreads[0] < 1 < spreads[1]


def test_conclusions_are_judged_under_both_protocols():
    found = conclusion_claims(scores(published=frame(seed=3, winning=6.0)))
    assert found["n"].tolist() == [12] * 4
    light = found.loc[found["claim"].str.startswith("light")].set_index("where")["verdict"]
    assert light.to_dict() == {"as in the paper": REVERSED, "as in the published code": HOLDS}
    assert conclusion_claims({}).empty
    assert change_claims({}).empty


def test_shared_models_are_the_mean_over_tasks():
    rows = [
        {"seed": k, "task": t, "stage": "multi-task", "report_score": s}
        for k in (0, 1)
        for t, s in zip("tu", (0.5, 0.7), strict=True)
    ]
    both = audit_scores({PAPER: pd.concat([frame(2), pd.DataFrame(rows)], ignore_index=True)}, ["t"])[PAPER]
    assert both["shared", 0.5].tolist() == pytest.approx([60, 60])
    assert both["full", 0.0].notna().to_numpy().all()


def test_random_tickets_are_told_by_what_they_lose():
    less = frame(seed=1)
    less["heads_kept"] += 0.3
    table = random_table({PAPER: frame(), "replacement": less}, ["t"])
    assert table.loc[table["level"] == 0.8, "heads pruned"].tolist() == pytest.approx([0.8, 0.5])
    assert set(table["n"]) == {12}
    axes = random_figure(table).axes
    assert [axis.get_xlabel() for axis in axes] == ["nominal sparsity", "heads really pruned"]
    assert "name 79.4 different" in replacement_sentence()
    both = random_table({PAPER: pd.concat([frame(), frame().assign(task="u")])}, ["t", "u"])
    assert both["task"].tolist() == ["t"] * 3 + ["u"] * 3
    assert [axis.get_ylabel() for axis in random_figure(both).axes][::2] == ["t score (points)", "u score (points)"]


def test_the_ranks_of_ffns_are_those_of_the_scores():
    def record(run: str) -> Any:
        ffns = np.array([3.0, 2.0, 1.0]) if run == "token" else np.array([1.0, 2.0, 3.0])
        return SimpleNamespace(scores=lambda _name: Scores(np.ones((3, 2)), ffns))

    store = SimpleNamespace(records=lambda runs, arrays: map(record, runs))
    scale = cast(Any, SimpleNamespace(store=store, profile=SimpleNamespace(audit=[SimpleNamespace(task="t")])))
    full = pd.DataFrame({"kind": ["full"], "task": ["t"], "run": ["paper"]})
    table = ffn_table(scale, {PAPER: full, "token_ffns": full.assign(run="token")})
    assert table["paper: pruned first"].tolist() == [1, 0, 0]
    assert table["per token: mean rank"].tolist() == [3, 2, 1]
    assert ffn_table(scale, {PAPER: full}).empty


def chance(seeds: int = 40, n: int = 400, levels: int = 8, metric: str = "accuracy") -> tuple[Any, pd.DataFrame]:
    """Models that are all equally good: whatever gain a choice shows is luck."""
    rng, rows, records = np.random.default_rng(0), [], {}
    labels, selection = rng.integers(0, 2, n), np.arange(n) % 10 == 0
    for k in range(seeds):
        for level in np.arange(levels + 1) / 10:
            right = rng.random(n) < 0.7
            answers = np.where(right, labels, 1 - labels)
            run, kind = f"{level}-{k}", "winning" if level else "full"
            arrays = {"dev_logits": np.eye(2)[answers], "dev_labels": labels}
            records[run] = SimpleNamespace(arrays=arrays, tasks={"t": SimpleNamespace(metrics=(metric,))})
            row = {"run": run, "task": "t", "seed": k, "kind": kind, "level": level, "encoder": "e", "data": "d"}
            row |= {"selection_score": right[selection].mean(), "selection_loss": 0.0}
            rows.append(row | {"report_score": right[~selection].mean()})
    store = SimpleNamespace(records=lambda runs, arrays: (records[run] for run in runs))
    return SimpleNamespace(store=store, profile=SimpleNamespace(audit=[SimpleNamespace(task="t")])), pd.DataFrame(rows)


def test_the_luck_of_a_choice_is_no_gain_once_chosen_elsewhere():
    gains = selection_gains(*chance())
    assert gains["one dev set"].to_numpy().mean() > 2.5  # the best of eight, on what chose it
    means = gains[["selection split", "halves", "no choice"]].to_numpy().mean(axis=0)
    assert np.abs(means).max() < 1.2
    found = gain_claims(gains).set_index("where")["verdict"]
    verdicts = dict(found)
    assert [verdicts.pop(name) for name in ("chosen on what is reported", "one dev set, minus halves")] == [HOLDS] * 2
    assert set(verdicts.values()) == {UNKNOWN}
    assert gain_claims(selection_gains(chance()[0], pd.DataFrame())).empty


def test_gains_are_those_of_the_tasks_own_score():
    scale, rows = chance(seeds=1, metric="mcc")
    arrays = [record.arrays for record in scale.store.records(rows["run"], arrays=True)]
    best = [task_score(["mcc"], a["dev_labels"], a["dev_logits"])["score"] for a in arrays]
    assert selection_gains(scale, rows)["one dev set"].item() == pytest.approx(100 * (max(best[1:]) - best[0]))


def test_several_tasks_are_told_apart_and_judged_as_one_family():
    few = [frame(3, 3.0, seed).assign(task="u") for seed in (10, 11)]
    both = {PAPER: pd.concat([frame(), few[0]]), "replacement": pd.concat([frame(seed=1, random=3.0), few[1]])}
    found = audit_scores(both, ["t", "u"])
    table = change_claims(found)
    assert table[["where", "n"]].values.tolist() == [["replacement, D10, t", 12], ["replacement, D10, u", 3]]
    assert table["verdict"].tolist() == [HOLDS, UNKNOWN]
    assert table["p (Holm)"].iloc[0] == 2 * table["p"].iloc[0]
    assert "in 1 of 2 rows; it would take" in power_sentence(table)
    assert conclusion_claims(found)["n"].tolist() == [12, 3] * 2


def test_the_figure_ranks_and_fills_what_stands():
    found = change_claims(scores(kinked_schedule=frame(seed=1, winning=-2.0), triangular=frame(seed=2)))
    (axis,) = changes_figure(found).axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["kinked_schedule, D24", "triangular, D1"]
    assert "points" in axis.get_xlabel()


def test_the_table_says_where_every_choice_is_to_be_found():
    table = choice_table()
    assert [name.split()[0] for name in table["choice"]] == list(CHOICES)
    assert table["choice"].str.match(r"\w+ \(D\d+(, D\d+)?\)$").all()
    assert table["the published code"].str.contains(r"\([\w/*, .:]+\.(?:py|sh|yml).*\)$").all()
    assert min(map(len, [*table["the paper"], *table["the published code"]])) > 5


def test_the_numbers_in_the_appendix_are_those_of_the_audit():
    text = (Path(__file__).parents[3] / "notebooks/A_paper_versus_code.py").read_text(encoding="utf-8")
    prose = " ".join(text.replace("\n#", " ").split())
    audited = get_profile("lab").audit[0]
    assert audited.n == 12 and "twelve training sets drawn independently" in prose
    assert f"{audited.size} training examples with {audited.noise:.0%} of wrong labels" in prose


def test_minilm_tries_the_three_choices_that_alone_moved_the_lab_most():
    (lab,) = (scale for scale in recorded_scales(str(RESULTS), "audit") if scale.key == "lab")
    changes = change_claims(audit_scores(audit_frames(lab), audit_tasks(lab)))
    alone = changes.loc[changes["case"] != PUBLISHED, "case"].unique()  # the largest change first
    assert set(get_profile("minilm").audited) == {PAPER, *alone[:3]}

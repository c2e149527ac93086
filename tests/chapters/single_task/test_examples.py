"""Gains on other examples too, from predictions of which the truth is known."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from supertickets.chapters.claims import HOLDS, REVERSED, TOGETHER, UNKNOWN
from supertickets.chapters.single_task.examples import (
    gains_on_other_examples,
    gains_over_examples,
    why_sentences,
)
from supertickets.statistics import mean_interval
from supertickets.tasks import DataRef


def tables(rng: np.random.Generator, shares: dict[tuple[int, str], tuple[float, float]], tasks="ab", again=True):
    """Records of Tables 1 and 2, of five seeds: which share of a split the full model and the super ticket answer."""
    found: list[list[Any]] = [[], []]
    for task in tasks:
        labels = {"dev": rng.integers(0, 2, 1000), "test": rng.integers(0, 2, 3000)}
        for seed in range(5):
            for i, level in enumerate((0.0, 0.2)):
                runs: list[Any] = []
                for table in (0, 1):
                    arrays = {"selection": np.arange(1000) < 100}
                    for split, y in labels.items():
                        right = rng.random(len(y)) < shares[table, split][i] + 0.01 * rng.normal()
                        arrays |= {f"{split}_labels": y, f"{split}_logits": np.eye(2)[np.where(right, y, 1 - y)]}
                    if table and not again:
                        arrays["dev_logits"] = runs[0].arrays["dev_logits"]
                    name = f"{task} {seed} {level} {table}"
                    row = {"run": name, "encoder": "e", "task": task, "data": f"{table}", "seed": seed, "level": level}
                    row |= {"kind": "winning" if level else "full", "selection_score": 0.5, "selection_loss": 1.0}
                    spec = SimpleNamespace(ticket=SimpleNamespace(kind=row["kind"]), seed=seed)
                    spec.data = DataRef(task, with_test=bool(table))
                    facts = {task: SimpleNamespace(metrics=("accuracy",))}
                    runs.append(
                        SimpleNamespace(id=name, spec=spec, arrays=arrays, tasks=facts, rows=lambda row=row: [row])
                    )
                for table, run in zip(found, runs, strict=True):
                    table.append(run)
    return found


def changed(record: Any, **values: Any) -> Any:
    """A record with other values in its row: another level as good as its own, or another seed just alike."""
    (row,) = record.rows()
    name = f"{record.id} {values}"
    spec = SimpleNamespace(**{**vars(record.spec), "seed": values.get("seed", record.spec.seed)})
    return SimpleNamespace(**{**vars(record), "id": name, "spec": spec, "rows": lambda: [row | {"run": name} | values]})


SAME = {(0, "dev"): (0.7, 0.75), (0, "test"): (0.7, 0.75), (1, "dev"): (0.7, 0.75), (1, "test"): (0.7, 0.75)}


def test_an_interval_over_examples_too_is_wider_about_the_same_gain():
    """Every level and task gains 5 points; an example that is hard is so for all seeds."""
    rng = np.random.default_rng(4)
    records = [r for r in tables(rng, SAME)[0] if (r.spec.data.name, r.spec.seed) != ("b", 4)]
    records += [changed(r, level=0.3, selection_score=0.4) for r in records if r.spec.ticket.kind == "winning"]
    found = gains_over_examples(records, n_resamples=100)
    assert found["where"].tolist() == [TOGETHER, "a", "b"] * 2
    assert [row["claim"].split(" beat")[0] for row in found.to_dict("records")] == (
        ["the super ticket"] * 3 + ["light pruning"] * 3
    )
    assert set(found["n"]) == {4}  # the seeds that every task has
    report, gains = ~records[0].arrays["selection"], {}
    for r in records:
        right = (r.arrays["dev_logits"].argmax(axis=1) == r.arrays["dev_labels"])[report].mean()
        gains[r.spec.data.name, r.spec.seed, r.spec.ticket.kind] = 100 * right
    for task, row in found.iloc[1:3].set_index("where").iterrows():
        each = [gains[task, seed, "winning"] - gains[task, seed, "full"] for seed in range(4)]
        seeds = mean_interval(each)
        assert row["effect"] == pytest.approx(seeds.mean)
    np.testing.assert_allclose(found["effect"].iloc[:3], found["effect"].iloc[3:])
    assert found["effect"].iloc[0] == pytest.approx(5, abs=2)
    assert found["expected"].iloc[0] == 0.9
    one = [r for r in records if r.spec.seed == 0]
    again = [changed(r, seed=seed) for seed in range(4) for r in one]  # their interval over seeds is a point
    alike = gains_over_examples(again, n_resamples=200)
    assert np.all(alike["high"] - alike["low"] > 1)
    assert gains_over_examples([r for r in records if r.spec.ticket.kind == "full"]).empty


def test_what_changes_a_gain_is_told_apart():
    """The other examples, of the same runs, or training again, on the same examples."""
    rng = np.random.default_rng(2)
    other = gains_on_other_examples(*tables(rng, SAME | {(1, "test"): (0.75, 0.7)}, again=False), n_resamples=100)
    assert other["where"].tolist() == [TOGETHER, "a", "b"]
    assert set(other["verdict"]) == {HOLDS} and other["effect"].tolist() == pytest.approx([-10] * 3, abs=4)
    assert other["trained again"].tolist()[1:] == [0, 0]
    assert other["other examples"].tolist()[1:] == pytest.approx(other["effect"].tolist()[1:])
    (first, _) = why_sentences(other)
    assert first.startswith("A: training once more changes the gain on the same examples by +0.00 points [0.00, 0.00]")
    better = (0.65, 0.8)
    again = gains_on_other_examples(*tables(rng, SAME | {(1, "dev"): better, (1, "test"): better}), n_resamples=100)
    assert set(again["verdict"]) == {REVERSED}
    np.testing.assert_allclose((again["trained again"] + again["other examples"])[1:], again["effect"][1:])
    assert np.all(again["trained again: low"][1:] > 0)
    assert np.all((again["other examples: low"][1:] < 0) & (again["other examples: high"][1:] > 0))


def test_gains_that_are_alike_and_tables_that_have_no_run_in_common():
    rng = np.random.default_rng(3)
    first, second = tables(rng, SAME, "a")
    alike = gains_on_other_examples(first, second, n_resamples=50)
    assert (alike["where"].tolist(), alike["verdict"].tolist()) == (["a"], [UNKNOWN])
    assert why_sentences(alike) == []
    assert alike["expected"].iloc[0] == pytest.approx((79.6 - 78.8) - 0.9)  # Tables 2 and 1, by hand
    assert gains_on_other_examples(first, [r for r in second if r.spec.ticket.kind == "full"]).empty
    assert why_sentences(gains_on_other_examples(first, [])) == []

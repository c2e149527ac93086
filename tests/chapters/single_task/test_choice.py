"""What becomes of a gain: by hand from a frame, and from predictions of which the truth is known."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from supertickets.chapters.claims import HOLDS, REVERSED, TOGETHER, UNKNOWN
from supertickets.chapters.single_task.choice import (
    gains_on_other_examples,
    luck_of_the_choice,
    optimism,
    why_sentences,
)
from supertickets.chapters.single_task.tables import table1
from supertickets.tasks import DataRef, score

LEVELS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)


def record(level: float, seed: int, labels: np.ndarray, logits: np.ndarray, metrics: tuple[str, ...], cut: int) -> Any:
    selection = np.arange(len(labels)) < cut
    splits = {"selection": selection, "report": ~selection}
    rule = SimpleNamespace(kind="winning" if level else "full", level=level)
    return SimpleNamespace(
        spec=SimpleNamespace(ticket=rule, seed=seed, data=SimpleNamespace(name="t")),
        arrays={"dev_labels": labels, "dev_logits": logits, "selection": selection},
        metrics={name: score(metrics, labels[own], logits[own]) for name, own in splits.items()},
        tasks={"t": SimpleNamespace(metrics=metrics)},
    )


def simulated(rng: np.random.Generator, right: dict[float, float], seeds: int = 5, n: int = 1000, cut: int = 100):
    """Two classes; a level's models are right with its probability, on examples that are hard or easy for all."""
    labels, ease = rng.integers(0, 2, n), rng.normal(size=n)
    records = []
    for seed in range(seeds):
        for level, share in right.items():
            hit = ease + rng.normal(size=n) < np.sqrt(2) * share
            logits = np.eye(2)[np.where(hit, labels, 1 - labels)]
            records.append(record(level, seed, labels, logits, ("accuracy",), cut))
    return records


@pytest.mark.parametrize("sims", [30, pytest.param(300, marks=pytest.mark.slow)])
def test_luck_is_what_the_choice_adds_where_nothing_is_there(sims, record_property):
    """Equal levels and, beyond, collapsed ones: they are never chosen, and may not make the luck look greater."""
    rng, truth, told, centred = np.random.default_rng(0), [], [], []
    right = {level: 0.8 if level < 0.45 else -0.2 for level in LEVELS}
    for _ in range(sims):
        records = simulated(rng, right)
        x, y = (
            np.array([r.metrics[split]["score"] for r in records]).reshape(5, 9) for split in ("selection", "report")
        )
        best = 1 + x[:, 1:].argmax(axis=1)
        rows = np.arange(len(x))
        truth.append(100 * np.mean((x[rows, best] - x[:, 0]) - (y[rows, best] - y[:, 0])))
        told.append(luck_of_the_choice(records, n_resamples=50)["t"])
        residuals = (x - x.mean(axis=0)) * np.sqrt(5 / 4)
        centred.append(100 * np.mean(residuals[:, 1:].max(axis=1) - residuals[:, 0]))
    error = np.std(truth, ddof=1) / np.sqrt(sims)
    record_property("luck: true, told, centred", [np.mean(truth), np.mean(told), np.mean(centred)])
    assert np.mean(told) == pytest.approx(np.mean(truth), abs=3 * error)
    assert error < 0.35
    assert np.mean(centred) > np.mean(truth) + 4 * error  # the old way: collapsed levels competed


def test_luck_in_the_metrics_of_every_task():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, 300)
    scores = rng.normal(size=300)
    for metrics, y, noisy in (
        (("accuracy", "f1"), labels, lambda: np.stack([-labels, labels], 1) + rng.normal(size=(300, 2))),
        (("mcc",), labels, lambda: np.stack([-labels, labels], 1) + rng.normal(size=(300, 2))),
        (("pearson", "spearman"), scores, lambda: scores[:, None] + rng.normal(size=(300, 1))),
    ):
        records = [record(level, seed, y, noisy(), metrics, 60) for seed in range(3) for level in LEVELS]
        assert 1 < luck_of_the_choice(records, 20)["t"] < 30  # raises if a metric were not the task's
        lacking = [r for r in records if not (r.spec.seed and r.spec.ticket.level == 0.3)]
        assert 1 < luck_of_the_choice(lacking, 20)["t"] < 30
    assert np.isnan(luck_of_the_choice(records[:2])["t"])


def test_optimism_shows_what_the_choice_promised(frame):
    row = optimism(frame).iloc[0]
    assert row["kept"] == pytest.approx(table1(frame).iloc[0]["gain"])
    assert "promised if nothing were there" not in row
    assert optimism(frame, {"entailment": 1.5}).iloc[0]["promised if nothing were there"] == 1.5
    lucky = frame.assign(selection_score=frame["selection_score"] + 0.1 * (frame["kind"] == "winning"))
    assert optimism(lucky).iloc[0]["promised"] == pytest.approx(row["promised"] + 10)
    two = pd.concat([frame, frame.assign(encoder="other", report_score=frame["report_score"] / 2)])
    assert optimism(two).iloc[0]["kept"] == pytest.approx(0.75 * row["kept"])  # each against its own full model


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


SAME = {(0, "dev"): (0.7, 0.75), (0, "test"): (0.7, 0.75), (1, "dev"): (0.7, 0.75), (1, "test"): (0.7, 0.75)}


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

"""The lab's chapter: its tables say what the tasks are, its figure what the logs hold."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pytest

from supertickets.chapters.lab import example_table, pretraining_figure, pretraining_logs, task_table
from supertickets.tasks import LAB_TASKS


def test_every_task_has_its_row_with_its_own_numbers() -> None:
    table = task_table().set_index("task")
    assert list(table.index) == list(LAB_TASKS)
    assert table.loc["entailment", ["mirrors", "training examples", "noise"]].tolist() == ["RTE", 300, "20%"]
    assert table.loc["similarity", "metric"] == "pearson / spearman"


def test_the_two_examples_of_a_task_have_different_answers() -> None:
    answers = example_table().groupby("task")["answer"]
    assert set(answers.size()) == {2}
    assert set(answers.nunique()) == {2}


def test_the_logs_end_with_what_the_model_card_says_and_each_objective_has_its_panel() -> None:
    logs = pretraining_logs()
    base = logs[(logs["encoder"] == "lab-base") & (logs["step"] == 16_000)].set_index("objective")["loss"]
    assert float(base.at["mlm"]) == pytest.approx(0.6135, abs=1e-4)
    fig = pretraining_figure(logs)
    assert [axis.get_title() for axis in fig.axes] == ["mlm", "pair", "match"]
    assert [len(axis.lines) for axis in fig.axes] == [2, 2, 2]
    plt.close(fig)

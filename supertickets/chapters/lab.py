"""The lab shown: its tasks as a table, examples of them, and how its encoders were pre-trained."""

import json

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from supertickets.chapters.drawing import STYLE
from supertickets.lab import encoder_names, encoder_path
from supertickets.tasks import LAB_TASKS, load_task


def task_table() -> pd.DataFrame:
    """The ten tasks: which real one each mirrors, what it asks, training examples and the rate of wrong labels."""
    rows = [
        {
            "task": name,
            "mirrors": info.kin,
            "asks": info.description,
            "metric": " / ".join(info.metrics),
            "training examples": info.train_size,
            "noise": f"{info.noise:.0%}",
        }
        for name, info in LAB_TASKS.items()
    ]
    return pd.DataFrame(rows)


def example_table(seed: int = 0) -> pd.DataFrame:
    """Two dev examples of every task with their true labels, of different classes where there are classes."""
    rows = []
    for name in LAB_TASKS:
        task = load_task(name, train_size=30, dev_size=8, seed=seed)
        labels = task.dev.labels
        other = next(i for i, label in enumerate(labels) if label != labels[0])
        for i in (0, other):
            label = task.label_names[int(labels[i])] if task.label_names else f"{labels[i]:.1f}"
            rows.append({"task": name, "text": " | ".join(task.dev.texts[i]), "answer": label})
    return pd.DataFrame(rows)


def pretraining_logs() -> pd.DataFrame:
    """The losses of every shipped encoder's pre-training: encoder, step, objective, loss (nats, of 100 steps)."""
    rows = []
    for name in encoder_names():
        for line in (encoder_path(name) / "pretrain_log.jsonl").read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            rows += [
                {"encoder": name, "step": entry["step"], "objective": objective, "loss": entry[objective]}
                for objective in ("mlm", "pair", "match")
            ]
    return pd.DataFrame(rows)


def pretraining_figure(logs: pd.DataFrame) -> Figure:
    """Loss against step on a logarithmic scale, a panel per objective, a line per encoder."""
    objectives = logs["objective"].unique()
    fig, axes = plt.subplots(1, len(objectives), figsize=(8.2, 2.7), layout="constrained")
    for axis, objective in zip(axes, objectives, strict=True):
        both = (STYLE[kind][0] for kind in ("winning", "random"))
        for colour, (name, rows) in zip(both, logs[logs["objective"] == objective].groupby("encoder"), strict=False):
            axis.plot(rows["step"], rows["loss"], color=colour, linewidth=1.4, label=name)
        axis.set(title=objective, yscale="log", xlabel="step")
        axis.yaxis.set_minor_formatter("")  # they would overlap
    axes[0].set_ylabel("loss (nats)")
    axes[0].legend(frameon=False)
    sns.despine(fig)
    return fig

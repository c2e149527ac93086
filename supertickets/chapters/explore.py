"""The page to explore: which heads and FFNs which tasks keep, and the map, cell by cell, as views that a script fills.

A view is a figure that anyone can see, with its data beside it for ``explore.js``, which puts a table in its place that
answers mouse, touch and keyboard. The data stand in the page itself: a browser fetches no file from a folder.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from supertickets.chapters.display import figure_html
from supertickets.chapters.map.claims import gains
from supertickets.chapters.map.figures import map_data, map_figure
from supertickets.chapters.map.tables import TERMS, cells, map_table
from supertickets.chapters.task_shares.figures import pies_figure
from supertickets.chapters.task_shares.tables import importance_table, task_shares
from supertickets.runs import Record
from supertickets.tickets import winning_ticket

_CELL = ("train_size", "noise", "n", "ST-DNN", "verdict", "variance", "bias2")
_CELL += tuple(f"{name}{end}" for name in TERMS for end in ("", ": low", ": high"))
"""What the script is told of a cell of the map."""


def tickets_data(title: str, records: Sequence[Record], levels: Sequence[float]) -> dict[str, Any]:
    """Importance of every unit by task, and how many seeds keep it at every level, from full runs of one encoder.

    Units are layer by layer, the heads and then the FFN. ``importance`` (tasks, units) is the mean over seeds, as
    tickets are ranked by it, relative to the largest of its kind; ``kept`` (tasks, levels, units) counts seeds.
    """
    found: dict[str, list[Any]] = {}
    for record in records:
        scores = record.scores("example")
        tickets = [winning_ticket(scores, level) for level in levels]
        kept = [np.column_stack([ticket.heads, ticket.ffns]).ravel() for ticket in tickets]
        weight = np.column_stack([scores.normalised_heads(), scores.ffns])
        found.setdefault(record.spec.data.name, []).append((weight, np.array(kept, dtype=int)))
    tasks, shape = [], (0, 0)
    for name, runs in found.items():
        mean, shape = np.mean([weight for weight, _ in runs], axis=0), runs[0][0].shape
        mean[:, :-1] /= mean[:, :-1].max() or 1.0
        mean[:, -1] /= mean[:, -1].max() or 1.0
        counts = sum(kept for _, kept in runs)
        tasks.append({"name": name, "seeds": len(runs), "importance": mean.ravel().round(3).tolist()})
        tasks[-1]["kept"] = np.asarray(counts).tolist()
    return {"title": title, "layers": shape[0], "heads": shape[1] - 1, "levels": list(levels), "tasks": tasks}


def map_view(records: Iterable[Record]) -> pd.DataFrame:
    """The map's cells with their intervals and verdicts (:func:`~supertickets.chapters.map.figures.map_data`)."""
    found = cells(records)
    return map_data(map_table(found), gains(found)) if found else pd.DataFrame()


def tickets_html(scales: Sequence[tuple[str, Sequence[Record], Sequence[float]]]) -> str:
    """The explorer of tickets: (title, full runs, levels) by scale; the picture is of the first with two tasks."""
    if not scales:
        return ""
    tables = [importance_table(records) for _, records, _ in scales]
    drawn = next((table for table in tables if len(set(table["task"])) > 1), tables[0])
    shares = task_shares(drawn)
    alt = "A pie for every head and FFN by layer, as large as it is important; slices are the shares of the tasks."
    caption = "How much every head and FFN matters, and to which tasks."
    figure = figure_html(pies_figure(shares), alt, shares, "figure-6", caption)
    return _view("tickets", figure, [tickets_data(*scale) for scale in scales])


def map_html(scales: Sequence[tuple[str, pd.DataFrame]]) -> str:
    """The explorer of the map: (title, :func:`map_view`) by scale; the still picture is of the first."""
    if not scales:
        return ""
    data = scales[0][1]
    alt = "Heat maps by training examples and wrong labels: gain of light pruning, fall of variance, rise of bias."
    caption = "Where light pruning gains, points, and what it does to variance and bias, hundredths of the loss."
    told = [(title, frame[[*_CELL]].to_json(orient="records", double_precision=4) or "[]") for title, frame in scales]
    views = [{"title": title, "cells": json.loads(text)} for title, text in told]
    return _view("map", figure_html(map_figure(data), alt, data, "map", caption), views)


def _view(kind: str, figure: str, views: Sequence[Any]) -> str:
    data = json.dumps(views, separators=(",", ":")).replace("<", "\\u003c")
    return f'<div class="st-explore" data-view="{kind}">{figure}<script type="application/json">{data}</script></div>'

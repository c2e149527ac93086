"""The report of ``supertickets find``: one HTML file that says what was found and how sure one can be."""

from __future__ import annotations

import html
import shlex
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from supertickets.chapters.claims import HOLDS, REVERSED, UNKNOWN, claim, judged
from supertickets.chapters.display import figure_html, table_html
from supertickets.chapters.finding import tickets_figure
from supertickets.chapters.single_task.figures import phase_transition_figure
from supertickets.statistics import FEWEST_SEEDS, Interval
from supertickets.tasks import metric_names

if TYPE_CHECKING:
    from supertickets.studies import Found

NORMAL = 1.96
"""Standard errors in half a 95% interval."""
SURE_SEEDS = 5
"""With fewer, intervals over seeds are rough."""


def verdict_sentence(found: Found) -> str:
    """The finding in words: the units pruned, the gain on held-out data with its interval, and what it supports.

    A full model that has not learnt the task ends it: there is no verdict then. "Better" and "worse" are said by the
    rule of :mod:`supertickets.chapters.claims`. One or two runs cannot say: then the sentence gives the spread over
    seeds (of the gain, as a standard deviation) below which they could.
    """
    metric, told = " and ".join(metric_names(found.task)), _told(found.gain, found)
    if not found.learnt.low > 0:
        reached = found.learnt.mean
        return (
            f"No verdict: the full model has not learnt the task. On the report rows its score ({metric}) is "
            f"{100 * reached:+.1f} points from that of always answering {found.constant}, "
            f"{_ends(found.learnt)}, and then its tickets say nothing; try another --learning-rate, more "
            "--epochs or more data."
        )
    if found.level == 0:
        scores = pd.DataFrame(found.frame.groupby("level")[["selection_score"]].mean())["selection_score"]
        return (
            f"No super ticket of {found.task.name} at these levels: keep the full model, which is what is saved. On "
            f"the selection rows it scores {scores[0.0]:.3f} ({metric}), the best ticket ({found.pruned:.0%}) "
            f"{scores[found.pruned]:.3f}; on the report rows that ticket's score differs by {told}"
        )
    size, ticket = found.chosen.size, found.ticket
    points = found.gain.times(100)
    word = str(judged([claim("", "", points)])["verdict"].iloc[0])
    few = f"{'One run' if points.n == 1 else f'{points.n} runs'} cannot say whether it is better than the full model"
    said = {
        HOLDS: "It is better than the full model on held-out data",
        REVERSED: "It is worse than the full model on held-out data, so keep that one (--keep-full saves it)",
        UNKNOWN: few
        if points.n < FEWEST_SEEDS
        else "On held-out data it cannot be told apart from the full model, being perhaps "
        f"{max(0.0, -points.low):.1f} points worse or {max(0.0, points.high):.1f} better",
    }[word]
    return (
        f"The super ticket of {found.task.name} prunes {_pruned(ticket.heads)} heads and {_pruned(ticket.ffns)} FFNs "
        f"(level {found.level:.0%}) and keeps {size['weights_remaining']:.1%} of the encoder's weights "
        f"({size['weights_remaining_without_embeddings']:.1%} without embeddings). {said}: its score ({metric}) "
        f"differs by {told}{_what_it_takes(points) if points.n < FEWEST_SEEDS else ''}"
    )


def _pruned(kept: np.ndarray) -> str:
    return f"{np.count_nonzero(~kept)} of {kept.size}"


def _ends(interval: Interval) -> str:
    return f"95% interval [{100 * interval.low:+.1f}, {100 * interval.high:+.1f}]"


def _told(gain: Interval, found: Found) -> str:
    over = "over examples only" if gain.n < FEWEST_SEEDS else f"over {gain.n} seeds and the examples"
    n = np.count_nonzero(~found.full.arrays["selection"])
    seeds = f"{gain.n} seed{'s' if gain.n > 1 else ''}"
    return f"{100 * gain.mean:+.1f} points, {_ends(gain)} {over} ({n} examples, {seeds})."


def _what_it_takes(points: Interval) -> str:
    """The standard deviation of gains over seeds at which the interval would just touch zero."""
    room = points.n * (points.mean / NORMAL) ** 2 - points.sd**2
    if room <= 0:
        return " Even if seeds made no difference, so few examples could not tell them apart."
    return (
        f" That would be a difference if the gains of other seeds had a standard deviation below {room**0.5:.1f} "
        "points; run three seeds at least to see (--seeds 0,1,2)."
    )


def caveats(found: Found) -> list[str]:
    """What a reader must know before trusting the verdict."""
    notes = list(found.notes)
    if FEWEST_SEEDS <= found.gain.n < SURE_SEEDS:
        notes.append(f"Intervals over fewer than {SURE_SEEDS} seeds are rough: --seeds 0,1,2,3,4 says more.")
    if found.selection_size < 200:
        accuracy = found.task.metrics == ("accuracy",)
        worth = f", where one example is worth {100 / found.selection_size:.1f} points" if accuracy else ""
        notes.append(
            f"The level was chosen on {found.selection_size} examples{worth}; with --selection-fraction 0.5 the choice "
            "would rest on more (the paper's 10% is the default)."
        )
    return notes


def not_worth_it(found: Found) -> list[str]:
    """What speaks against using the saved model, from what was measured."""
    full, saved = found.footprint.iloc[0], found.footprint.iloc[1]
    disk, fast = (1 - saved[column] / full[column] for column in ("MB", "ms for 32 examples"))
    size, reasons = found.chosen.size, []
    if not found.learnt.low > 0:
        reasons.append("The full model has not learnt the task, so there is nothing to keep.")
    if found.level == 0:
        reasons.append("No ticket scored as well as the full model: there is nothing smaller to use.")
    elif disk < 0.1 and fast < 0.1:
        reasons.append(f"It saves {disk:.0%} of the disk and {fast:.0%} of the time here, hardly worth a new model.")
    left, without = 1 - size["weights_remaining"], 1 - size["weights_remaining_without_embeddings"]
    if without > 0 and left < 0.6 * without:
        reasons.append(f"{1 - left / without:.0%} of the encoder's weights are embeddings, which tickets leave alone.")
    return reasons or ["Nothing that was measured here speaks against it."]


def curve_table(found: Found) -> pd.DataFrame:
    """One line per level: selection score (what the choice was made by), report score and size, means over seeds."""
    columns = {
        "level": "level",
        "weights_remaining": "weights remaining",
        "selection_score": "selection score",
        "report_score": "report score",
        "dev_score": "whole dev",
    }
    shown = found.frame.loc[found.frame["kind"].isin(["full", "winning"])]
    table = pd.DataFrame(shown.groupby("level")[list(columns)[1:]].mean()).reset_index().rename(columns=columns)
    chosen = " (kept)" if not found.level else " (super ticket)" if found.learnt.low > 0 else " (chosen)"
    table["level"] = [f"{level:.0%}" + chosen * (level == found.level) for level in table["level"]]
    return table


def class_table(found: Found) -> pd.DataFrame:
    """How many rows of every class are in train, selection and report; of scores, how many in all."""
    task, selection = found.task, found.chosen.arrays["selection"]
    parts = {"train": task.train.labels, "selection": task.dev.labels[selection], "report": task.dev.labels[~selection]}
    if task.kind == "regression":
        return pd.DataFrame({"rows": ["all"], **{name: [len(labels)] for name, labels in parts.items()}})
    counts = {name: np.bincount(labels, minlength=task.num_labels) for name, labels in parts.items()}
    return pd.DataFrame({"class": task.label_names, **counts})


def write_report(found: Found, command: str = "") -> Path:
    """Writes ``report.html`` into the folder of :func:`supertickets.studies.find` and returns its path."""
    spec, metrics = found.chosen.spec, " and ".join(metric_names(found.task))
    title = f"Super ticket: {found.task.name}, {spec.encoder}"
    fig = phase_transition_figure(found.frame, score_name=f"report score ({metrics})", star=found.level)
    alt = "Report score of the winning tickets against the weights remaining, with the full model as a dashed line."
    units = f"{_pruned(found.ticket.heads)} heads and {_pruned(found.ticket.ffns)} FFNs"
    at_level = found.frame.loc[found.frame["level"] == found.level]
    by_seed = ", ".join(f"{s}: {x:.3f}" for s, x in zip(at_level["seed"], at_level["report_score"], strict=True))
    settings = {
        "command": command,
        "score": metrics,
        "above the best constant answer": f"{100 * found.learnt.mean:+.1f} points ({found.constant})",
        **{name.replace("_", " "): value for name, value in vars(spec.hyper).items()},
        "selection fraction": spec.selection_fraction,
    }
    provenance = {
        "run of the saved model": found.chosen.id,
        "run of the full model": found.full.id,
        "encoder revision": spec.encoder_revision,
        "data fingerprint": spec.data.fingerprint[:16],
        "data": found.task.source,
        **found.chosen.environment,
    }
    template = resources.files("supertickets.chapters").joinpath("report.html").read_text(encoding="utf-8")
    page = template.format(
        title=html.escape(title),
        verdict=html.escape(verdict_sentence(found)),
        notes="".join(f"<p>{html.escape(note)}</p>" for note in caveats(found)),
        figure=figure_html(fig, alt, found.frame, "curve"),
        table=table_html(curve_table(found), "Means over seeds, in score units.", "levels", decimals=3),
        seeds=f"The saved model is that of seed {spec.seed}; report scores at its level by seed: {by_seed}.",
        pruned=figure_html(tickets_figure([found.ticket]), f"Heads and FFNs by layer; {units} pruned.", None, "pruned"),
        kept=f"Layers down, heads across, the FFN to the right; {units} are pruned, drawn hollow.",
        footprint=table_html(found.footprint, "Weights, and one batch on this machine's CPU.", "footprint", decimals=1),
        bother="".join(f"<li>{html.escape(reason)}</li>" for reason in not_worth_it(found)),
        classes=table_html(class_table(found), "Rows of data.", "rows"),
        settings=_table(settings),
        model=html.escape(str(found.out / "model")),
        columns="".join(f" --text {html.escape(shlex.quote(name))}" for name in spec.data.text),
        example='("a text", "its pair")' if len(found.task.dev.texts[0]) == 2 else '"a text"',
        provenance=_table(provenance),
    )
    path = found.out / "report.html"
    path.write_text(page, encoding="utf-8")
    return path


def _table(values: dict[str, object]) -> str:
    rows = "".join(f"<tr><th>{html.escape(k)}</th><td>{html.escape(str(v))}</td></tr>" for k, v in values.items() if v)
    return f'<table class="facts">{rows}</table>'

"""The report of ``supertickets find``: one HTML file that says what was found and how sure one can be."""

from __future__ import annotations

import html
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from supertickets.chapters.claims import HOLDS, REVERSED, UNKNOWN, claim, judged
from supertickets.chapters.display import figure_html, table_html
from supertickets.chapters.single_task.figures import phase_transition_figure
from supertickets.runs import means_by
from supertickets.statistics import FEWEST_SEEDS, Interval

if TYPE_CHECKING:
    from supertickets.studies import Found

NORMAL = 1.96
"""Standard errors in half a 95% interval."""
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 16px/1.55 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }}
figure {{ margin: 1.5rem 0; }}
svg {{ max-width: 100%; height: auto; }}
.st-narrow {{ display: none; }}
@media (max-width: 40rem) {{ .st-narrow {{ display: block; }} .st-wide {{ display: none; }} }}
.st-scroll {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }}
th, td {{ text-align: right; padding: .25rem .7rem; border-bottom: 1px solid #8884; }}
th:first-child, .st-words {{ text-align: left; font-weight: inherit; }}
.verdict {{ border-left: 4px solid #0072B2; padding: .4rem 1rem; background: #0072b21a; }}
code {{ font-size: .9em; }}
</style>
</head>
<body>
<h1>{title}</h1>
<p class="verdict">{verdict}</p>
{notes}
{figure}
{table}
<h2>Files</h2>
<ul>
<li><code>model/</code>: the fine-tuned, compacted model: <code>supertickets.load_compacted("model")</code></li>
<li><code>ticket.json</code>: kept heads and FFNs, with the importance scores they were chosen by</li>
<li><code>predictions.csv</code>: the model's answers on dev</li>
<li><code>curve.csv</code>: every run behind the curve; <code>runs/</code>: their records</li>
</ul>
<h2>Provenance</h2>
{provenance}
</body>
</html>
"""


def verdict_sentence(found: Found) -> str:
    """The finding in words: the level, the size, the gain on held-out data with its interval, and what it supports.

    "Better" and "worse" are said by the rule of :mod:`supertickets.chapters.claims`. One or two runs cannot say: then
    the sentence gives the spread over seeds (of the gain, as a standard deviation) below which they could.
    """
    gain, size, own = found.gain, found.chosen.size, found.gain.interval
    points = Interval(gain.n, 100 * own.mean, 100 * own.sd, 100 * own.low, 100 * own.high)
    word = judged([claim("", "", points, p=gain.p)])["verdict"].iloc[0]
    few = f"{'One run' if gain.n == 1 else f'{gain.n} runs'} cannot say whether it is better than the full model"
    said = {
        HOLDS: "It is better than the full model on held-out data",
        REVERSED: "It is worse than the full model on held-out data",
        UNKNOWN: few if gain.n < FEWEST_SEEDS else "On held-out data it cannot be told apart from the full model",
    }[word]
    over = "over examples only" if gain.n < FEWEST_SEEDS else f"over {gain.n} seeds and the examples"
    seeds = f"{gain.n} seed{'s' if gain.n > 1 else ''}"
    return (
        f"The super ticket of {found.task.name} prunes {found.level:.0%} of the heads and FFNs and keeps "
        f"{size['weights_remaining']:.1%} of the encoder's weights "
        f"({size['weights_remaining_without_embeddings']:.1%} without embeddings). {said}: its score differs by "
        f"{points.mean:+.1f} points, 95% interval [{points.low:+.1f}, {points.high:+.1f}] {over} "
        f"({np.count_nonzero(~found.full.arrays['selection'])} examples, {seeds})."
        f"{_what_it_takes(points) if gain.n < FEWEST_SEEDS else ''}"
    )


def _what_it_takes(points: Interval) -> str:
    """The standard deviation of gains over seeds at which the interval would just touch zero."""
    room = points.n * (points.mean / NORMAL) ** 2 - points.sd**2
    if room <= 0:
        return " Even if seeds made no difference, so few examples could not tell them apart."
    return (
        f" That would be a difference if the gains of other seeds had a standard deviation below {room**0.5:.1f} "
        "points; run three seeds at least to see."
    )


def caveats(found: Found) -> list[str]:
    """What a reader must know before trusting the verdict."""
    notes = []
    accuracy = found.full.metrics["report"].get("accuracy")
    if accuracy is not None:
        labels = found.full.arrays["dev_labels"][~found.full.arrays["selection"]]
        commonest = np.bincount(labels).max() / len(labels)
        # One-sided 97.5% of what guessing reaches on so many examples.
        if accuracy <= commonest + NORMAL * np.sqrt(commonest * (1 - commonest) / len(labels)):
            notes.append(
                f"The full model itself is right on {accuracy:.1%} of the held-out examples, not clearly more than "
                f"always answering the commonest class ({commonest:.1%}): it has not learnt the task, and then its "
                "tickets say nothing; try another --learning-rate, more --epochs or more data."
            )
    if found.selection_size < 200:
        step = 100 / found.selection_size
        notes.append(
            f"The level was chosen on {found.selection_size} examples, where one example is worth {step:.1f} points; "
            "with --selection-fraction 0.5 the choice would rest on more (the paper's 10% is the default)."
        )
    return notes


def curve_table(found: Found) -> pd.DataFrame:
    """One line per level: selection score (what the choice was made by), report score and size, means over seeds."""
    columns = {
        "level": "level",
        "weights_remaining": "weights remaining",
        "selection_score": "selection score",
        "report_score": "report score",
        "dev_score": "whole dev (the paper's protocol)",
    }
    shown = found.frame.loc[found.frame["kind"].isin(["full", "winning"])]
    table = means_by(shown, "level", list(columns)[1:]).rename(columns=columns)
    table["level"] = [f"{level:.0%}" + (" (super ticket)" if level == found.level else "") for level in table["level"]]
    return table


def write_report(found: Found) -> Path:
    """Writes ``report.html`` into the folder of :func:`supertickets.studies.find` and returns its path."""
    title = f"Super ticket: {found.task.name}, {found.chosen.spec.encoder}"
    metrics = " and ".join(found.task.metrics)
    fig = phase_transition_figure(found.frame, score_name=f"report score ({metrics})")
    alt = "Report score of the winning tickets against the weights remaining, with the full model as a dashed line."
    figure = figure_html(fig, alt, found.frame, "curve")
    provenance = {
        "run of the super ticket": found.chosen.id,
        "run of the full model": found.full.id,
        "encoder revision": found.chosen.spec.encoder_revision,
        "data fingerprint": found.chosen.spec.data.fingerprint[:16],
        "data": found.task.source,
        **found.chosen.environment,
    }
    rows = "".join(f"<tr><th>{html.escape(k)}</th><td>{html.escape(str(v))}</td></tr>" for k, v in provenance.items())
    page = _PAGE.format(
        title=html.escape(title),
        verdict=html.escape(verdict_sentence(found)),
        notes="".join(f"<p>{html.escape(note)}</p>" for note in caveats(found)),
        figure=figure,
        table=table_html(curve_table(found), "Means over seeds, in score units.", "levels", decimals=3),
        provenance=f"<table>{rows}</table>",
    )
    path = found.out / "report.html"
    path.write_text(page, encoding="utf-8")
    return path

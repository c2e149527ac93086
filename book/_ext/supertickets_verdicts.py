"""The front page's table: every claim of the paper, its number, what it came to at each scale, on what evidence.

The chapters' claims (:func:`supertickets.chapters.display.show_claims`) lie as data in the executed notebooks; here
they are found again and set beside the paper's statements.
"""

from __future__ import annotations

import html
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from supertickets_captions import mark_mentions

from supertickets.chapters import paper
from supertickets.chapters.claims import COMPARISONS, HOLDS, REVERSED, UNKNOWN, excludes
from supertickets.chapters.display import CLAIMS
from supertickets.chapters.domain_adaptation.tables import PRINTED
from supertickets.chapters.task_shares.claims import CLAIMS as SHARE_CLAIMS

NO_RUNS = "no runs yet"
MAIN = (
    "The super ticket beats the full model",
    "Light pruning beats the full model, on many training sets",
    "As a model shrinks, its variance falls",
    "As a model shrinks, its bias rises",
    "Ticket-Share beats MT-DNN",
)
"""The statements that the front page answers first."""


@dataclass(frozen=True)
class Statement:
    """A claim of the paper: its section, words and number, and the claims of a chapter that put it to the test.

    ``page`` and ``table`` are the chapter and the name of its table of claims; ``rows`` is how the claims there begin.
    """

    section: str
    words: str
    printed: str
    page: str
    table: str
    rows: str


@lru_cache(maxsize=1)
def statements() -> tuple[Statement, ...]:
    """What the paper claims in the abstract and sections 1, 5.3, 5.4, 6.2, 7.2, 8 and A.4, in this order."""
    found: list[Statement] = []

    def say(section: str, words: str, printed: str, rows: str, place: tuple[str, str]) -> None:
        found.append(Statement(section, words, printed, *place, rows))

    single, curve = ("05_single_task", "observations"), "drawn in Figure 4"
    gain, tuned = _gains(1, "SuperT", "ST-DNN"), " + ST fine-tuning"
    say("abstract, 5.4", "Light pruning beats the full model", curve, "light pruning beats", single)
    many = "Light pruning beats the full model, on many training sets"
    say("abstract, 5.4", many, curve, "light pruning beats", ("05_single_task", "light-powered"))
    anywhere = "Light pruning beats the full model, whatever the size and noise of the data"
    say("abstract, 5.4", anywhere, curve, "light pruning beats", ("10_map", "gains"))
    say("abstract, 5.4", "Winning tickets get better with pruning, then worse", curve, "winning tickets rise", single)
    say("abstract, 5.3", "The super ticket beats the full model", gain, "the super ticket", single)
    trade_off = ("01_introduction", "directions")
    say("1", "As a model shrinks, its variance falls", "drawn by hand", "variance falls", trade_off)
    say("1", "As a model shrinks, its bias rises", "drawn by hand", "bias rises", trade_off)
    slopes = ("10_map", "slopes")
    say("5.3", "Gains come where pruning removes variance", "said, not measured", "the gain grows with", slopes)
    say("5.3", "Super tickets gain less in larger tasks", "drawn in Figure 3", "super tickets gain", single)
    say("5.3", "Super tickets keep more in larger tasks", "drawn in Figure 3", "super tickets keep", single)
    kept = " against ".join(f"{row['weights remaining']:.1f}%" for row in paper.table(1)[:0:-2])
    say("5.3", "Super tickets of the large model keep less", f"{kept}, Table 1", "super tickets of", single)
    say("5.4", "Winning tickets lie above random ones", curve, "winning tickets lie", single)
    say("5.4", "Random tickets lie above losing ones", curve, "random tickets lie", single)
    say("5.4", "Random tickets fall in every phase", curve, "random tickets fall", single)
    say("5.4", "Losing tickets drop at once", curve, "losing tickets", single)
    say("5.4", "The large model gains more", gain, "the light gain is greater in", single)
    say(
        "5.4",
        "With less training data the gain is greater",
        "drawn in Figure 5",
        "the light gain is greater with",
        single,
    )
    less = "With less training data the gain is greater, on many training sets"
    say("5.4", less, "drawn in Figure 5", "the light gain is greater with", ("05_single_task", "light-less-data"))
    sharing, scores = ("06_multi_task", "claims"), paper.scores(3)
    say("abstract, 6.2", "Ticket-Share beats MT-DNN", _gains(3, *COMPARISONS[1]), "Ticket-Share is better", sharing)
    after = _gains(3, *COMPARISONS[1], tuned)
    say("6.2", "It still does after single-task fine-tuning", after, f"Ticket-Share{tuned}", sharing)
    for words, task, theirs, rows in (
        ("On the smallest task it is on a par with fine-tuned MT-DNN", "RTE", f"MT-DNN base{tuned}", "on a par"),
        ("On the largest task it loses nothing", "MNLI", "MT-DNN base", "as good"),
    ):
        points = paper.task_score(scores["Ticket-Share base"][task]) - paper.task_score(scores[theirs][task])
        say("6.2", words, f"{points:+.1f} points on {task}, Table 3", f"Ticket-Share is {rows}", sharing)
    adapting = ("07_domain_adaptation", "adaptation-claims")
    for new, old in COMPARISONS:
        printed = _adapting(new, old)
        mean, more = float(np.mean(list(printed.values()))), printed["0.1%"] - printed["100%"]
        say("7.2", f"{new} adapts better than {old}", f"{mean:+.1f} points, Table 4", f"{new} adapts", adapting)
        words, few = f"{new} adapts better above all with few examples", f"{more:+.1f} points more, Table 4"
        say("7.2", words, few, f"{new} gains more", adapting)
    for n, section, over, table, pairs in (
        (5, "8", "seeds", "spread-tests", COMPARISONS),
        (8, "A.4", "learning rates", "rate-tests", COMPARISONS[1:]),
    ):
        spreads = {row["model"]: row for row in paper.table(n)}
        for new, old in pairs:
            both = [spreads[f"{model} large"] for model in (new, old)]
            ratios = [both[0][task] / both[1][task] for task in both[0] if task != "model"]
            printed = f"{min(ratios):.2f} to {max(ratios):.2f} times the spread, Table {n}"
            say(section, f"{new} spreads less over {over} than {old}", printed, new, ("08_analysis", table))
    for words in SHARE_CLAIMS:
        say("8", f"{words[:1].upper()}{words[1:]}", "drawn in Figure 6", words, ("08_analysis", "share-claims"))
    return tuple(found)


def read_claims(folder: str | Path) -> list[dict[str, Any]]:
    """The claims in a folder of executed notebooks: their rows, with ``page``, and the profile as ``scale``."""
    found = []
    for path in sorted(Path(folder).glob("*.ipynb")):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        profile = notebook["metadata"].get("supertickets", {}).get("profile", "")
        for output in (output for cell in notebook["cells"] for output in cell.get("outputs", [])):
            for row in output.get("metadata", {}).get("text/html", {}).get(CLAIMS, []):
                found.append(row | {"page": path.stem, "scale": row["scale"] or profile})
    return found


def evidence(said: Statement, scale: str, claims: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The rows that judge a statement at a scale, details left out; empty: there are no runs."""
    place = (said.page, said.table, scale)
    rows = [row for row in claims if (row["page"], row["table"], row["scale"]) == place]
    rows = [row for row in rows if row["claim"].startswith(said.rows) and not row.get("detail")]
    return [row for row in rows if row["effect"] is not None]


def summary(claims: Sequence[Mapping[str, Any]], scales: Mapping[str, str]) -> list[str]:
    """A sentence per scale (``scales``: key and title): how many of the paper's claims hold there, and so on.

    A claim that several rows judge (losses, phases) has a word if they agree, and else cannot be told.
    """
    said = []
    for key, title in scales.items():
        if not any(row["scale"] == key for row in claims):
            said.append(f"**{title}**: {NO_RUNS}.")
            continue
        words: dict[str, list[str]] = {HOLDS: [], REVERSED: [], UNKNOWN: [], NO_RUNS: []}
        for statement in statements():
            rows = evidence(statement, key, claims)
            if statement.table == "light-powered":
                rows = rows[:1]  # the mean of the tasks; until all have their runs, the first test that was planned
            found = {row["verdict"] for row in rows}
            word = found.pop() if len(found) == 1 else UNKNOWN if found else NO_RUNS
            words[word].append(f"{statement.words[:1].lower()}{statement.words[1:]}")
        counts = []
        for word, held in words.items():
            which = f" ({'; '.join(held)})" if word in (HOLDS, REVERSED) else ""
            counts += [f"{len(held)} {word}{which}"] if held else []
        said.append(f"**{title}**: {', '.join(counts)}.")
    return said


def headlines_html(claims: Sequence[Mapping[str, Any]], scales: Mapping[str, str]) -> str:
    """The main statements, a line each: the word at every scale that has runs, with a link to the row of the table."""
    lines = []
    for place, said in ((place, said) for place, said in enumerate(statements()) if said.words in MAIN):
        answers = []
        for key, title in scales.items():
            found, words = evidence(said, key, claims), {}
            how = "on" if said.table.startswith("light-") else "by"  # training sets, or losses
            for row in found:
                words.setdefault(row["verdict"], []).append(_label(row, found))
            told = [_word(word) + f" {how} {', '.join(by)}" * (len(words) > 1) for word, by in words.items()]
            if found:
                by = f" {how} {_label(found[0], found)}" * (len(found) > 1)
                points = f"{_effect(found[0])}{by}, n = {found[0]['n']:g}{_excluded(found[0])}{_so_far(found[0])}"
                answers.append(f"{html.escape(title)} {'; '.join(told)} ({points})")
        line = "; ".join(answers) or NO_RUNS
        lines.append(f'<li><a href="#claim-{place}">{html.escape(said.words)}</a>: {line}.</li>')
    return f"<ul>{''.join(lines)}</ul>"


def verdicts_html(claims: Sequence[Mapping[str, Any]], scales: Mapping[str, str]) -> str:
    """The table, a row per statement and a column per scale; addresses are those of the book."""
    scales = {key: title for key, title in scales.items() if any(row["scale"] == key for row in claims)}
    head = "".join(f'<th scope="col">{html.escape(title)}</th>' for title in ("Claim", "The paper", *scales.values()))
    rows = []
    for place, said in enumerate(statements()):
        words = f'<a href="chapters/{said.page}.html">{html.escape(said.words)}</a> ({html.escape(said.section)})'
        cells = f'<td class="paper" data-label="The paper"><span>{mark_mentions(html.escape(said.printed))}</span></td>'
        for key, title in scales.items():
            found = evidence(said, key, claims)
            lines = "".join(_line(row, found) for row in found) or NO_RUNS
            kind = "" if found else ' class="st-none"'
            cells += f'<td{kind} data-label="{html.escape(title)}">{lines}</td>'
        rows.append(f'<tr id="claim-{place}"><th scope="row">{words}</th>{cells}</tr>')
    return (
        '<div class="full-width"><figure class="st-table st-stacked st-verdicts" id="table-verdicts">'
        '<div class="st-scroll" tabindex="0" '
        f'role="region" aria-label="Verdicts"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
        '<figcaption data-name="verdicts">Every claim of the paper and what it came to: the word, the effect with its '
        "95% interval, and how many runs that rests on; for what cannot be told, the power that they had, or that the "
        "interval excludes the paper's effect. Points are hundredths of the full score; other hundredths are those of "
        "the loss."
        "</figcaption></figure></div>"
    )


def _line(row: Mapping[str, Any], among: Sequence[Mapping[str, Any]]) -> str:
    """A row's word, effect, interval and n, with a link to the word's meaning and to the place in the book."""
    limit = f", limit {_figure(row, 'limit')}" if row["limit"] else ""
    power = f", power {row['power']:.0%}" if row["verdict"] == UNKNOWN and row["power"] is not None else ""
    power = _excluded(row) or power
    label = f"<i>{html.escape(_label(row, among))}:</i> " if len(among) > 1 else ""
    word = _word(row["verdict"])
    place = f'<a href="chapters/{row["page"]}.html#{row["id"]}">{_effect(row)}</a>'
    figures = f"{place}{limit}, n = {row['n']:g}{power}{_so_far(row)}"
    return f'<p>{label}{word} <span class="st-figures">{figures}</span></p>'


def _excluded(row: Mapping[str, Any]) -> str:
    return f", {_figure(row, 'expected')} excluded" if excludes(row) else ""


def _figure(row: Mapping[str, Any], name: str) -> str:
    value = row[name]
    return "?" if value is None else f"{100 * value:+.0f}%" if row["unit"] == "share" else f"{value:+.2f}"


def _effect(row: Mapping[str, Any]) -> str:
    """The effect with its unit and interval."""
    unit = "" if row["unit"] == "share" else f" {row['unit']}"
    interval = "" if row["low"] is None else f" [{_figure(row, 'low')}, {_figure(row, 'high')}]"
    return f"{_figure(row, 'effect')}{unit}{interval}"


def _label(row: Mapping[str, Any], among: Sequence[Mapping[str, Any]]) -> str:
    """What tells a row from the others that judge the same statement."""
    return row["claim"] if len({other["claim"] for other in among}) > 1 else row["where"].split(",")[0]


def _so_far(row: Mapping[str, Any]) -> str:
    """How much of what was planned a row rests on, where that is not all."""
    said = row.get("so_far") or ""
    return f", {said[0].lower()}{said[1:]}".rstrip(".") if said else ""


def _word(verdict: str) -> str:
    return f'<a class="st-verdict" href="glossary.html#term-{verdict.replace(" ", "-")}">{verdict}</a>'


def _gains(table: int, new: str, old: str, after: str = "") -> str:
    """The gains in average score that a table prints, in words."""
    averages = {row["model"]: row["average score"] for row in paper.table(table)}
    base, large = (averages[f"{new} {size}{after}"] - averages[f"{old} {size}{after}"] for size in ("base", "large"))
    return f"{base:+.1f} points (base), {large:+.1f} (large), Table {table}"


def _adapting(new: str, old: str) -> dict[str, float]:
    """Table 4: what ``new`` gains over ``old``, mean over the targets, by share of the training set."""
    gains: dict[str, list[float]] = {}
    for row in paper.table(4):
        sign = {PRINTED[new]: 1, PRINTED[old]: -1}.get(row["model"], 0)
        gains.setdefault(row["fraction"], []).append(sign * row["accuracy"])
    return {fraction: math.fsum(values) / 2 for fraction, values in gains.items()}

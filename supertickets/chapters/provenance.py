"""Where the book's numbers come from: the runs behind each table and figure, and the pages that say so.

Nothing is carried out here. A page is made of what records say of themselves, whose specs name no place.
"""

import html
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd

from supertickets.chapters.chapter import MAPS, RECORDED, Scale
from supertickets.chapters.display import table_html
from supertickets.runs import Record, RunStore, Spec, kind_of, missing_sentence, readable, task_of
from supertickets.studies import get_profile, recorded

EXPERIMENTS = {
    "rates": "The learning rates tried",
    "figure1": "Figure 1: bias and variance",
    "light": "The powered test of light pruning",
    "map": "The map: training-set size and wrong labels",
    "audit": "The audit: the paper's text and the published code",
    "search": "Tickets found in other ways",
    "table1": "Tables 1, 6, 7 and 9, Figures 3, 4 and 7",
    "table2": "Table 2: test scores",
    "table3": "Tables 3, 5 and 8: multi-task models",
    "table4": "Table 4: adaptation to other domains",
    "figure5": "Figure 5: smaller training sets",
    "figure6": "Figure 6: importance across tasks",
    "tuning": "The tuning of learning rate, batch size and dropout",
}
"""The experiments of which there is a page each, with their titles."""
BEHIND: Mapping[str, Mapping[str, str]] = {
    "index": {"figure-1": "figure1"},
    "explore": {"map": "map", "figure-6": "figure6"},
    "chapters/01_introduction": {"": "figure1", "parts": ""},
    "chapters/04_ticket_sharing": {"": "table1"},
    "chapters/05_single_task": {
        **{"": "table1", "rates": "rates", "light-powered": "light figure1", "table-2": "table2"},
        **{"light-less-data": "light figure1", "figure-5": "figure5"},
    },
    "chapters/06_multi_task": {"": "table3"},
    "chapters/07_domain_adaptation": {"": "table4"},
    "chapters/08_analysis": {
        **{"": "table3", "rates-tried": "rates", "matched-rates": "rates", "table-5": "rates table1 table3"},
        **{"spread-tests": "rates table1 table3", "power": "", "figure-6": "figure6", "agreement": "figure6"},
        **{"dominated": "figure6", "share-claims": "figure6"},
    },
    "chapters/09_discussion": {
        **{"": "table1", "examples-scored": "search", "agreement-of-scores": "search"},
        **{"ways": "search", "measures": "search"},
    },
    "chapters/A_paper_versus_code": {"": "audit", "choices": ""},
    "chapters/B_hyperparameters": {"": "tuning", "settings": ""},
    "chapters/10_map": {"": "map", "real-encoders": "light figure1"},
}
"""By page and beginning of a table's or figure's name, the longest that fits: the experiments whose runs it shows."""
_SETTINGS = ("tasks", "seeds", "encoder", "train_size", "dev_size")
_UNSAID = ("data_dir", "train", "dev", "test", "text", "label", "parent", "study")
_FEW, _DIGITS = 12, 12  # values that are listed, digits of a hash


def experiments_behind(page: str, name: str) -> list[str]:
    """The experiments whose runs the table or figure ``name`` of a page shows.

    >>> experiments_behind("chapters/08_analysis", "figure-6-close-ups"), experiments_behind("chapters/09_x", "steps")
    (['figure6'], [])
    """
    fits = [start for start in BEHIND.get(page, ()) if name.startswith(start)]
    return BEHIND[page][max(fits, key=len)].split() if fits else []


@dataclass(frozen=True, eq=False)
class Evidence:
    """The records that there are by id, the packs they came from (name, manifest and ids), and the scales."""

    records: Mapping[str, Record]
    packs: Sequence[tuple[str, Mapping[str, Any], frozenset[str]]]
    scales: Sequence[Scale]

    def runs(self, experiment: str) -> Iterator[tuple[Scale, list[Spec], list[Record]]]:
        """Every scale with the runs that are planned of an experiment, and the records of them, if there are any."""
        for scale in self.scales:
            specs = list({spec.id: spec for spec in chain(*scale.specs(experiment))}.values())
            yield scale, specs, [self.records[spec.id] for spec in specs if spec.id in self.records]


def evidence(stamps: Iterable[Mapping[str, Any]], results: Path, notebooks: Path) -> Evidence:
    """What lies in the packs of ``results`` and in the stores of executed notebooks, which their stamps name.

    ``notebooks`` is the folder that those were executed in. Of two records that differ in data or encoder the later
    counts.
    """
    packs = sorted(results.glob("*.zip"))
    profiles = {name: (title, get_profile(name)) for name, title in (RECORDED | MAPS).items()}
    places: dict[str, None] = {}
    for stamp in stamps:
        parameters = stamp["parameters"]
        parts = [part.strip() for part in str(parameters.get("store", "")).split(",") if part.strip()]
        places |= dict.fromkeys(part if "://" in part else str(notebooks / part) for part in parts)
        if "seeds" in parameters and (name := stamp["profile"]) not in RECORDED:
            settings = {key: parameters[key] for key in _SETTINGS if key in parameters}
            profiles[name] = (name.capitalize(), get_profile(name, **settings))
    store = RunStore(",".join([*places, *map(str, packs)]) or str(results))
    records = sorted(store.records(), key=lambda record: record.finished, reverse=True)
    inputs = recorded(record.spec for record in records)
    scales = [Scale(title, profile, store, inputs) for title, profile in profiles.values()]
    opened = {path: RunStore(str(path)) for path in packs}
    held = [(path.stem, pack.manifests()[str(path)], frozenset(pack.ids())) for path, pack in opened.items()]
    return Evidence({record.id: record for record in records}, held, scales)


def titled(page: str) -> str:
    """A chapter by its number and name; a page that has none by its own.

    >>> titled("chapters/05_single_task"), titled("explore")
    ('5 Single task', 'Explore')
    """
    number, _, name = page.split("/")[-1].lstrip("0").partition("_")
    if not name:
        return "Front page" if page == "index" else page.capitalize()
    return f"{number} {name.replace('_', ' ').capitalize()}"


def runs_html(found: Evidence, experiment: str) -> tuple[str, dict[str, pd.DataFrame]]:
    """The page of an experiment, and the rows of its records, by the name of the CSV that the page links to."""
    pages = [page for page, names in BEHIND.items() if experiment in " ".join(names.values()).split()]
    links = ", ".join(f'<a href="../{page}.html">{titled(page)}</a>' for page in pages)
    parts, frames = (
        [f"<h1>Runs: {html.escape(EXPERIMENTS[experiment])}</h1><p>Shown in: {links or 'no chapter yet'}.</p>"],
        {},
    )
    missing = []
    for scale, specs, records in found.runs(experiment):
        if not records:
            missing.append(f'<span id="{scale.key}">{html.escape(scale.title)}</span>')
            continue
        parts.append(f'<section id="{scale.key}"><h2>{html.escape(scale.title)}</h2>')
        name, own = f"{experiment}-{scale.key}.csv", {record.id for record in records}
        frames[name] = pd.DataFrame([row for record in records for row in record.rows()])
        counts = pd.crosstab([task_of(spec) for spec in specs], [kind_of(spec) for spec in specs])
        there = pd.crosstab([task_of(x.spec) for x in records], [kind_of(x.spec) for x in records])
        there = there.reindex_like(counts).fillna(0).astype(int)
        table = (there.astype(str) + " of " + counts.astype(str)).where(counts > 0, "")
        packed = [(pack, made) for pack, made, ids in found.packs if ids & own]
        took = readable(sum(record.timings.get("total", 0.0) for record in records))
        said = missing_sentence(pd.DataFrame({"run": list(own)}), specs)
        lines = [f"{len(own)} of {len(specs)} runs, {took} of training in all. {said}"]
        lines += [
            f"Pack {pack}: {made['runs']} runs, packed by commit {made['packed by']['commit']}. "
            f"{made['note'].removesuffix('.')}."
            for pack, made in packed
        ]
        if own - frozenset().union(*(ids for _, _, ids in found.packs)):
            which = "The others" if packed else "They"
            lines.append(f"{which} were carried out for this copy, by the commit at the foot of its chapter.")
        rows = table.rename_axis("task").reset_index().rename_axis(columns=None)
        parts += [
            *(f"<p>{html.escape(line)}</p>" for line in lines),
            f'<p><a class="st-csv" download href="{name}">The records (CSV, {len(frames[name])} rows)</a></p>',
            table_html(rows, "Runs that there are, of those planned.", f"{experiment}-{scale.key}"),
            f"<details><summary>What the records say of themselves</summary>{_facts(records)}</details>",
            "</section>",
        ]
    if missing:
        parts.append(f"<p>No runs yet: {'; '.join(missing)}.</p>")
    return "".join(parts), frames


def _facts(records: Sequence[Record]) -> str:
    """A list of every value that occurs in the specs and environments of some runs; of many, how many."""
    values: dict[str, dict[str, None]] = {}
    for record in records:
        for name, value in (*_flat("", record.spec.to_json()), *record.environment.items()):
            text = f"{value:g}" if isinstance(value, float) else str(value)
            values.setdefault(name, {})[text[:_DIGITS] if name.endswith("fingerprint") else text] = None
    said = {name: ", ".join(own) if len(own) <= _FEW else f"{len(own)} different" for name, own in values.items()}
    days = sorted(record.finished[:10] for record in records)
    said["finished"] = days[0] if days[0] == days[-1] else f"{days[0]} to {days[-1]}"
    pairs = (f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(text)}</dd></div>" for name, text in said.items())
    return f'<dl class="st-facts">{"".join(pairs)}</dl>'


def _flat(start: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The leaves of a spec's JSON by their path; what says nothing, or where something lay, is left out."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if name not in _UNSAID:
                yield from _flat(f"{start} {name.replace('_', ' ')}".strip(), inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _flat(start, inner)
    elif value not in (None, ""):
        yield start, value

"""Where the paper disagrees with itself (P1 to P10), recomputed, and said in words."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import numpy as np
import pandas as pd

from supertickets.chapters.paper import average_score, figure3, paper_facts, printed_count, scores
from supertickets.errors import SuperticketsError

# Weights of one head (4 x hidden x 64), one FFN (2 x hidden x 4 hidden), and BERT with embeddings and pooler.
_BERT = {"base": (196_608, 4_718_592, 109_482_240), "large": (262_144, 8_388_608, 335_141_888)}


def _averages(tables: tuple[int, ...]) -> dict[str, float]:
    found: dict[str, float] = {}
    for n in tables:
        for model, row in paper_facts()[f"table{n}"].items():
            found[f"Table {n} {model}: printed"] = row["average_score"]
            found[f"Table {n} {model}: over tasks"] = average_score(row["scores"], "tasks")
            found[f"Table {n} {model}: over columns"] = average_score(row["scores"], "columns")
    return found


def _table7(scale: str) -> dict[str, float]:
    facts = paper_facts()["table7"]
    return dict(zip(facts["tasks"], facts["rows"][f"SuperT {scale}"]["mean"], strict=True))


def _average_compression() -> dict[str, float]:
    return {
        "printed": paper_facts()["table1"]["SuperT base"]["weights_remaining_percent"],
        "mean of Table 7": 100 * float(np.mean(list(_table7("base").values()))),
        "mean of Figure 3": 100 * float(np.mean([row["weights remaining base"] for row in figure3()])),
    }


def _differing_sizes(scale: str) -> dict[str, float]:
    table7, found = _table7(scale), {}
    for row in figure3():
        if table7[row["task"]] != row[f"weights remaining {scale}"]:
            found[f"{row['task']}: Table 7"] = table7[row["task"]]
            found[f"{row['task']}: Figure 3"] = row[f"weights remaining {scale}"]
    return found


def _scitail_sizes() -> dict[str, float]:
    facts = paper_facts()["table4"]
    total = printed_count(paper_facts()["table9"]["rows"]["SciTail"][1])
    found = {}
    for fraction, size in zip(facts["fractions"], facts["SciTail"]["train_sizes"], strict=True):
        found[f"{fraction}: printed"] = printed_count(size)
        found[f"{fraction}: from Table 9"] = total * float(fraction.rstrip("%")) / 100
    return found


def _gains_not_positive() -> dict[str, float]:
    """Cells of Table 1 in which SuperT is not above ST-DNN, and the p-value footnote 4 gives."""
    table1, found = scores(1), {}
    for scale in ("base", "large"):
        for task, cell in table1[f"SuperT {scale}"].items():
            for metric, value in cell.items():
                if value <= (full := table1[f"ST-DNN {scale}"][task][metric]):
                    found[f"{task} {metric}, {scale}: gain"] = value - full
    found["STS-B base: p-value of footnote 4"] = paper_facts()["footnote4_p_value"]
    return found


def _printed_sizes() -> dict[str, float]:
    rows = paper_facts()["table9"]["rows"]
    return {
        "STS-B train: Table 9": printed_count(rows["STS-B"][1]),
        "STS-B train: Figure 3": next(row["train examples"] for row in figure3() if row["task"] == "STS-B"),
        "STS-B train: GLUE release": 5749,
        "RTE dev: Table 9": printed_count(rows["RTE"][2]),
        "RTE dev: GLUE release": 277,
    }


def _shared_sizes() -> dict[str, float]:
    found: dict[str, float] = {}
    for scale, (head, ffn, total) in _BERT.items():
        pruned = np.array(
            list(paper_facts()["published_tickets"][scale].values())
        )  # heads and FFNs, in the authors' scripts
        for how, (heads, ffns) in {
            "mean ticket, counts rounded down": np.floor(pruned.mean(axis=0)),
            "mean ticket": pruned.mean(axis=0),
            "largest ticket, a bound from below on the union": pruned.min(axis=0),
        }.items():
            found[f"{scale}: {how}"] = float(100 * (1 - (heads * head + ffns * ffn) / total))
        found[f"{scale}: printed"] = paper_facts()["table3"][f"Ticket-Share {scale}"]["weights_remaining_percent"]
    return found


_RECOMPUTE: dict[str, Callable[[], dict[str, float]]] = {
    "P1": partial(_averages, (1, 3)),
    "P2": partial(_averages, (2,)),
    "P3": _average_compression,
    "P4": partial(_differing_sizes, "base"),
    "P5": partial(_differing_sizes, "large"),
    "P6": _scitail_sizes,
    "P7": _gains_not_positive,
    "P8": _printed_sizes,
    "P10": _shared_sizes,
}


def computed(identifier: str) -> dict[str, float]:
    """The numbers, printed and recomputed, of "P1" to "P10"; none where only reading shows the inconsistency.

    >>> computed("P3")["printed"]
    86.8
    """
    if identifier not in paper_facts()["inconsistencies"]:
        known = ", ".join(paper_facts()["inconsistencies"])
        raise SuperticketsError(f"There is no inconsistency {identifier!r}; choose one of {known}.")
    return _RECOMPUTE[identifier]() if identifier in _RECOMPUTE else {}


def paper_notes(identifiers: Sequence[str]) -> list[str]:
    """One sentence or two per inconsistency of the paper (P1 to P10): where, what, and the recomputed numbers.

    Where many rows were recomputed (P1), the largest distance from the printed value stands for them all. Raises
    SuperticketsError for an unknown identifier.

    >>> paper_notes(["P3"])[0].partition("Figure 3. ")[2]
    '86.8 (printed), 89.5 (mean of Table 7), 88.62 (mean of Figure 3).'
    """
    notes = []
    for name in identifiers:
        numbers, texts = _sentence(computed(name)), paper_facts()["inconsistencies"][name]
        notes.append(f"{name} ({texts['where']}): {texts['what']}{f' {numbers}' if numbers else ''}")
    return notes


def recomputed(identifier: str) -> pd.DataFrame:
    """All numbers of an inconsistency (:func:`computed`), a row per thing and a column per source; empty without any.

    >>> recomputed("P4").columns.tolist()
    ['', 'Table 7', 'Figure 3']
    """
    return pd.DataFrame(
        {"": thing or identifier, **numbers} for thing, numbers in _groups(computed(identifier)).items()
    )


def _groups(numbers: dict[str, float]) -> dict[str, dict[str, float]]:
    """The numbers of one thing ("STS-B: Table 7", "STS-B: Figure 3") together."""
    groups: dict[str, dict[str, float]] = {}
    for label, value in numbers.items():
        thing, _, what = label.rpartition(": ")
        groups.setdefault(thing, {})[what] = value
    return groups


def _sentence(computed: dict[str, float]) -> str:
    groups = _groups(computed)
    if len(groups) > 4 and all("printed" in group for group in groups.values()):
        others = [what for what in next(iter(groups.values())) if what != "printed"]
        far = [max(abs(group[what] - group["printed"]) for group in groups.values()) for what in others]
        return f"Largest distance from the printed value in {len(groups)} rows: {_listed(others, far)}."
    parts = [f"{thing}: {_listed(group, group.values())}".removeprefix(": ") for thing, group in groups.items()]
    text = "; ".join(parts).replace("_", " ")
    return f"{text[0].upper()}{text[1:]}." if text else ""


def _listed(names: Iterable[str], values: Iterable[float]) -> str:
    numbers = (f"{value:,.2f}".rstrip("0").rstrip(".") for value in values)
    return ", ".join(f"{number} ({name})" for name, number in zip(names, numbers, strict=True))

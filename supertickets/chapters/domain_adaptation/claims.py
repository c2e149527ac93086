"""The paper's claims about domain adaptation (section 7), put to the test; errors are those of ``tables.by_seed``."""

import math

import numpy as np
import pandas as pd

from supertickets.chapters import paper
from supertickets.chapters.claims import COMPARISONS, claim, judged
from supertickets.chapters.domain_adaptation.tables import CLOSE, PRINTED, by_seed, printed_examples


def adaptation_gains(frame: pd.DataFrame) -> pd.DataFrame:
    """What a source with tickets gains over the one without, in points: the detail of :func:`adaptation_claims`.

    A row per comparison, target and number of training examples, judged as one family. Expected is the gain that the
    paper prints for about as many.
    """
    means, rows = by_seed(frame), []
    for better, worse in COMPARISONS:
        if {better, worse} <= set(means):
            printed = _printed(better, worse)
            gains = means.assign(gain=means[better] - means[worse]).dropna(subset=["gain"])
            for _, group in gains.groupby(["task", "train_examples"], sort=False):
                task, examples = str(group["task"].iloc[0]), int(group["train_examples"].iloc[0])
                near = [
                    gain
                    for theirs, gain in printed.get(paper.kin_of(task), {}).items()
                    if max(theirs, examples) <= CLOSE * min(theirs, examples)
                ]
                text, where = f"{better} adapts better than {worse}", f"{task}, {examples} examples"
                rows.append(claim(text, where, group["gain"], expected=near[0] if near else math.nan))
    return judged(rows)


def adaptation_claims(frame: pd.DataFrame) -> pd.DataFrame:
    """The claims of section 7.2, judged as one family, in points.

    For each comparison: models with tickets adapt better (mean over targets and sizes), and especially so with few
    examples (gain with the fewest minus gain with the most, mean over targets). Only seeds that have every target and
    size count; each has subsets of its own, so that intervals over seeds are over subsets too. The effects expected are
    the same of the paper's Table 4.
    """
    means, rows = by_seed(frame), []
    sizes = {str(task): sorted(own["train_examples"].unique()) for task, own in means.groupby("task", sort=False)}
    for better, worse in COMPARISONS:
        if not {better, worse} <= set(means):
            continue
        gains = means.assign(gain=means[better] - means[worse])
        wide = gains.pivot_table(index="seed", columns=["task", "train_examples"], values="gain", dropna=False)
        wide = wide[[(task, size) for task in sizes for size in sizes[task]]].dropna()
        if wide.empty:
            continue
        printed = [list(of_target.values()) for of_target in _printed(better, worse).values()]
        text = f"{better} adapts better than {worse}"
        rows.append(claim(text, "all targets and sizes", wide.mean(axis=1), expected=float(np.mean(printed))))
        if all(len(of_target) > 1 for of_target in sizes.values()):
            few, most = (wide[[(task, sizes[task][i]) for task in sizes]].mean(axis=1) for i in (0, -1))
            text = f"{better} gains more over {worse} with the fewest examples than with the most"
            ends = dict.fromkeys(f"{x[0]:.0f} against {x[-1]:.0f}" for x in sizes.values())
            where = f"all targets: {', '.join(ends)}"
            expected = float(np.mean([of_target[0] - of_target[-1] for of_target in printed]))
            rows.append(claim(text, where, few - most, expected=expected))
    return judged(rows)


def _printed(better: str, worse: str) -> dict[str, dict[int, float]]:
    """The gains of Table 4 by target and number of training examples."""
    names = {PRINTED[better]: 1.0, PRINTED[worse]: -1.0}
    gains: dict[str, dict[int, float]] = {}
    for row in paper.table(4):
        of_target, examples = gains.setdefault(row["target"], {}), printed_examples(row)
        of_target[examples] = of_target.get(examples, 0.0) + names.get(row["model"], 0.0) * row["accuracy"]
    return gains

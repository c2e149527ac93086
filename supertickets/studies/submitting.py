"""What a sweep sends to the GLUE server: the predictions of the best seed, and what the server wants besides."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from supertickets.errors import SuperticketsError
from supertickets.runs import RunSpec, RunStore
from supertickets.tasks import answers, constant_answers, write_submission


def submit(path: str | Path, specs: Iterable[RunSpec], store: RunStore, kind: str = "winning") -> str:
    """Writes the zip for the server with one seed's predictions and says what is in it, in a sentence or a few.

    ``specs`` are those of :func:`supertickets.studies.experiments.on_test_sets`; ``kind`` is "winning" for the super
    tickets or "full". The seed is that with the best mean score over tasks on the *selection* split, of those that have
    every task (A.1.3). The tables that the server demands and the paper leaves out get constant answers. Raises
    SuperticketsError without such a seed, and as :func:`supertickets.tasks.write_submission` does.
    """
    mine = [spec for spec in specs if spec.ticket.kind == kind and spec.id in store]
    scores = {(spec.seed, spec.data.name): store[spec.id].metrics["selection"]["score"] for spec in mine}
    by_task = pd.Series(scores).unstack().dropna() if mine else pd.DataFrame()
    if by_task.empty:
        raise SuperticketsError(f"No seed has test predictions of a {kind} model for every task; run table2 first.")
    means, found = by_task.mean(axis=1), {}
    best = means.idxmax()
    for spec in mine:
        if spec.seed == best:
            found |= answers(spec.data.load(), store[spec.id].arrays["test_logits"])
    filled = {name: rows for name, rows in constant_answers().items() if name not in found}
    lacking = write_submission(path, {**found, **filled})
    constants = " and ".join(f"{name} (always {rows[0]})" for name, rows in filled.items())
    told = [
        f"{path} holds the predictions of seed {best}, whose mean selection score over {by_task.shape[1]} tasks, "
        f"{means[best]:.3f}, is the best of {len(means)} seeds, and constant answers for {constants}, which the server "
        "demands and no model here was trained for."
    ]
    return " ".join([*told, *lacking])

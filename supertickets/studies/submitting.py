"""What a sweep sends to the GLUE server: the predictions of the best seed, and what the server wants besides."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from supertickets.errors import SuperticketsError
from supertickets.runs import RunSpec, RunStore
from supertickets.tasks import CONSTANT_ANSWERS, answers, constant_answers, write_submission


def submit(path: str | Path, specs: Iterable[RunSpec], store: RunStore, kind: str = "winning") -> str:
    """Writes the zip for the server with one seed's predictions and says what is in it, in a sentence or a few.

    ``specs`` are those of :func:`supertickets.studies.experiments.on_test_sets`; ``kind`` is "winning" for the super
    tickets or "full". The seed is that with the best mean score over tasks on the *selection* split, of those that have
    every task (A.1.3). The tables that the server demands and the paper leaves out get constant answers
    (:data:`supertickets.tasks.CONSTANT_ANSWERS`). Raises SuperticketsError without such a seed, and as
    :func:`supertickets.tasks.write_submission` does.
    """
    mine = [spec for spec in specs if spec.ticket.kind == kind and spec.id in store]
    tasks = {spec.data.name for spec in mine}
    by_seed: dict[int, list[RunSpec]] = {}
    for spec in mine:
        by_seed.setdefault(spec.seed, []).append(spec)
    means = {
        seed: float(np.mean([store[spec.id].metrics["selection"]["score"] for spec in own]))
        for seed, own in by_seed.items()
        if {spec.data.name for spec in own} == tasks
    }
    if not means:
        raise SuperticketsError(f"No seed has test predictions of a {kind} model for every task; run table2 first.")
    best = max(means, key=means.__getitem__)
    found = {}
    for spec in by_seed[best]:
        found |= answers(spec.data.load(), store[spec.id].arrays["test_logits"])
    filled = {name: constant_answers(name) for name in CONSTANT_ANSWERS if name not in found}
    lacking = write_submission(path, {**found, **filled})
    constants = " and ".join(f"{name} (always {CONSTANT_ANSWERS[name]})" for name in filled)
    told = [
        f"{path} holds the predictions of seed {best}, whose mean selection score over {len(tasks)} tasks, "
        f"{means[best]:.3f}, is the best of {len(means)} seeds, and constant answers for {constants}, which the server "
        "demands and no model here was trained for."
    ]
    return " ".join([*told, *lacking])

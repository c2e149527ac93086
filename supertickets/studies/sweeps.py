"""Experiments by the names of the paper's tables and figures: what of them is done, and carrying out the rest.

Some runs depend on the outcome of others: a multi-task run needs super tickets, which are chosen on the scores of a
sweep. So an experiment comes in stages; the runs of a stage are known once those before it are in the store.
"""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from supertickets.engines import PROCESSES, Costs, Engine, Progress, Summary, carry_out, run_all
from supertickets.errors import SuperticketsError
from supertickets.models import encoder_revision
from supertickets.runs import RunStore, mean_report_score, placed
from supertickets.studies.experiments import stages
from supertickets.studies.inputs import HERE, Inputs
from supertickets.studies.profiles import Profile
from supertickets.training import run_conditions

MEASURED = 200
"""So many finished runs are read to estimate what others will take."""


def sweep(
    experiment: str,
    profile: Profile,
    store: RunStore,
    inputs: Inputs = HERE,
    workers: int | None = None,
    engine: Engine = PROCESSES,
    *,
    retry_failed: bool = False,
    progress: bool = True,
) -> Summary:
    """Carries out what is missing of an experiment, stage after stage, and says what was done.

    Killed at any moment, the same call goes on where it was; ``workers`` and ``engine`` are those of
    :func:`supertickets.engines.run_all`. Raises SuperticketsError as :func:`~supertickets.studies.experiments.stages`
    and it do.
    """
    finished, found, failed = {}, {}, {}
    # Of all records, since the runs of other experiments tell the cost of these as well.
    bar = Progress(experiment, progress, _measured(store) if progress else Costs())
    try:
        for stage in stages(experiment, profile, store, inputs):
            did = run_all(stage, store, workers, engine, retry_failed=retry_failed, progress=bar)
            finished |= dict.fromkeys(did.finished)
            found |= dict.fromkeys(did.found)
            failed |= did.failed
    finally:
        bar.close()
    # Stages share runs: what one carried out the next finds.
    return Summary(list(finished), [run_id for run_id in found if run_id not in finished], failed)


@dataclass(frozen=True)
class Verification:
    """A stored record beside the same run carried out again.

    ``difference`` is the largest difference of any output, ``score`` and ``again`` the mean report scores.
    ``same_setting`` says whether library versions, device and threads are those of the stored run: if so, everything
    must be identical; elsewhere rounding differs, and training may drift apart (:func:`drift`).
    """

    run: str
    difference: float
    score: float
    again: float
    same_setting: bool

    @property
    def ok(self) -> bool:
        """Whether the record stands: identical outputs, or another setting, which says nothing against it."""
        return self.difference == 0 or not self.same_setting

    def __str__(self) -> str:
        if self.difference == 0:
            return f"{self.run}: identical"
        where = "DIFFERS in the same setting" if self.same_setting else "differs, in another setting"
        far = f"outputs by up to {self.difference:.3g}, score {self.score:.4f}, now {self.again:.4f}"
        return f"{self.run}: {where}: {far}"


def drift(found: Sequence[Verification]) -> float:
    """By how much the mean report score of runs carried out in another setting differs from the stored ones; 0 if none.

    Another device draws other dropout masks and other libraries round otherwise, so that training drifts apart as
    between two seeds. On 500 examples of SST-2 two trainings of much the same model (all of MiniLM, and 80% of it)
    differ by 2.3 points (standard deviation), so the means of three pairs by 1.3: the command tolerates 0.05, nearly
    four times that. Wrong labels or weights cost more.
    """
    elsewhere = [one.again - one.score for one in found if not one.same_setting]
    return abs(sum(elsewhere)) / max(1, len(elsewhere))


def verify(store: RunStore, sample: int, seed: int = 0, data_dir: str | Path | None = None) -> Iterator[Verification]:
    """Carries out ``sample`` randomly chosen stored runs again, one by one, and compares; the store is left alone.

    ``data_dir`` holds the data of tasks other than the lab's, which a record does not place. Raises SuperticketsError
    if the store is empty, a run cannot be carried out, or its encoder is not what it was.
    """
    ids = store.ids()
    if not ids:
        raise SuperticketsError(f"The run store {store.path} holds no finished run; there is nothing to verify.")
    for run_id in sorted(drawn(ids, sample, random.Random(seed))):
        record = store[run_id]
        source = getattr(record.spec, "source", record.spec)
        if (here := encoder_revision(source.encoder)) != source.encoder_revision:
            told = f"The encoder {source.encoder} is not what it was for run {run_id}"
            raise SuperticketsError(f"{told}: it is {here} here.")
        with run_conditions():
            again = carry_out(placed(record.spec, data_dir), store)
        names = [name for name in record.arrays if name.endswith("logits")]
        difference = max(float(np.abs(record.arrays[name] - again.arrays[name]).max(initial=0)) for name in names)
        same = record.environment == again.environment
        yield Verification(run_id, difference, mean_report_score(record), mean_report_score(again), same)


def _measured(store: RunStore) -> Costs:
    """What some of a store's runs took, drawn at random."""
    costs = Costs()
    for record in store.records(drawn(store.ids(), MEASURED, random.Random(0))):
        costs.add(record.spec, record.timings.get("total", math.nan))
    return costs


def drawn(ids: Sequence[str], n: int, draw: random.Random) -> list[str]:
    """So many of the ids at random, or all."""
    return draw.sample(list(ids), min(n, len(ids)))

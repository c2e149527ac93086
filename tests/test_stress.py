"""Dozens of kills at random moments: in the end the store is that of a sweep that nobody disturbed."""

import os
import random
import signal
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from disturbed import alive, assert_undisturbed, left_over, make_old, results, start_sweep, wait_until, workers_of
from tiny import toy_full_run, write_toy_task

from supertickets.engines import run_all
from supertickets.runs import AdaptationSpec, RunSpec, RunStore, SharingSpec, Spec, TicketRule
from supertickets.studies import ticket_sweep
from supertickets.tasks import data_ref

KILLS = 50
WORKERS = 2


def every_kind_of_run(encoder: Path, toy: Path, other: Path) -> list[Spec]:
    """Single-task runs of two tasks, multi-task runs on tickets read off them, and adaptations of both."""
    columns = {"text": ("text",), "label": "verdict"}
    other_data = data_ref(train=(other / "train.csv").rename(other / "other.csv"), dev=other / "dev.csv", **columns)
    specs: list[Spec] = []
    for seed in range(4):
        full = toy_full_run(encoder, toy, seed, epochs=20, patience=20)
        pair = [full, replace(full, data=other_data)]
        sweeps = [ticket_sweep(one, (0.3, 0.6), ("winning", "random")) for one in pair]
        rules = tuple(TicketRule("winning", 0.3, one.id) for one in pair)
        shared = [shared_run(pair, tickets, seed) for tickets in (rules, (TicketRule(), TicketRule()))]
        sources = [full, sweeps[0][1], replace(shared[0], fine_tuning=())]
        adapted = [
            AdaptationSpec(source, other_data, 0.5, draw, hyper=full.hyper, selection_fraction=0.3)
            for source in sources
            for draw in (0, 1)
        ]
        specs += [*sweeps[0], *sweeps[1], *shared, *adapted]
    return specs


def shared_run(pair: list[RunSpec], tickets: tuple[TicketRule, ...], seed: int) -> SharingSpec:
    return SharingSpec(
        encoder=pair[0].encoder,
        encoder_revision=pair[0].encoder_revision,
        data=tuple(full.data for full in pair),
        tickets=tickets,
        dropouts=(0.1, 0.1),
        seed=seed,
        hyper=pair[0].hyper,
        fine_tuning=(pair[0].hyper,),
        selection_fraction=0.3,
    )


@dataclass
class Havoc:
    """One sweep after another, each disturbed until it is over or its driver is killed."""

    specs: list[Spec]
    path: Path
    rng: random.Random
    kills: dict[str, int] = field(default_factory=lambda: {"worker": 0, "driver": 0, "everyone": 0})
    sweeps: int = 0

    def run(self, kills: int) -> None:
        """Sweeps until so many processes were killed; once there are no more runs to disturb, records are removed."""
        while sum(self.kills.values()) < kills:
            self.forget_some_records()
            process = start_sweep(self.specs, self.path, WORKERS)
            self.sweeps += 1
            try:
                while process.poll() is None and sum(self.kills.values()) < kills and self.kill_one(process.pid):
                    pass
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                process.communicate()

    def forget_some_records(self) -> None:
        """As many runs are left to do as the kills need, without parents of others, which are not to go."""
        store = RunStore(self.path)
        parents = {parent for spec in self.specs for parent in spec.parents}
        there = [run for run in store.ids() if run not in parents]
        if len(self.specs) - len(store) < 20:
            for run_id in self.rng.sample(there, min(20, len(there))):
                for file in self.path.glob(f"runs/*/{run_id}*"):
                    file.unlink()

    def kill_one(self, driver: int) -> bool:
        """Kills something at a random moment after the workers are at work; whether the driver lives on."""
        store = RunStore(self.path)
        pids = set(workers_of(driver))
        wait_until(lambda: not alive(driver) or at_work(store, workers_of(driver)))
        time.sleep(self.rng.expovariate(1 / 0.4))
        pids = workers_of(driver)
        if not alive(driver) or not pids:
            return alive(driver)
        what = self.rng.choices(["worker", "driver", "everyone"], [6, 1, 1])[0]
        self.kills[what] += 1
        if what == "worker":
            os.kill(self.rng.choice(pids), signal.SIGKILL)
            wait_until(lambda: not alive(driver) or not set(pids) & set(workers_of(driver)))  # the pool is made anew
        elif what == "driver":
            os.kill(driver, signal.SIGKILL)
        else:
            os.killpg(driver, signal.SIGKILL)
        return what == "worker"


def at_work(store: RunStore, pids: list[int]) -> bool:
    return any(claim.get("pid") in pids for claim in store.claims().values())


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", [0])
def test_fifty_random_kills_change_nothing(seed, encoder, toy, tmp_path):
    """Of single workers, of drivers, whose workers live on for a while, and of whole sweeps, at random moments."""
    specs = every_kind_of_run(encoder, toy, write_toy_task(tmp_path / "other", n_train=56, n_dev=50))
    undisturbed = RunStore(tmp_path / "undisturbed")
    assert run_all(specs, undisturbed, workers=1, progress=False).failed == {}
    started = time.monotonic()
    havoc = Havoc(specs, tmp_path / "store", random.Random(seed))
    havoc.run(KILLS)
    store = RunStore(tmp_path / "store")
    before = store.failures()
    last = time.time()
    summary = run_all(specs, store, workers=WORKERS, progress=False, retry_failed=True)
    told = f"seed {seed}: {havoc.kills} kills in {havoc.sweeps} sweeps, {time.monotonic() - started:.0f} s"
    attempts = sum(log.read_text().count(" started on ") for log in Path(store.path).glob("logs/*.log"))
    print(f"{told}; {len(specs)} runs, {attempts} attempts, last sweep: {summary}, noted as failed before: {before}")
    assert summary.failed == {}, told
    assert all("killed twice" in error for error in before.values()), told
    assert store.ids() == sorted(spec.id for spec in specs), told
    assert results(store, specs).equals(results(undisturbed, specs)), told
    young = [name for name in left_over(store) if (Path(store.path) / name).stat().st_mtime > last]
    assert young == [], told
    for name in left_over(store):  # half-written files of the killed, which go when they are an hour old
        assert name.endswith((".tmp", ".half", ".void")), told
        make_old(Path(store.path) / name, 4000)
    for folder in Path(store.path).glob("models/.*"):
        make_old(folder, 100_000)
    assert len(run_all(specs, store, workers=1, progress=False).found) == len(specs), told
    assert list(Path(store.path).glob("models/.*")) == [], told
    assert_undisturbed(store, specs, undisturbed)

"""Scheduling with made-up workers, and the time left."""

import math
from collections.abc import Hashable, Sequence
from types import SimpleNamespace

import pytest
from tiny import toy_full_run

from supertickets.engines import Costs, Engine, Progress, likeness
from supertickets.engines import progress as progresses
from supertickets.engines.scheduling import MAX_WORKER_DEATHS, Outcome, Pool, scheduled
from supertickets.errors import SuperticketsError
from supertickets.studies import ticket_sweep


@pytest.fixture(scope="module")
def specs(encoder, toy):
    """Two full runs with two tickets each."""
    kinds = ("winning", "losing")
    return [spec for seed in (0, 1) for spec in ticket_sweep(toy_full_run(encoder, toy, seed), (0.3,), kinds)]


def played(specs, fates, size=2):
    """What scheduling makes of workers whose every run meets the next of its fates, or else is done.

    Returns the outcomes by id, the ids in the order of their starts with how many ran beside, and what was given up.
    """
    by_id, under_way, starts, given_up, closed = {spec.id: spec for spec in specs}, [], [], [], []
    fates = {run_id: list(kinds) for run_id, kinds in fates.items()}

    def submit(spec) -> Hashable:
        starts.append((spec.id, len(under_way)))
        under_way.append(spec.id)
        return spec.id

    def wait(handles: Sequence[Hashable], _seconds: float) -> list[tuple[Hashable, Outcome]]:
        handle = handles[0]
        under_way.remove(handle)
        kind = fates[handle].pop(0) if fates.get(handle) else "done"
        return [(handle, Outcome(kind, "its fate" if kind == "failed" else ""))]

    pool = Pool(lambda: size, submit, wait, closed.append)
    outcomes = {
        run_id: outcome
        for run_id, outcome, _ in scheduled(by_id, pool, lambda _: None, lambda *what: given_up.append(what))
    }
    assert closed == [[]]
    return outcomes, starts, given_up


def test_parents_go_first_and_every_run_once(specs):
    outcomes, starts, _ = played(list(reversed(specs)), {})
    order = [run_id for run_id, _ in starts]
    assert sorted(order) == sorted(spec.id for spec in specs)
    assert all(order.index(parent) < order.index(spec.id) for spec in specs for parent in spec.parents)
    assert max(beside for _, beside in starts) == 1  # two at once, never more
    assert {outcome.kind for outcome in outcomes.values()} == {"done"}


def test_children_of_a_failed_run_are_told_so_and_not_started(specs):
    parent = specs[0]
    outcomes, starts, _ = played(specs, {parent.id: ["failed"]})
    children = [spec.id for spec in specs if parent.id in spec.parents]
    assert len(children) == 2
    assert [outcomes[child].error for child in children] == [f"its parent run {parent.id} failed"] * 2
    assert not {run_id for run_id, _ in starts} & {*children}
    assert sum(outcome.kind == "done" for outcome in outcomes.values()) == 3


def test_a_run_that_kills_its_workers_is_tried_alone_and_given_up(specs):
    killer = specs[1].id
    outcomes, starts, given_up = played(specs, {killer: ["died"] * 9})
    assert outcomes[killer].kind == "failed"
    assert "killed twice" in outcomes[killer].error
    assert [spec.id for spec, _ in given_up] == [killer]
    besides = [beside for run_id, beside in starts if run_id == killer]
    assert besides[-MAX_WORKER_DEATHS:] == [0] * MAX_WORKER_DEATHS
    assert sum(outcome.kind == "done" for outcome in outcomes.values()) == 5


def test_a_lost_node_never_makes_a_run_fail(specs):
    outcomes, starts, given_up = played(specs, {specs[1].id: ["lost"] * 9})
    assert {outcome.kind for outcome in outcomes.values()} == {"done"}
    assert [run_id for run_id, _ in starts].count(specs[1].id) == 10
    assert given_up == []


def test_a_run_that_another_sweep_has_is_asked_for_again(specs):
    outcomes, starts, _ = played(specs, {specs[0].id: ["busy", "found"]})
    assert outcomes[specs[0].id].kind == "found"
    assert [run_id for run_id, _ in starts].count(specs[0].id) == 2
    assert len(outcomes) == 6


def test_the_time_left_is_that_of_all_stages_known(specs):
    bar = Progress("table1", shown=False)
    bar.expect(specs[:3])
    assert math.isnan(bar.seconds_left())
    bar.over(specs[0], "done", 10.0)
    assert bar.seconds_left() == 20.0  # the tickets cost what the full run did, as far as is known
    bar.over(specs[1], "done", 4.0)
    assert bar.seconds_left() == 7.0  # another kind of ticket: the mean of its task
    bar.expect(specs[3:])
    assert bar.seconds_left() == 7.0 + 10.0 + 4.0 + 7.0
    bar.workers, bar.under_way = 2, {specs[3].id: 0.5}
    assert bar.seconds_left() == (7.0 + 5.0 + 4.0 + 7.0) / 2
    recorded = Costs()
    recorded.add(specs[0], 3.0)
    assert Costs({**recorded.sums, **bar.measured.sums}).of(likeness(specs[0])) == 10.0  # this sweep's count


def test_a_log_gets_a_line_now_and_then(specs, monkeypatch, capsys):
    monkeypatch.setattr(progresses, "EVERY", 0.0)
    bar = Progress("table1", next_line=0.0)
    bar.expect(specs)
    bar.over(specs[0], "done", 600.0)
    bar.over(specs[1], "failed", 1.0, "no luck")
    bar.close()
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "table1: 0.0 of 6 runs, time left unknown",
        "table1: 1.0 of 6 runs, 50 min left",
        "table1: 2.0 of 6 runs, 40 min left, 1 failed",
    ]


def test_a_notebook_gets_a_bar_that_is_redrawn(specs, monkeypatch):
    drawn = []
    cell = SimpleNamespace(update=lambda html: drawn.append(html.data))
    monkeypatch.setattr(progresses, "_in_notebook", lambda: True)
    monkeypatch.setattr("IPython.display.display", lambda html, display_id: cell)
    bar = Progress("Lab")
    bar.expect(specs[:2])
    bar.over(specs[0], "done", 90.0)
    bar.look([specs[1].id], 1, lambda run: 0.5)
    bar.over(specs[1], "done", 90.0)
    assert drawn == [
        "<progress max='2' value='1.5'></progress> Lab: 1.5 of 2 runs, 45 s left",
        "<progress max='2' value='2.0'></progress> Lab: 2.0 of 2 runs, done",
    ]


def test_an_unknown_engine_is_refused(specs, tmp_path):
    with pytest.raises(SuperticketsError, match="Unknown engine 'slurm'; known: local, processes, ray"):
        Engine("slurm")
    with pytest.raises(SuperticketsError, match=r"engine processes has no address \(h:1\): say --engine ray too"):
        Engine("processes", address="h:1")

"""Plans and sweeps by the names of tables and figures, and the commands around them."""

import dataclasses

import pytest
from tiny import command_line

from supertickets.errors import SuperticketsError
from supertickets.runs import RunStore, readable
from supertickets.studies import get_profile, plan, sweep, verify
from supertickets.studies.experiments import EXPERIMENTS, stages

ONE = get_profile("smoke", tasks="entailment", seeds=[0], levels=[0.3])


@pytest.fixture(scope="module")
def swept(tmp_path_factory) -> RunStore:
    """Table 2 at the smallest scale: a full model and one winning ticket, then both on the test set."""
    store = RunStore(tmp_path_factory.mktemp("swept"))
    assert not sweep("table2", ONE, store, workers=1, progress=False).failed
    return store


def test_a_sweep_goes_through_the_stages_and_its_plan_is_then_done(swept):
    found = plan("table2", ONE, swept)
    assert (len(found.done), len(found.missing)) == (4, 0)
    assert not found.open_ended
    assert str(found) == "table2: 4 of 4 runs done, 0 missing"
    again = sweep("table2", ONE, swept, workers=1, progress=False)
    assert (again.finished, len(again.found)) == ([], 4)


def test_every_experiment_has_runs_and_an_unknown_one_is_refused(tmp_path):
    store = RunStore(tmp_path)
    for name in EXPERIMENTS:  # smoke has no training sets for other ways to find a ticket
        assert len(next(stages(name, get_profile("lab") if name == "search" else ONE, store))), name
    everything = plan("all", ONE, store)
    assert len(everything.missing) > max(len(plan(name, ONE, store).missing) for name in EXPERIMENTS)
    with pytest.raises(SuperticketsError, match="Unknown experiment 'table99'; known: rates, figure1"):
        plan("table99", ONE, store)


def test_a_stored_run_is_verified_by_carrying_it_out_again(swept, tmp_path):
    before = swept.ids()
    found = list(verify(swept, 2))
    assert [one.difference for one in found] == [0, 0]
    assert all(one.ok and str(one).endswith("identical") for one in found)
    assert swept.ids() == before
    # A record whose outputs are not those of its spec does not stand.
    record = swept[before[0]]
    forged = RunStore(tmp_path)
    for each in swept.records(arrays=True):
        arrays = {**each.arrays, "dev_logits": each.arrays["dev_logits"] + (each.id == record.id)}
        forged.save(dataclasses.replace(each, arrays=arrays))
    verdicts = {one.run: one for one in verify(forged, 99)}
    assert not verdicts[record.id].ok
    assert "DIFFERS in the same setting: outputs by up to 1" in str(verdicts[record.id])
    assert sum(not one.ok for one in verdicts.values()) == 1
    elsewhere = dataclasses.replace(verdicts[record.id], same_setting=False)
    assert elsewhere.ok
    with pytest.raises(SuperticketsError, match="nothing to verify"):
        list(verify(RunStore(tmp_path / "empty"), 1))


def test_the_commands(swept, monkeypatch, capsys, tmp_path):
    code, out, _ = command_line(monkeypatch, capsys, "verify", "--store", swept.path, "--sample", "1")
    assert code == 0
    assert out.endswith("identical\n")
    code, _, err = command_line(monkeypatch, capsys, "sweep", "table7", "--store", str(tmp_path))
    assert code == 2
    assert err.startswith("supertickets: Unknown experiment 'table7'; known: rates, figure1")
    code, _, err = command_line(monkeypatch, capsys, "plan", "table1", "--profile", "huge", "--store", str(tmp_path))
    assert code == 2
    assert "Unknown profile 'huge'" in err


def test_a_failed_run_is_told_and_retried(encoder, toy, monkeypatch, capsys, tmp_path):
    from tiny import command_line, toy_full_run

    store = RunStore(tmp_path)
    store.fail(toy_full_run(encoder, toy, epochs=1), "the disk was full")
    code, out, err = command_line(monkeypatch, capsys, "status", "--store", store.path)
    assert (code, out.split(" in ")[0]) == (0, "0 runs done, 0 under way, 1 failed")
    assert "failed: the disk was full" in err
    code, out, _ = command_line(monkeypatch, capsys, "retry", "--store", store.path, "--workers", "1", "--quiet")
    assert (code, out) == (0, "1 runs carried out, 0 found in the store\n")
    assert store.failures() == {}
    bad = toy_full_run(encoder, toy, learning_rate=1e30)
    store.fail(bad, "diverged")
    code, _, err = command_line(monkeypatch, capsys, "retry", "--store", store.path, "--workers", "1", "--quiet")
    assert code == 1
    assert f"{bad.id} failed: The loss of task train" in err


def test_times_are_readable():
    assert [readable(seconds) for seconds in (3, 119, 600, 7260)] == ["3 s", "2 min", "10 min", "2 h 01 min"]

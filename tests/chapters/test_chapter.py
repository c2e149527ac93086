"""A chapter's scales: recorded runs without data or encoder, and runs carried out here."""

from dataclasses import replace
from pathlib import Path

import pytest

from supertickets.chapters import chapter as chapters
from supertickets.chapters.chapter import Chapter, each
from supertickets.chapters.display import measured
from supertickets.runs import RunStore, pack
from supertickets.studies import get_profile
from supertickets.studies.profiles import TrainingSets

ONE = get_profile("smoke", tasks="entailment", seeds=[0], levels=[0.3])


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A folder of recorded runs: what ``smoke`` is here stands for a real encoder."""
    folder = tmp_path_factory.mktemp("results")
    live = Chapter(ONE, str(folder / "runs"))
    assert live.here().frame("table1")["kind"].tolist() == ["full", "winning", "random", "losing"]
    pack(RunStore(str(folder / "runs")).records(arrays=True), folder / "recorded.zip")
    return folder


def test_recorded_runs_are_shown_without_the_data_they_came_from(results, tmp_path, monkeypatch):
    recorded = replace(ONE, name="recorded", seeds=(0, 1))
    monkeypatch.setattr(chapters, "RECORDED", {"recorded": "Recorded", "never": "Never"})
    known = {"recorded": recorded, "never": replace(recorded, name="never", encoder="another")}
    monkeypatch.setattr(chapters, "get_profile", known.__getitem__)
    chapter = Chapter(replace(ONE, seeds=(0,)), f"{tmp_path},{results / 'recorded.zip'}", str(results))
    first, here = chapter.scales("table1")  # nothing of the other encoder was ever recorded
    carried_out = set(here.frame("table1")["run"])
    monkeypatch.setattr("supertickets.tasks.sources._load", lambda *_: pytest.fail("the data were asked for"))
    assert (first.key, first.live, here.key, here.live) == ("recorded", False, "smoke", True)
    assert len(first.frame("table1")) == 4
    assert "Recorded: 4 of 8 runs" in first.told("table1")
    assert "None yet" not in first.told("table1")  # of its one task there are some
    assert {record.id for record in first.records("table1")} == carried_out
    # Verdicts wait for the second seed.
    assert (len(first.judged("table1")), len(here.judged("table1"))) == (0, 4)
    assert (first.so_far("table1"), here.so_far("table1")) == ("So far 0 of 1 planned tasks.", "")
    # Of the experiments that nobody recorded there is a sentence, and no tab.
    assert chapter.recorded["never"].told("table1") == "Never: no runs recorded yet."
    assert first.told("table3") == "Recorded: no runs recorded yet."
    assert chapter.scales("table3")[:-1] == []


def test_the_large_models_recorded_runs_are_found_and_the_labs_own_are_made_anew(results, tmp_path):
    chapter = Chapter(ONE, str(tmp_path / "runs"), str(results))
    specs = [spec for stage in chapter.here().specs("table1") for spec in stage]
    assert [spec.id in chapter.here().store for spec in specs] == [True] * 4
    found = RunStore(str(tmp_path / "runs"))
    assert len(found.ids()) == 4  # carried out here, though a pack holds the same
    larger = chapter.at(replace(ONE, name="larger"))
    assert "4 of 4 runs" in larger.told("table1") and len(larger.store.path.split(",")) == 2


@pytest.mark.parametrize("name", chapters.TAKEN)
def test_of_the_labs_own_runs_those_in_some_packs_are_not_made_anew(results, tmp_path, name):
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / name).write_bytes((results / "recorded.zip").read_bytes())
    here = Chapter(ONE, str(tmp_path / "runs"), str(folder)).here()
    assert "4 of 4 runs" in here.told("table1")
    assert not (tmp_path / "runs" / "runs").exists()


def test_of_recorded_runs_a_seed_counts_when_its_sweep_is_whole(results, tmp_path, monkeypatch):
    recorded = replace(ONE, name="recorded")
    monkeypatch.setattr(chapters, "RECORDED", {"recorded": "Recorded"})
    monkeypatch.setattr(chapters, "get_profile", lambda _: recorded)
    records = RunStore(str(results / "recorded.zip")).records(arrays=True)
    pack([record for record in records if record.spec.ticket.kind != "losing"], tmp_path / "part.zip")
    part = Chapter(ONE, str(tmp_path), str(tmp_path)).recorded["recorded"]
    assert part.frame("table1").empty
    assert "3 of 4 runs" in part.told("table1")
    assert part.frame("figure6")["kind"].tolist() == ["full"]
    assert (
        len(
            replace(part, profile=replace(recorded, levels_by_kind={"losing": ()}), _specs={}, _frames={}).frame(
                "table1"
            )
        )
        == 3
    )


def test_without_packs_the_book_has_what_is_carried_out_here(results, tmp_path):
    nothing = tmp_path / "none"
    nothing.mkdir()
    for folder in ("", str(nothing), str(tmp_path / "gone")):
        chapter = Chapter(ONE, str(results / "runs"), folder)
        (scale,) = chapter.scales("table1")
        assert chapter.told("table1").count("no runs recorded yet") == (len(chapters.RECORDED) if folder else 0)
        assert scale.title == "Smoke"
        assert "4 of 4 runs" in scale.told("table1")


def test_places_named_from_the_notebooks_are_found_from_the_root_too(results, tmp_path, monkeypatch):
    root = tmp_path / "root"
    (root / "notebooks").mkdir(parents=True)
    (root / "book" / "results").mkdir(parents=True)
    (root / "book" / "results" / chapters.TAKEN[0]).write_bytes((results / "recorded.zip").read_bytes())
    for folder in (root, root / "notebooks"):  # papermill's and JupyterLab's
        monkeypatch.chdir(folder)
        stores = Chapter(ONE, "../runs", "../book/results").here().store.path.split(",")
        assert [Path(store).resolve() for store in stores] == [
            root / "runs",
            root / "book" / "results" / chapters.TAKEN[0],
        ]


def test_each_scale_has_a_tab(results, monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda made: shown.append(made.data))
    here = Chapter(ONE, str(results / "runs")).here()
    for scale in each([here, here]):
        measured(scale.title)
    (made,) = shown
    assert made.count('data-tab="smoke"') == 2


def test_tasks_and_sizes_are_apart_and_judged_when_all_of_their_planned_runs_are_there(results, tmp_path):
    planned = [("entailment", 24), ("entailment", 32), ("paraphrase", 32)]
    light = replace(ONE, light=tuple(TrainingSets(task, size, 1) for task, size in planned))
    scale = Chapter(light, str(tmp_path)).here()
    whole = scale.by_task_and_size("light")
    assert [(key, len(rows)) for key, rows in whole.items()] == [(key, 4) for key in planned]
    lost = scale.specs("light")[0][-1]
    next(tmp_path.glob(f"runs/*/{lost.id}.json")).unlink()
    assert list(replace(scale, live=False, _frames={}).by_task_and_size("light")) == planned[:2]

"""Table 3 and the claims about sharing."""

import numpy as np
import pandas as pd
import pytest
from sharing_frames import made_up

from supertickets.chapters.multi_task.tables import averages, rates_tried, table3
from supertickets.engines import run_all
from supertickets.errors import SuperticketsError
from supertickets.runs import RunStore
from supertickets.studies import get_profile, phase_transition
from supertickets.studies.experiments import multi_task


def test_table_3_at_the_smallest_scale(tmp_path):
    profile = get_profile("smoke", seeds=[0, 1], levels=[0.2])
    store, single = RunStore(str(tmp_path)), phase_transition(profile, ["winning"])
    run_all(single, store, workers=1, progress=False).raise_if_failed()
    specs = multi_task(profile, store.frame(single))
    assert [spec.model for spec in specs] == ["MT-DNN", "Ticket-Share"] * 2
    assert {len(spec.parents) for spec in specs} == {0, 2}
    run_all(specs, store, workers=1, progress=False).raise_if_failed()
    frame = store.frame(specs)
    assert set(frame["task_dropout"]) == {0.1}
    single_rate = multi_task(profile, store.frame(single), rate=2e-3, fine_tuned=False)
    assert {(spec.hyper.learning_rate, spec.fine_tuning) for spec in single_rate} == {(2e-3, ())}
    table = table3(frame)
    assert list(table["model"]) == [
        "MT-DNN",
        "MT-DNN + ST fine-tuning",
        "Ticket-Share",
        "Ticket-Share + ST fine-tuning",
    ]
    assert list(table["paper: average"]) == [82.4, 84.6, 83.3, 85.6]
    assert table["stored (%)"].iloc[0] == 100
    assert table["average compression (%)"].iloc[2] <= table["stored (%)"].iloc[2] < 100
    partial = multi_task(profile, store.frame(single[:2]))  # one task of one seed: no Ticket-Share run
    assert [spec.model for spec in partial] == ["MT-DNN"] * 2


def tried(selection: dict[tuple[str, str], float], report: float) -> pd.DataFrame:
    """Made-up runs, fine-tuned at a second rate too, whose selection score is better where ``selection`` says so."""
    frame = made_up(0.05).assign(selection_score=0.5)
    other = frame.loc[frame["stage"] == "fine-tuned"].assign(learning_rate=5e-4, report_score=report)
    better = [selection.get(key, -0.1) for key in zip(other["model"], other["task"], strict=True)]
    return pd.concat([frame, other.assign(selection_score=0.5 + np.array(better))], ignore_index=True)


def test_every_row_is_fine_tuned_at_the_rate_that_the_selection_split_chooses():
    frame = tried({("MT-DNN", "tiny"): 0.1}, report=0.9)
    table = table3(frame).set_index("model")
    assert table.loc["MT-DNN + ST fine-tuning", "tiny"] == pytest.approx(90.0)
    assert table.loc["MT-DNN + ST fine-tuning", "big"] == pytest.approx(80.0, abs=0.2)
    assert table.loc["Ticket-Share + ST fine-tuning", ["tiny", "big"]].tolist() == pytest.approx([85.0] * 2, abs=0.2)
    rates = rates_tried(frame).set_index(["model", "task"])
    assert rates.loc[("MT-DNN + ST fine-tuning", "tiny"), ["chosen", "at 0.0005", "at 0.001"]].tolist() == (
        ["0.0005", pytest.approx(60), pytest.approx(50)]
    )
    assert rates.loc[("Ticket-Share", "all"), "chosen"] == "0.001"
    assert rates.loc[("MT-DNN", "all"), "paper: chosen"] == "5e-05"
    assert rates.loc[("MT-DNN + ST fine-tuning", "big"), "paper: chosen"] == "1e-05 to 0.0002, of 5"


def test_models_are_trained_together_at_the_rate_that_the_selection_split_chooses():
    """The score of one rate is luck: of another rate, where only MT-DNN is better, MT-DNN alone is taken."""
    frame = made_up(0.05).assign(selection_score=0.5)
    again = frame.assign(run=frame["run"] + " again", report_score=0.9)
    again["learning_rate"] = np.where(again["stage"] == "multi-task", 2e-3, 1e-3)
    again["selection_score"] = np.where(again["model"] == "MT-DNN", 0.6, 0.4)
    alone = again.loc[again["stage"] == "multi-task"].assign(run=again["run"] + " alone")  # before it was fine-tuned
    table = table3(pd.concat([frame, alone, again], ignore_index=True)).set_index("model")
    assert table["average"].tolist() == pytest.approx([90.0, 90.0, 85.0, 85.0], abs=0.2)
    assert table["seeds"].tolist() == [5] * 4


def test_seeds_without_every_task_do_not_count():
    frame = made_up(0.05)
    lacking = frame.loc[~((frame["seed"] == 2) & (frame["task"] == "big") & (frame["model"] == "MT-DNN"))]
    assert len(averages(lacking)["MT-DNN"].dropna()) == 4
    with pytest.raises(SuperticketsError, match="no finished multi-task runs"):
        table3(pd.DataFrame())

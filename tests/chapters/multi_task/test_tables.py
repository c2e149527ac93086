"""Table 3 and the claims about sharing."""

import pandas as pd
import pytest
from sharing_frames import made_up

from supertickets.chapters.multi_task.tables import averages, table3
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


def test_seeds_without_every_task_do_not_count():
    frame = made_up(0.05)
    lacking = frame.loc[~((frame["seed"] == 2) & (frame["task"] == "big") & (frame["model"] == "MT-DNN"))]
    assert len(averages(lacking)["MT-DNN"].dropna()) == 4
    with pytest.raises(SuperticketsError, match="no finished multi-task runs"):
        table3(pd.DataFrame())

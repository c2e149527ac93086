"""Table 3 and the claims about sharing."""

import numpy as np
import pandas as pd
import pytest

from supertickets.chapters.multi_task.claims import sharing_claims
from supertickets.chapters.multi_task.tables import averages, table3
from supertickets.engines import run_all
from supertickets.errors import SuperticketsError
from supertickets.runs import RunStore
from supertickets.studies import get_profile, multi_task, phase_transition


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


def made_up(gain: float, small: float = 0.0) -> pd.DataFrame:
    """Five seeds of two tasks by hand; Ticket-Share gains so much, and so much more on the small task."""
    rng = np.random.default_rng(0)
    rows = []
    for seed in range(5):
        for task in ("big", "tiny"):
            for model in ("MT-DNN", "Ticket-Share"):
                for stage in ("multi-task", "fine-tuned"):
                    score = 0.8 + 0.001 * rng.normal() + (model == "Ticket-Share") * (gain + small * (task == "tiny"))
                    row = {"model": model, "stage": stage, "task": task, "seed": seed, "report_score": score}
                    rows.append({**row, "run": f"{model} {seed}"})
    found = pd.DataFrame(rows).assign(average_compression=0.9, stored=1.0, learning_rate=1e-3)
    return found.assign(train_examples=found["task"].replace({"big": 1000, "tiny": 10}))


def test_the_claims_follow_the_scores():
    up = sharing_claims(made_up(0.05))
    assert list(up["verdict"]) == ["supported"] * 4
    level = sharing_claims(made_up(0.0, small=0.03))
    assert list(level["verdict"])[2:] == ["supported", "supported"]
    down = sharing_claims(made_up(-0.05))
    assert list(down["verdict"]) == ["not supported"] * 4
    assert "tiny" in level["claim"].iloc[2]


def test_seeds_without_every_task_do_not_count():
    frame = made_up(0.05)
    lacking = frame.loc[~((frame["seed"] == 2) & (frame["task"] == "big") & (frame["model"] == "MT-DNN"))]
    assert len(averages(lacking)["MT-DNN"].dropna()) == 4
    assert sharing_claims(lacking)["seeds"].iloc[0] == 4
    with pytest.raises(SuperticketsError, match="no finished multi-task runs"):
        table3(pd.DataFrame())

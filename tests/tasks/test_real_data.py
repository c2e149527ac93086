"""The reader on the real data that may lie beside the repository (../shared/data); skipped where it does not."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from supertickets.errors import SuperticketsError
from supertickets.tasks import load_task, split_dev
from supertickets.tasks.submission import FILES

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="no real data in ../shared/data beside the repository")

# Rows and label counts as the data's own table gives them: train rows, dev rows, dev label counts in class order.
EXPECTED = {
    "CoLA": (8551, 1043, [322, 721]),
    "SST-2": (67349, 872, [428, 444]),
    "MRPC": (3668, 408, [129, 279]),
    "QQP": (11948, 8403, [5365, 3038]),
    "STS-B": (5749, 1500, None),
    "QNLI": (20534, 5463, [2702, 2761]),
    "RTE": (2490, 277, [146, 131]),
    "MNLI": (27566, 10815, [3479 + 350, 3123 + 316, 3213 + 334]),
    "SNLI": (24950, 9842, [3329, 3235, 3278]),
    "SciTail": (548, 1304, [657, 647]),
}
CHOSEN: dict[str, dict] = {
    "QQP": {"train": "train_subset_natural.tsv.gz"},
    "MNLI": {"dev": ("dev_matched.tsv.gz", "dev_mismatched_1k.tsv.gz")},
}


@pytest.mark.parametrize("name", EXPECTED)
def test_each_task_reads_whole_and_quickly(name):
    started = time.process_time()
    made = load_task(name, data_dir=DATA, **CHOSEN.get(name, {}))
    assert time.process_time() - started < 20
    n_train, n_dev, counts = EXPECTED[name]
    assert (len(made.train), len(made.dev)) == (n_train, n_dev)
    if counts is None:
        assert made.dev.labels.mean() == pytest.approx(2.3639, abs=1e-4)
    else:
        assert np.bincount(made.dev.labels).tolist() == counts
    assert split_dev(made).mean() == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize("name", CHOSEN)
def test_where_there_is_a_choice_it_is_asked_for(name):
    with pytest.raises(SuperticketsError, match=r"has several files for its .* split"):
        load_task(name, data_dir=DATA)


@pytest.mark.parametrize("name", ["CoLA", "SST-2", "MRPC", "STS-B", "QNLI", "RTE"])
def test_test_splits_have_as_many_rows_as_the_server_expects(name):
    test = load_task(name, data_dir=DATA, with_test=True, train_size=100, train_seed=3).test
    assert test is not None
    assert len(test) == FILES[name].rows
    assert test.labelled == (name in ("SST-2", "MRPC", "STS-B"))

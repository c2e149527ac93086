"""Metrics, against scikit-learn and SciPy, and the score."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from supertickets.errors import SuperticketsError
from supertickets.tasks import score
from supertickets.tasks.task import metric_values

# --- metrics --------------------------------------------------------------------------------------------------------


def test_metrics_agree_with_scikit_learn_and_scipy():
    rng = np.random.default_rng(0)
    labels, logits = rng.integers(0, 2, 60), rng.normal(size=(60, 2))
    predicted = logits.argmax(1)
    assert metric_values(["accuracy", "f1", "mcc"], labels, logits) == pytest.approx(
        {
            "accuracy": sk.accuracy_score(labels, predicted),
            "f1": sk.f1_score(labels, predicted),
            "mcc": sk.matthews_corrcoef(labels, predicted),
        }
    )
    truth, outputs = rng.uniform(0, 5, 60), rng.normal(size=(60, 1))
    assert metric_values(["pearson", "spearman"], truth, outputs) == pytest.approx(
        {
            "pearson": np.corrcoef(truth, outputs[:, 0])[0, 1],
            "spearman": np.corrcoef(stats.rankdata(truth), stats.rankdata(outputs))[0, 1],
        }
    )


def test_metrics_by_hand():
    # 3 true positives, 1 false positive, 2 false negatives, 4 true negatives
    labels = np.array([1, 1, 1, 0, 1, 1, 0, 0, 0, 0])
    logits = np.eye(2)[[1, 1, 1, 1, 0, 0, 0, 0, 0, 0]]
    assert metric_values(["accuracy", "f1", "mcc"], labels, logits) == pytest.approx(
        {"accuracy": 0.7, "f1": 6 / 9, "mcc": (3 * 4 - 1 * 2) / np.sqrt(4 * 5 * 5 * 6)}
    )


def test_constant_predictions_and_labels_count_as_zero_without_a_warning():
    constant = np.tile([0.0, 1.0], (4, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert metric_values(["mcc"], np.array([0, 1, 0, 1]), constant) == {"mcc": 0.0}
        assert metric_values(["mcc"], np.ones(4, int), np.eye(2)[[0, 1, 0, 1]]) == {"mcc": 0.0}
        assert metric_values(["f1"], np.array([0, 1, 0, 1]), constant[:, ::-1]) == {"f1": 0.0}
        both = ["pearson", "spearman"]
        assert metric_values(both, np.arange(4.0), np.full(4, 2.5)) == {"pearson": 0.0, "spearman": 0.0}
        assert metric_values(both, np.full(4, 2.5), np.arange(4.0)) == {"pearson": 0.0, "spearman": 0.0}
        assert metric_values(both, np.ones(1), np.ones(1)) == {"pearson": 0.0, "spearman": 0.0}
        nearly = 1e8 + np.arange(4) * 1e-8 * np.array([1, 1, 1, 9])
        assert np.isfinite(metric_values(["pearson"], np.arange(4.0), nearly)["pearson"])


def test_score_is_the_mean_of_two_metrics():
    labels, logits = np.array([0, 0, 1, 1]), np.eye(2)[[0, 1, 1, 1]]
    values = score(("accuracy", "f1"), labels, logits)
    assert values == pytest.approx({"score": (0.75 + 0.8) / 2, "accuracy": 0.75, "f1": 0.8})


def test_score_of_groups_is_the_mean_over_groups_not_over_examples():
    labels, logits = np.array([0, 0, 0, 1, 1]), np.eye(2)[[0, 0, 0, 0, 1]]
    groups = np.array(["matched", "matched", "matched", "matched", "mismatched"])
    assert score(("accuracy",), labels, logits, groups) == pytest.approx(
        {"score": 0.875, "accuracy": 0.8, "accuracy_matched": 0.75, "accuracy_mismatched": 1.0}
    )


@pytest.mark.parametrize(
    ("metrics", "labels", "outputs", "sentence"),
    [
        (["auc"], [0, 1], np.eye(2), "Unknown metric 'auc': the metrics are accuracy, f1, mcc, pearson, spearman."),
        (["accuracy"], [0], np.eye(2), "got 2 outputs for 1 labels"),
        (["accuracy"], [], np.zeros((0, 2)), "at least one"),
        (["accuracy"], [0, 1], [[0.0, np.nan], [0.0, 1.0]], "outputs are not finite"),
        (["accuracy"], [0, 1], [0.0, 1.0], r"needs logits of shape \(n, n_classes\), not \(2,\)"),
        (["f1"], [0, 1], np.eye(3)[:2], "there are 3 classes"),
        (["pearson"], [0, 1], np.eye(2), r"one output per example, not shape \(2, 2\)"),
    ],
)
def test_metric_errors(metrics, labels, outputs, sentence):
    with pytest.raises(SuperticketsError, match=sentence):
        metric_values(metrics, np.array(labels), outputs)

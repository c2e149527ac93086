"""The decomposition against closed forms, against slow loops written from the definitions, and by simulation."""

from __future__ import annotations

import math
from importlib import import_module
from importlib.util import find_spec

import numpy as np
import pytest
from scipy import stats

from supertickets.errors import SuperticketsError
from supertickets.statistics import decomposition as dc

CLASSIFICATION = ("brier", "cross_entropy", "zero_one")


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def case(seed: int, sets: int = 6, examples: int = 11, classes: int = 3, seeds: int = 0, spread: float = 1.0):
    """Probabilities of runs that scatter around a biased centre, and the true distribution."""
    rng = np.random.default_rng(seed)
    centre = rng.normal(size=(examples, classes))
    shape = (sets, seeds, examples, classes) if seeds else (sets, examples, classes)
    return softmax(centre + spread * rng.normal(size=shape)), softmax(2 * centre + rng.normal(size=centre.shape))


def measured_error(p: np.ndarray, q: np.ndarray, loss: str) -> float:
    """Expected loss, run by run, example by example, label by label."""
    total = 0.0
    runs = p.reshape(-1, *p.shape[-2:])
    for run in runs:
        for prediction, truth in zip(run, q, strict=True):
            for label, probability in enumerate(truth):
                if loss == "brier":
                    one = sum((x - (c == label)) ** 2 for c, x in enumerate(prediction))
                elif loss == "cross_entropy":
                    one = -math.log(prediction[label])
                else:
                    one = float(int(np.argmax(prediction)) != label)
                total += probability * one
    return total / (len(runs) * len(q))


@pytest.mark.parametrize("loss", CLASSIFICATION)
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("seeds", [0, 3])
def test_terms_add_up_to_the_error_measured_by_a_slow_loop(loss, classes, seeds):
    p, q = case(0, classes=classes, seeds=seeds)
    d = dc.bias_variance(p, loss=loss, target_probabilities=q, seed_axis=bool(seeds))
    assert d.error == pytest.approx(measured_error(p, q, loss), abs=1e-12)
    assert abs(d.residual) < 1e-12
    total = d.per_example["noise"] + d.per_example["bias2"] + d.per_example["variance"]
    assert np.abs(total - d.per_example["error"]).max() < 1e-12
    for term in dc.TERMS:
        assert getattr(d, term) == pytest.approx(d.per_example[term].mean(), abs=1e-14)
    assert (d.n_sets, d.n_seeds, d.n_examples, d.noise_known) == (6, max(seeds, 1), 11, True)


@pytest.mark.parametrize("loss", CLASSIFICATION)
def test_terms_add_up_with_labels_only_and_noise_is_then_unknown(loss):
    p, _ = case(1)
    labels = np.arange(11) % 3
    d = dc.bias_variance(p, labels, loss)
    assert d.error == pytest.approx(measured_error(p, np.eye(3)[labels], loss), abs=1e-12)
    assert abs(d.residual) < 1e-12
    assert (d.noise, d.noise_known) == (0, False)


def test_brier_terms_from_the_definitions():
    p, q = case(2)
    d = dc.bias_variance(p, loss="brier", target_probabilities=q)
    n_sets = len(p)
    for i in range(p.shape[1]):
        mean = sum(p[t, i] for t in range(n_sets)) / n_sets
        variance = sum(((p[t, i] - mean) ** 2).sum() for t in range(n_sets)) / (n_sets - 1)
        bias2 = ((mean - q[i]) ** 2).sum() - variance / n_sets
        assert d.per_example["variance"][i] == pytest.approx(variance, abs=1e-12)
        assert d.per_example["bias2"][i] == pytest.approx(bias2, abs=1e-12)
        assert d.per_example["noise"][i] == pytest.approx((q[i] * (1 - q[i])).sum(), abs=1e-12)


def test_cross_entropy_terms_from_the_definitions():
    """Plain terms by scipy's relative entropy; the jackknife by leaving out sets one at a time."""
    p, q = case(3, sets=5)

    def plain(sets: np.ndarray, i: int) -> tuple[float, float]:
        geometric = np.exp(np.log(sets[:, i]).mean(axis=0))
        geometric /= geometric.sum()
        divergences = [float(stats.entropy(geometric, one)) for one in sets[:, i]]
        return float(stats.entropy(q[i], geometric)), sum(divergences) / len(divergences)

    d = dc.bias_variance(p, loss="cross_entropy", target_probabilities=q)
    for i in range(p.shape[1]):
        bias, variance = plain(p, i)
        left_out = [plain(np.delete(p, t, axis=0), i)[1] for t in range(5)]
        corrected = 5 * variance - 4 * np.mean(left_out)
        assert d.per_example["variance"][i] == pytest.approx(corrected, abs=1e-10)
        assert d.per_example["bias2"][i] == pytest.approx(bias + variance - corrected, abs=1e-10)
        assert d.per_example["noise"][i] == pytest.approx(stats.entropy(q[i]), abs=1e-12)


@pytest.mark.parametrize("classes", [2, 4])
def test_zero_one_terms_from_domingos(classes):
    p, q = case(4, sets=7, examples=40, classes=classes, spread=2.0)
    d = dc.bias_variance(p, loss="zero_one", target_probabilities=q)
    votes = p.argmax(axis=2)
    biased_seen = 0
    for i in range(40):
        counts = np.bincount(votes[:, i], minlength=classes)
        main, best = int(counts.argmax()), int(q[i].argmax())
        variance = float(np.mean(votes[:, i] != main))
        noise = 1 - q[i, best]
        right = float(np.mean(votes[:, i] == best))
        assert d.per_example["bias2"][i] == float(main != best)
        assert d.per_example["main_disagreement"][i] == pytest.approx(variance, abs=1e-12)
        assert d.per_example["bayes_error"][i] == pytest.approx(noise, abs=1e-12)
        if main == best:
            assert d.per_example["unbiased_variance"][i] == pytest.approx(variance, abs=1e-12)
            assert d.per_example["biased_variance"][i] == 0
        else:
            biased_seen += 1
            # Theorem 3: V x P(prediction is the best class | it is not the main one); all of V for two classes.
            share = right / variance if variance else 0.0
            assert d.per_example["biased_variance"][i] == pytest.approx(variance * share, abs=1e-12)
            if classes == 2:
                assert share == pytest.approx(1.0) or variance == 0
        if classes == 2:
            c1 = 2 * right - 1
            c2 = 1 if main == best else -1
            by_theorem = c1 * noise + float(main != best) + c2 * variance
            assert d.per_example["error"][i] == pytest.approx(by_theorem, abs=1e-12)
    assert biased_seen > 3
    assert d.variance == pytest.approx(d.parts["unbiased_variance"] - d.parts["biased_variance"], abs=1e-12)


def test_zero_one_takes_class_indices_and_breaks_ties_low():
    votes = np.array([[0, 1, 2], [1, 1, 2], [0, 2, 2], [1, 2, 0]])
    d = dc.bias_variance(votes, [0, 1, 0], "zero_one")
    assert d == dc.bias_variance(np.eye(3)[votes], [0, 1, 0], "zero_one")
    assert d.per_example["bias2"].tolist() == [0.0, 0.0, 1.0]
    assert d.per_example["main_disagreement"].tolist() == [0.5, 0.5, 0.25]


def ridge(rng: np.random.Generator, n_sets: int, noise_sd: float = 0.7, penalty: float = 5.0):
    """Ridge on a fixed design with fresh label noise per set, and its bias^2 and variance in closed form."""
    x, test, w = rng.normal(size=(30, 6)), rng.normal(size=(50, 6)), rng.normal(size=6)
    inverse = np.linalg.inv(x.T @ x + penalty * np.eye(6))
    y = x @ w + noise_sd * rng.normal(size=(n_sets, 30))
    predictions = (inverse @ x.T @ y.T).T @ test.T
    bias2 = ((test @ (inverse @ x.T @ x @ w - w)) ** 2).mean()
    variance = noise_sd**2 * np.einsum("ni,ij,nj->n", test, inverse @ x.T @ x @ inverse, test).mean()
    return predictions, test @ w, bias2, variance


def test_ridge_regression_with_known_noise_matches_the_closed_form():
    predictions, truth, bias2, variance = ridge(np.random.default_rng(5), 3000)
    d = dc.bias_variance(predictions, truth, "squared", noise_variance=0.49)
    assert d.variance == pytest.approx(variance, rel=0.04)
    assert d.bias2 == pytest.approx(bias2, rel=0.04)
    assert (d.noise, d.noise_known) == (pytest.approx(0.49), True)
    assert abs(d.residual) < 1e-12
    assert d.error == pytest.approx(((predictions - truth) ** 2).mean() + 0.49)


def test_corrections_are_unbiased_where_plain_terms_are_not():
    """Three training sets per estimate, many estimates: their mean is the closed form."""
    predictions, truth, bias2, variance = ridge(np.random.default_rng(6), 3000)
    found = [dc.bias_variance(group, truth, "squared") for group in predictions.reshape(1000, 3, -1)]
    for name, value in (("bias2", bias2), ("variance", variance)):
        estimates = np.array([getattr(d, name) for d in found])
        standard_error = estimates.std(ddof=1) / math.sqrt(len(estimates))
        assert abs(estimates.mean() - value) < 3.5 * standard_error
    plain = predictions.reshape(1000, 3, -1).var(axis=1).mean()
    assert abs(plain - 2 / 3 * variance) < 0.1 * variance


def test_cross_entropy_correction_removes_most_of_the_error_of_few_sets():
    rng = np.random.default_rng(7)
    centre = rng.normal(size=(20, 3))
    p = softmax(centre + 0.7 * rng.normal(size=(4000, 20, 3)))
    q = softmax(centre)
    many = dc.bias_variance(p, loss="cross_entropy", target_probabilities=q)
    few = [dc.bias_variance(g, loss="cross_entropy", target_probabilities=q) for g in p.reshape(1000, 4, 20, 3)]
    corrected = np.mean([d.variance for d in few])
    assert abs(corrected - many.variance) < 0.03 * many.variance
    log_mean = np.log(p).reshape(1000, 4, 20, 3).mean(axis=1)
    plain = -np.log(np.exp(log_mean).sum(axis=-1)).mean()
    assert plain < 0.8 * many.variance


def layout(rng: np.random.Generator, sets: int, seeds: int, crossed: bool) -> np.ndarray:
    """Predictions of 40 examples: variance 1 from training sets, 0.5 from seeds, 0.25 from their interaction."""
    by_seed = rng.normal(size=(1 if crossed else sets, seeds, 40)) * math.sqrt(0.5)
    return rng.normal(size=(sets, 1, 40)) + by_seed + 0.5 * rng.normal(size=(sets, seeds, 40)) + 0.3


@pytest.mark.parametrize(
    ("design", "parts"),
    [
        ("nested", {"training_set": 1.0, "initialisation": 0.75}),
        ("crossed", {"training_set": 1.0, "initialisation": 0.5, "interaction": 0.25}),
    ],
)
def test_variance_splits_into_training_set_and_initialisation(design, parts):
    rng = np.random.default_rng(8)
    found = []
    for _ in range(150):
        d = dc.bias_variance(
            layout(rng, 4, 3, design == "crossed"), np.zeros(40), "squared", seed_axis=True, design=design
        )
        assert abs(d.residual) < 1e-12
        assert sum(d.parts.values()) == pytest.approx(d.variance, abs=1e-12)
        found.append([*(d.parts[name] for name in parts), d.bias2])
    mean, standard_error = np.mean(found, axis=0), np.std(found, axis=0, ddof=1) / math.sqrt(len(found))
    assert np.all(np.abs(mean - [*parts.values(), 0.09]) < 3.5 * standard_error)
    assert np.all(standard_error < 0.02)


def test_seed_split_of_probabilities():
    """Where seeds make no difference all variance is due to training sets, and the other way round."""
    p, q = case(9, sets=5, seeds=4)
    for loss in ("brier", "cross_entropy"):
        same = dc.bias_variance(np.repeat(p[:, :1], 4, axis=1), loss=loss, target_probabilities=q, seed_axis=True)
        assert same.parts["initialisation"] == pytest.approx(0, abs=1e-12)
        assert same.parts["training_set"] == pytest.approx(same.variance)
        single = dc.bias_variance(p[:, 0], loss=loss, target_probabilities=q)
        assert same.variance == pytest.approx(single.variance, abs=1e-12)
        both = dc.bias_variance(p, loss=loss, target_probabilities=q, seed_axis=True)
        assert both.parts["initialisation"] > both.parts["training_set"]  # here every run is independent


@pytest.mark.parametrize(("sets", "least"), [(5, 0.91), (20, 0.91)])
def test_bootstrap_bands_cover_the_closed_form(sets, least):
    predictions, truth, bias2, variance = ridge(np.random.default_rng(10), 300 * sets)
    found = [
        dc.bootstrap(g, truth, "squared", over=("sets",), n_resamples=200) for g in predictions.reshape(300, sets, -1)
    ]
    for name, value in (("bias2", bias2), ("variance", variance)):
        assert np.mean([f[name].low <= value <= f[name].high for f in found]) >= least


@pytest.mark.parametrize("loss", CLASSIFICATION)
def test_bootstrap_is_seeded_and_centred_on_the_estimate(loss):
    p, q = case(11, sets=8, examples=60)
    d = dc.bias_variance(p, loss=loss, target_probabilities=q)
    found = dc.bootstrap(p, loss=loss, target_probabilities=q, n_resamples=300, seed=4)
    assert found == dc.bootstrap(p, loss=loss, target_probabilities=q, n_resamples=300, seed=4)
    assert found != dc.bootstrap(p, loss=loss, target_probabilities=q, n_resamples=300, seed=5)
    for term in dc.TERMS:
        assert found[term].mean == getattr(d, term)
        assert found[term].low < getattr(d, term) < found[term].high
        assert found[term].n == 8
    assert dc.bootstrap(p, loss=loss, target_probabilities=q, over=("sets",))["error"].sd < found["error"].sd


def test_bootstrap_of_nested_parts():
    p, q = case(12, sets=8, examples=40, seeds=3)
    found = dc.bootstrap(p, loss="brier", target_probabilities=q, seed_axis=True, n_resamples=300)
    assert found["initialisation"].low > 0
    assert found["training_set"].low < 0 < found["training_set"].high  # every run is independent


def test_comparison_is_sharper_than_two_bands_and_finds_the_signs():
    """Shrinking predictions to the uniform distribution: variance falls, bias rises, in every training set alike."""
    p, q = case(13, sets=10, examples=80)
    shrunk = 0.95 * p + 0.05 / 3
    change = dc.bootstrap(shrunk, baseline=p, loss="brier", target_probabilities=q, n_resamples=300)
    a, b = (dc.bootstrap(x, loss="brier", target_probabilities=q, n_resamples=300) for x in (shrunk, p))
    assert change["variance"].mean == pytest.approx(a["variance"].mean - b["variance"].mean)
    assert change["variance"].high < 0 < change["bias2"].low
    assert a["variance"].high > b["variance"].low  # the bands overlap
    assert change["noise"].low == change["noise"].high == 0
    none = dc.bootstrap(p, baseline=p, loss="brier", target_probabilities=q, n_resamples=50)
    assert (none["error"].low, none["error"].high) == (0, 0)


def test_underflowed_probabilities_stay_finite():
    p = np.array([[[1.0, 0.0]], [[0.5, 0.5]]], dtype=np.float32)
    d = dc.bias_variance(p, [1], "cross_entropy")
    assert math.isfinite(d.error)
    assert abs(d.residual) < 1e-10


@pytest.mark.skipif(find_spec("mlxtend") is None, reason="mlxtend is not installed")
def test_agrees_with_mlxtend_on_its_uncorrected_mean_squared_terms():
    from sklearn.linear_model import Ridge

    bias_variance_decomp = import_module("mlxtend.evaluate").bias_variance_decomp
    rng = np.random.default_rng(14)
    x, w = rng.normal(size=(60, 4)), rng.normal(size=4)
    y = x @ w + 0.5 * rng.normal(size=60)
    loss, bias, variance = bias_variance_decomp(
        Ridge(), x[:40], y[:40], x[40:], y[40:], loss="mse", num_rounds=50, random_seed=1
    )
    draws, predictions = np.random.RandomState(1), []
    for _ in range(50):
        chosen = draws.choice(np.arange(40), size=40, replace=True)
        predictions.append(Ridge().fit(x[chosen], y[chosen]).predict(x[40:]))
    d = dc.bias_variance(predictions, y[40:], "squared")
    assert d.error == pytest.approx(loss)
    assert d.variance * 49 / 50 == pytest.approx(variance)
    assert d.bias2 + d.variance / 50 == pytest.approx(bias)


P, Q = case(15, sets=3, examples=4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"predictions": [P[0], P[1], P[2][:3]], "targets": [0, 1, 2, 0]}, "training set 2 have shape"),
        ({"predictions": P[:1], "targets": [0, 1, 2, 0]}, "at least two training sets"),
        ({"predictions": 2 * P, "targets": [0, 1, 2, 0]}, "softmax outputs"),
        ({"predictions": np.where(P > 0.5, np.nan, P), "targets": [0, 1, 2, 0]}, "not finite"),
        ({"predictions": P, "targets": [0, 1, 2]}, "one for each of 4"),
        ({"predictions": P, "targets": [0, 1, 2, 3]}, "outside the 3 classes"),
        ({"predictions": P, "targets": [0.0, 1.0, 2.0, 0.0]}, "expected integers"),
        ({"predictions": P}, "nothing to compare"),
        ({"predictions": P, "target_probabilities": Q[:2]}, r"expected \(4, 3\)"),
        ({"predictions": P, "target_probabilities": Q / 2}, "target probabilities are not probabilities"),
        ({"predictions": P, "targets": [0, 1, 2, 0], "loss": "log"}, "choose one of brier"),
        ({"predictions": P, "targets": [0.0] * 4, "loss": "squared"}, "examples"),
        ({"predictions": P[:, :, 0], "targets": [0.0] * 3, "loss": "squared"}, "each of 4 examples"),
        ({"predictions": P[:, :, 0], "targets": [0.0] * 4, "loss": "squared", "noise_variance": -1}, "not negative"),
        ({"predictions": P, "targets": [0, 1, 2, 0], "noise_variance": 1}, "belongs to loss 'squared'"),
        ({"predictions": P[:, :, 0], "targets": [0, 1, 2, 0], "loss": "zero_one"}, "class indices"),
        ({"predictions": P, "targets": [0, 1, 2, 0], "seed_axis": True}, "training sets, seeds, examples"),
        ({"predictions": P[:, None], "targets": [0, 1, 2, 0], "seed_axis": True}, "at least two seeds"),
        ({"predictions": P, "targets": [0, 1, 2, 0], "loss": "cross_entropy", "design": "crossed"}, "use 'nested'"),
        ({"predictions": P, "targets": [0, 1, 2, 0], "design": "split"}, "'crossed'"),
    ],
)
def test_bad_input_is_named(arguments, message):
    with pytest.raises(SuperticketsError, match=message):
        dc.bias_variance(**arguments)


def test_bad_resampling_is_named():
    with pytest.raises(SuperticketsError, match="choose 'sets'"):
        dc.bootstrap(P, [0, 1, 2, 0], over=("seeds",))
    with pytest.raises(TypeError, match="unexpected keyword argument 'noise'"):
        dc.bootstrap(P, [0, 1, 2, 0], noise=1)
    with pytest.raises(SuperticketsError, match="same training sets"):
        dc.bootstrap(P, [0, 1, 2, 0], baseline=P[:2])

"""Rise and fall, phase boundaries and the winner's curse: by hand, and by simulation of what they promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from supertickets.errors import SuperticketsError
from supertickets.statistics import phases

LEVELS = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]
FALLING = np.array([0.91, 0.91, 0.91, 0.90, 0.89, 0.88, 0.85, 0.80, 0.74])
RISING_FIRST = np.array([0.91, 0.94, 0.935, 0.90, 0.89, 0.88, 0.85, 0.80, 0.74])


def runs(rng: np.random.Generator, curve: np.ndarray, n: int, sd: float = 0.01) -> np.ndarray:
    """Seeds share a part of their luck over all levels, as paired runs do."""
    return curve + sd * (rng.normal(size=(n, 1)) + rng.normal(size=(n, len(curve))))


@pytest.mark.parametrize("n", [5, 8])
def test_rise_and_fall_is_found_where_it_is(n):
    result = phases.rises_then_falls(LEVELS, runs(np.random.default_rng(0), RISING_FIRST, n, 0.004))
    assert result.effect.low > 0
    assert result.p == 2 * max(result.p_rise, result.p_fall) <= 0.05
    assert result.effect == result.gain


@pytest.mark.parametrize("n", [5, 8])
@pytest.mark.parametrize("sims", [400, pytest.param(4000, marks=pytest.mark.slow)])
def test_a_falling_curve_is_rarely_called_a_rise(n, sims, record_property):
    """The error rate is at most 5%, at the edge (three levels exactly as good as the full model)."""
    rng = np.random.default_rng(1)
    wrong = [
        (found := phases.rises_then_falls(LEVELS, runs(rng, FALLING, n), n_resamples=256)).p <= 0.05
        and found.effect.low > 0
        for _ in range(sims)
    ]
    record_property("false rises", np.mean(wrong))
    assert np.mean(wrong) < 0.05 + 2.5 * math.sqrt(0.05 * 0.95 / sims)


def test_the_uncorrected_test_of_the_best_level_would_be_wrong_much_more_often():
    rng = np.random.default_rng(2)
    flat = np.r_[np.full(8, 0.9), 0.5]
    corrected, uncorrected = [], []
    for _ in range(300):
        x = runs(rng, flat, 8)
        corrected.append(phases.rises_then_falls(LEVELS, x, n_resamples=256).p_rise <= 0.05)
        gains = x[:, 1:] - x[:, :1]
        best = gains[:, gains.mean(axis=0).argmax()]
        t = best.mean() / stats.sem(best)
        uncorrected.append(stats.t.sf(t, len(best) - 1) <= 0.05)
    assert np.mean(corrected) < 0.09
    assert np.mean(uncorrected) > 0.13


def test_collapsed_levels_do_not_hide_a_rise():
    """Eight seeds and seven levels far below the full model: the first step sets them aside."""
    curve = np.array([0.9, 0.93, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5])
    result = phases.rises_then_falls(LEVELS, runs(np.random.default_rng(3), curve, 8, 0.005))
    assert result.p_rise == pytest.approx(1 / 256 + phases.BETA)


def test_levels_not_clearly_worse_are_counted_in_the_correction():
    """Five seeds: the best level's one-sided p, times the two levels that could have been chosen."""
    rng = np.random.default_rng(12)
    x = np.full((5, 5), 0.9)
    x[:, 1] += 0.004 + 0.003 * rng.normal(size=5)
    x[:, 2] += -0.002 + 0.01 * rng.normal(size=5)  # a little below the full model: may still be a rise
    x[:, 3] += -0.3 + 0.01 * rng.normal(size=5)  # clearly below: set aside
    x[:, 4] = 0.5 + 0.01 * rng.normal(size=5)
    gain = x[:, 1] - x[:, 0]
    one = float(stats.t.sf(gain.mean() / stats.sem(gain), 4))
    assert (x[:, 2] - x[:, 0]).mean() < 0
    assert phases.rises_then_falls([0, 0.1, 0.2, 0.3, 0.4], x).p_rise == pytest.approx(2 * one + phases.BETA)


def test_honest_gain_is_unbiased_where_the_apparent_one_is_not():
    rng = np.random.default_rng(4)
    flat = np.full(9, 0.9)
    found = [runs(rng, flat, 6) for _ in range(300)]
    honest = np.array([phases.rises_then_falls(LEVELS, x, n_resamples=64).gain.mean for x in found])
    apparent = np.array([(x[:, 1:-1] - x[:, :1]).mean(axis=0).max() for x in found])
    standard_error = honest.std(ddof=1) / math.sqrt(len(honest))
    assert abs(honest.mean()) < 3 * standard_error
    assert apparent.mean() > 10 * standard_error


@pytest.mark.parametrize("sims", [100, pytest.param(2000, marks=pytest.mark.slow)])
def test_the_luck_of_the_examples_is_in_the_gain_unless_others_choose(sims, record_property):
    """No level is better, but the examples, which all seeds share, suit one of them."""
    rng = np.random.default_rng(12)
    same, other = [], []
    for _ in range(sims):
        seeds = 0.003 * rng.normal(size=(6, 9))
        judged, chosen_by = (0.9 + np.r_[0, 0.01 * rng.normal(size=7), -0.4] + seeds for _ in range(2))
        same.append(phases.rises_then_falls(LEVELS, judged, 64).gain.mean)
        other.append(phases.rises_then_falls(LEVELS, judged, 64, chosen_by).gain.mean)
    record_property("mean gain at truth 0, same and other examples", [np.mean(same), np.mean(other)])
    assert np.mean(same) > 0.008
    assert abs(np.mean(other)) < 3 * np.std(other) / math.sqrt(sims)
    assert "not on new ones" in " ".join(str(phases.rises_then_falls.__doc__).split())


@pytest.mark.parametrize("n", [3, 5, 12])
@pytest.mark.parametrize("rise", [0.0, 0.012])
@pytest.mark.parametrize("sims", [150, pytest.param(2000, marks=pytest.mark.slow)])
def test_the_interval_of_the_gain_covers(n, rise, sims, record_property):
    """Of the levels chosen; a t interval of the seeds' gains covers 86% of levels that are equal (12 seeds)."""
    rng = np.random.default_rng([n, sims])
    curve, hits = np.array([0, rise / 3, rise, rise / 3, 0, -rise, -2 * rise]), 0
    for _ in range(sims):
        x = np.c_[runs(rng, np.r_[0.9, 0.9 + curve], n, 0.005), np.full(n, 0.5)]
        chosen_by = x + 0.003 * rng.normal(size=x.shape)
        by_others = chosen_by[:, 1:-1].sum(axis=0) - chosen_by[:, 1:-1]
        gain = phases.rises_then_falls(LEVELS, x, 64, chosen_by).gain
        hits += gain.low <= curve[by_others.argmax(axis=1)].mean() <= gain.high
    record_property("coverage", hits / sims)
    spare = 2.5 * math.sqrt(0.92 * 0.08 / sims) if sims < 1000 else 0
    assert 0.92 - spare <= hits / sims <= 0.98 + spare


def test_the_gain_and_its_interval_by_hand():
    """Other seeds choose on other examples; the interval is the jackknife's, each seed left out in turn."""
    rng = np.random.default_rng(5)
    x, by = 0.9 + 0.01 * rng.normal(size=(2, 5, 4))

    def gain_of(seeds: list[int]) -> float:
        found = []
        for seed in seeds:
            level = 1 + int(np.argmax([by[[k for k in seeds if k != seed], i].mean() for i in (1, 2)]))
            found.append(x[seed, level] - x[seed, 0])
        return float(np.mean(found))

    everyone = list(range(5))
    gain = phases.rises_then_falls([0, 0.1, 0.2, 0.8], x, chosen_by=by).gain
    without = [gain_of([k for k in everyone if k != seed]) for seed in everyone]
    half = stats.t.ppf(0.975, 4) * 4 * np.std(without, ddof=1) / math.sqrt(5)
    assert (gain.mean, gain.low, gain.high) == pytest.approx((gain_of(everyone), gain.mean - half, gain.mean + half))
    assert not phases.rises_then_falls([0, 0.1, 0.2, 0.8], x[:2], chosen_by=by[:2]).gain.known


def test_the_opposite_needs_every_level_below_or_an_end_above():
    rng = np.random.default_rng(5)
    falling = phases.rises_then_falls(LEVELS, runs(rng, np.linspace(0.9, 0.5, 9), 8, 0.002))
    assert falling.effect == falling.gain
    assert falling.effect.high < 0
    assert falling.p < 1e-4
    flat_then_falling = phases.rises_then_falls(LEVELS, runs(rng, FALLING, 8, 0.002))
    assert flat_then_falling.p > 0.05
    rising = phases.rises_then_falls(LEVELS, runs(rng, np.linspace(0.5, 0.9, 9), 8, 0.002))
    assert rising.effect == rising.fall
    assert rising.effect.mean == pytest.approx(-0.4, abs=0.01)
    assert rising.p < 1e-4


def test_curves_without_spread_are_not_certain():
    for curve, n in (([0.9, 0.92, 0.5], 3), ([0.9, 0.8, 0.5], 3), ([0.9, 0.92, 0.95], 4)):
        result = phases.rises_then_falls([0, 0.1, 0.2], np.tile(curve, (n, 1)))
        assert result.p == pytest.approx(2 / 2**n)


@pytest.mark.parametrize("n", [3, 5, 12])
@pytest.mark.parametrize("sims", [150, pytest.param(2000, marks=pytest.mark.slow)])
def test_boundary_intervals_cover(n, sims, record_property):
    """Plain percentiles cover 70% (3 seeds), 82% (5) and 89% (12)."""
    rng = np.random.default_rng(n)
    winning = np.array([0.90, 0.93, 0.92, 0.90, 0.87, 0.83, 0.77, 0.69, 0.60])
    random = np.array([0.90, 0.85, 0.80, 0.76, 0.73, 0.70, 0.68, 0.66, 0.64])
    meeting, collapse = 0.7 + 0.1 * 0.03 / 0.07, 0.6 + 0.1 * 0.07 / 0.08
    hits = np.zeros(3)
    for _ in range(sims):
        found = phases.phase_boundaries(LEVELS, runs(rng, winning, n), runs(rng, random, n), 0.5, n_resamples=400)
        assert found.collapse is not None
        truths = ((found.best, 0.1), (found.meeting, meeting), (found.collapse, collapse))
        hits += [boundary.low - 1e-9 <= level <= boundary.high + 1e-9 for boundary, level in truths]
    record_property("coverage of best, meeting, collapse", (hits / sims).tolist())
    assert (hits / sims > 0.92 - 2.5 * math.sqrt(0.92 * 0.08 / sims)).all()
    assert (hits[1:] / sims < 0.98 + 2.5 * math.sqrt(0.98 * 0.02 / sims)).all()  # the best level is one of a few


def test_boundaries_by_hand():
    winning = np.tile([0.80, 0.82, 0.76, 0.60], (3, 1))
    random = np.tile([0.80, 0.75, 0.70, 0.66], (3, 1))
    found = phases.phase_boundaries([0, 0.2, 0.4, 0.6], winning, random, chance=0.5)
    # winning - random goes from 0.06 at 0.4 to -0.06 at 0.6; 0.65 lies 11/16 of the way from 0.76 to 0.60.
    assert found.best.level == found.best.low == found.best.high == 0.2
    assert found.meeting.level == pytest.approx(0.5)
    assert found.collapse is not None
    assert found.collapse.level == pytest.approx(0.4 + 0.2 * 11 / 16)
    assert found.meeting.found == 1.0


def test_boundaries_beyond_the_last_level_are_infinite():
    winning, random = np.tile(FALLING, (4, 1)), np.tile(FALLING - np.linspace(0, 0.2, 9), (4, 1))
    found = phases.phase_boundaries(LEVELS, winning, random)
    assert found.best.level == 0.0
    assert found.meeting == phases.Boundary(math.inf, math.inf, math.inf, 0.0)
    assert found.collapse is None


def test_boundary_intervals_hold_the_truth_and_depend_on_the_seed_only():
    rng = np.random.default_rng(6)
    random_curve = np.r_[0.91, np.full(8, 0.80)]
    winning, random = runs(rng, RISING_FIRST, 12), runs(rng, random_curve, 12)
    found = phases.phase_boundaries(LEVELS, winning, random, n_resamples=500)
    assert found.best.low <= 0.1 <= found.best.high <= 0.2
    assert found.meeting.low <= 0.7 <= found.meeting.high
    assert found.meeting.low > 0.6
    assert found == phases.phase_boundaries(LEVELS, winning, random, n_resamples=500)


def test_random_tickets_meeting_before_the_best_level_do_not_count():
    winning = np.tile([0.80, 0.70, 0.85, 0.70], (2, 1))
    random = np.tile([0.80, 0.75, 0.75, 0.75], (2, 1))
    found = phases.phase_boundaries([0, 0.1, 0.2, 0.3], winning, random)
    assert found.best.level == 0.2
    assert found.meeting.level == pytest.approx(0.2 + 0.1 * 0.10 / 0.15)


def placebo_runs(rng: np.random.Generator, n_examples: int, seeds: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Nine levels, all right on 80% of the examples: there is no gain to find."""
    selection = (rng.random((seeds, 9, n_examples)) < 0.8).astype(float)
    report = (rng.random((seeds, 9, 9 * n_examples)) < 0.8).astype(float)
    return selection, report


def chosen_gain(selection: np.ndarray) -> float:
    """What choosing every seed's best level promises."""
    scores = selection.mean(axis=2)
    return float((scores[:, 1:].max(axis=1) - scores[:, 0]).mean())


def test_the_placebo_gain_is_what_choosing_promises_where_there_is_nothing():
    selection, report = placebo_runs(np.random.default_rng(7), 40)
    placebo = phases.placebo_gain(LEVELS, selection.mean(2), report.mean(2), selection, n_resamples=200)
    assert chosen_gain(selection) > 0.05
    assert abs(placebo - chosen_gain(selection)) < 0.04


def test_placebo_gain_is_that_of_the_best_of_eight_normals():
    """Accuracy differences of 8 levels against the full model: E max(Z_1..Z_8) x sd of one accuracy."""
    selection, report = placebo_runs(np.random.default_rng(8), 100)
    placebo = phases.placebo_gain(LEVELS, selection.mean(2), report.mean(2), selection, n_resamples=300)
    expected_max = np.random.default_rng(0).normal(size=(20000, 8)).max(axis=1).mean()
    assert placebo == pytest.approx(expected_max * math.sqrt(0.8 * 0.2 / 100), rel=0.08)


def test_a_real_gain_is_beyond_the_placebo():
    rng = np.random.default_rng(10)
    right = np.r_[0.6, np.full(8, 0.9)][None, :, None]
    selection = (rng.random((5, 9, 100)) < right).astype(float)
    placebo = phases.placebo_gain(LEVELS, selection.mean(2), selection.mean(2), selection, n_resamples=200)
    assert 0 < placebo < chosen_gain(selection) - 0.1


def test_levels_that_are_clearly_worse_take_no_part():
    rng = np.random.default_rng(13)
    selection, report = placebo_runs(rng, 40)
    worse = np.r_[0.8, np.full(8, 0.3)][None, :, None]
    bad = (rng.random((6, 9, 360)) < worse).astype(float)
    assert phases.placebo_gain(LEVELS, selection.mean(2), bad.mean(2), selection, n_resamples=10) == 0.0
    one = np.concatenate([bad[:, :5], report[:, :1], bad[:, 6:]], axis=1)  # a single rival is left
    few = phases.placebo_gain(LEVELS, selection.mean(2), one.mean(2), selection, n_resamples=200)
    assert few < phases.placebo_gain(LEVELS, selection.mean(2), report.mean(2), selection, n_resamples=200) - 0.05
    assert abs(few) < 0.05


def test_the_placebo_gain_with_another_metric():
    """Predictions are shuffled, not correctness; the metric scores them."""
    rng = np.random.default_rng(11)
    labels = rng.integers(0, 2, 60)
    predictions = np.where(rng.random((3, 9, 60)) < 0.8, labels, 1 - labels)

    def f1(p: np.ndarray) -> np.ndarray:
        hits = ((p == 1) & (labels == 1)).sum(axis=-1)
        return 2 * hits / ((p == 1).sum(axis=-1) + (labels == 1).sum())

    placebo = phases.placebo_gain(LEVELS, f1(predictions), f1(predictions), predictions, f1, n_resamples=100)
    assert 0.03 < placebo < 0.2
    with pytest.raises(SuperticketsError, match="metric"):
        phases.placebo_gain(LEVELS, f1(predictions), f1(predictions), predictions, n_resamples=10)


def test_mistakes_are_named():
    x = np.ones((3, 9))
    for levels in ([0.1, 0.2, 0.3], [0, 0.1], [0, 0.2, 0.1]):
        with pytest.raises(SuperticketsError, match="the full model, 0, and two pruned ones or more"):
            phases.rises_then_falls(levels, x[:, : len(levels)])
    with pytest.raises(SuperticketsError, match="different length"):
        phases.rises_then_falls([0, 0.1, 0.2], [[1.0, 2.0, 3.0], [1.0]])
    with pytest.raises(SuperticketsError, match=r"1 seed\(s\); 2 or more are needed"):
        phases.rises_then_falls(LEVELS, x[:1])
    with pytest.raises(SuperticketsError, match=r"2 seed\(s\); 3 are needed, the same in all"):
        phases.phase_boundaries(LEVELS, x, x[:2])
    with pytest.raises(SuperticketsError, match=r"2 seed\(s\); 3 are needed"):
        phases.placebo_gain(LEVELS, x, x[:2], x)
    with pytest.raises(SuperticketsError, match=r"\(3, 9\)"):
        phases.placebo_gain(LEVELS, x, x, x)

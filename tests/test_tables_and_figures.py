"""Tables and figures are functions of a frame of records: numbers checked by hand on frames made here."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.patches import Rectangle
from scipy import stats

from supertickets import paper
from supertickets.display import table_html
from supertickets.errors import SuperticketsError
from supertickets.experiments import paired_scores
from supertickets.facts import task_facts
from supertickets.figures import (
    figure3,
    importance_figure,
    phase_transition_data,
    phase_transition_figure,
    shrinking_figure,
    tickets_figure,
)
from supertickets.lab.tasks import lab_task
from supertickets.runs import Record, RunSpec, TicketRule
from supertickets.sources import DataRef
from supertickets.summaries import (
    figure3_data,
    missing,
    missing_sentence,
    paper_notes,
    shrinking_data,
    table6,
    table7,
    table9,
)
from supertickets.tables import (
    kin_of,
    light_pruning,
    optimism,
    ordering,
    super_ticket_pairs,
    table1,
    table1_metrics,
    table2,
    ticket_sizes,
)
from supertickets.tasks import Task, split_dev
from supertickets.tickets import EncoderShape, Scores, random_ticket

LEVELS = (0.1, 0.3, 0.5)
NAMES = [found.id for found in paper.INCONSISTENCIES]


def frame_of(
    curves: dict[str, list[float]], seeds: int = 4, noise: float = 0.01, task: str = "entailment"
) -> pd.DataFrame:
    """Records of one task: ``curves`` gives the mean report score per level by kind; the full model is at 0.8."""
    rng = np.random.default_rng(0)
    rows = []
    for seed in range(seeds):
        luck = rng.normal(0, 0.05)  # shared by all tickets of a seed: pairing must remove it
        runs = [("full", 0.0, 0.8), *((k, p, s) for k, c in curves.items() for p, s in zip(LEVELS, c, strict=True))]
        for kind, level, mean in runs:
            score = mean + luck + rng.normal(0, noise)
            rows.append(
                {
                    "run": f"{task}-{kind}-{level}-{seed}",
                    "encoder": "lab-base",
                    "task": task,
                    "data": "d",
                    "seed": seed,
                    "kind": kind,
                    "level": level,
                    "weights_remaining": 1 - 0.8 * level,
                    "seconds": 1.0,
                    "report_score": score,
                    "selection_score": score + rng.normal(0, 0.02),
                    "selection_loss": 1 - score,
                    "dev_score": score,
                }
            )
    return pd.DataFrame(rows)


@pytest.fixture
def frame() -> pd.DataFrame:
    return frame_of({"winning": [0.85, 0.84, 0.70], "random": [0.75, 0.65, 0.55], "losing": [0.60, 0.55, 0.52]})


def test_table1_is_the_paired_difference_on_the_report_split(frame):
    row = table1(frame).iloc[0]
    wide = paired_scores(frame)
    selection = paired_scores(frame, "selection_score")["winning"]
    gains = [
        100 * (wide.loc[seed, ("winning", selection.loc[seed].idxmax())] - wide.loc[seed, ("full", 0.0)])
        for seed in range(4)
    ]
    assert row["gain"] == pytest.approx(np.mean(gains))
    half = stats.t.ppf(0.975, 3) * np.std(gains, ddof=1) / 2
    assert (row["low"], row["high"]) == pytest.approx((np.mean(gains) - half, np.mean(gains) + half))
    assert row["p"] == pytest.approx(np.asarray(stats.ttest_1samp(gains, 0))[1])
    assert row["verdict"] == "supported"
    assert row["paper: task"] == "RTE"
    assert row["paper: gain"] == pytest.approx(72.5 - 69.2)
    # The seeds' luck of 5 points would drown a gain of 4 if the test were not paired.
    assert np.asarray(stats.ttest_ind(wide[("winning", 0.1)], wide[("full", 0.0)]))[1] > 0.05


def test_table1_corrects_for_the_number_of_tasks():
    # p of about 0.02 alone is not enough beside five tasks without an effect.
    good = frame_of({"winning": [0.815, 0.815, 0.815]}, noise=0.006)
    flat = [frame_of({"winning": [0.8, 0.8, 0.8]}, task=f"flat{i}", noise=0.02) for i in range(5)]
    alone, beside = table1(good).iloc[0], table1(pd.concat([good, *flat])).iloc[0]
    assert alone["p"] == beside["p"]
    assert alone["verdict"] == "supported"
    assert beside["p (Holm)"] == pytest.approx(6 * alone["p"])
    assert beside["verdict"] == ("supported" if 6 * alone["p"] <= 0.05 else "inconclusive")


@pytest.fixture
def two_tasks(frame) -> pd.DataFrame:
    other = frame_of({"winning": [0.82, 0.80, 0.70], "random": [0.7, 0.65, 0.6]}, task="similarity", noise=0.02)
    return pd.concat([frame, other], ignore_index=True)


def test_the_average_row_pairs_the_mean_over_tasks_by_seed(two_tasks):
    pairs = super_ticket_pairs(two_tasks).set_index(["task", "seed"])
    gains = [
        np.mean(
            [
                pairs.loc[(task, seed), "super"] - pairs.loc[(task, seed), "full"]
                for task in ("entailment", "similarity")
            ]
        )
        for seed in range(4)
    ]
    table = table1(two_tasks)
    row = table.iloc[-1]
    assert list(table["task"]) == ["entailment", "similarity", "average"]
    assert row["gain"] == pytest.approx(np.mean(gains))
    assert row["gain"] == pytest.approx(table["gain"].iloc[:2].mean())
    half = stats.t.ppf(0.975, 3) * np.std(gains, ddof=1) / 2
    assert (row["low"], row["high"]) == pytest.approx((np.mean(gains) - half, np.mean(gains) + half))
    assert row["weights remaining (%)"] == pytest.approx(table["weights remaining (%)"].iloc[:2].mean())
    assert np.isnan(row["p (Holm)"])
    assert (row["paper: ST-DNN"], row["paper: SuperT"], row["paper: weights remaining (%)"]) == (82.8, 83.7, 86.8)
    assert table1(two_tasks, size="large").iloc[-1]["paper: SuperT"] == 85.1
    # The two tasks count for the correction, the average does not.
    assert table["p (Holm)"].iloc[:2].min() == pytest.approx(2 * table["p"].iloc[:2].min())


def test_the_average_row_leaves_out_seeds_that_lack_a_task(two_tasks):
    gap = two_tasks[(two_tasks["task"] != "similarity") | (two_tasks["seed"] != 3)]
    table = table1(gap)
    assert list(table["seeds"]) == [4, 3, 3]
    assert table.iloc[-1]["gain"] == pytest.approx(table1(gap[gap["seed"] != 3]).iloc[-1]["gain"])
    apart = two_tasks[(two_tasks["task"] != "similarity") == (two_tasks["seed"] < 2)]
    row = table1(apart).iloc[-1]
    assert (row["seeds"], row["verdict"], np.isnan(row["gain"])) == (0, "inconclusive", True)


def test_tasks_without_kin_get_no_columns_of_the_paper(frame):
    table = table1(frame.assign(task="mine"))
    assert list(table["task"]) == ["mine", "average"]
    assert not [name for name in table if name.startswith("paper")]


def test_every_metric_of_every_task(frame):
    paraphrase = frame.assign(
        task="paraphrase", report_accuracy=frame["report_score"] - 0.02, report_f1=frame["report_score"] + 0.02
    )
    groups = frame.assign(
        task="inference",
        report_accuracy=frame["report_score"],
        report_accuracy_matched=frame["report_score"] + 0.1,
        report_accuracy_mismatched=frame["report_score"] - 0.1,
    )
    table = table1_metrics(pd.concat([paraphrase, groups]))
    assert list(zip(table["task"], table["metric"], strict=True)) == [
        ("paraphrase", "accuracy"),
        ("paraphrase", "f1"),
        ("inference", "accuracy_matched"),
        ("inference", "accuracy_mismatched"),
    ]
    assert list(table["paper: ST-DNN"]) == [86.2, 90.4, 84.5, 84.4]
    assert table["gain"].to_numpy() == pytest.approx(table1(frame).iloc[0]["gain"])
    assert table["ST-DNN"].iloc[2] - table["ST-DNN"].iloc[3] == pytest.approx(20)


def test_what_cannot_be_tabulated_is_said(frame):
    with pytest.raises(SuperticketsError, match="no finished runs"):
        table1(pd.DataFrame())
    with pytest.raises(SuperticketsError, match="no 'report_f1'; choose one of report_score"):
        table1(frame, "report_f1")
    with pytest.raises(SuperticketsError, match="several full models with seed 0"):
        table1(pd.concat([frame, frame.assign(data="another")]))
    with pytest.raises(SuperticketsError, match="BERT-huge"):
        table1(frame, size="huge")
    with pytest.raises(SuperticketsError, match="'test' split"):
        table1_metrics(frame, "test")


def test_a_single_seed_gives_no_verdict(frame):
    row = table1(frame[frame["seed"] == 0]).iloc[0]
    assert np.isnan(row["low"])
    assert row["verdict"] == "inconclusive"


def test_ordering(frame):
    found = ordering(frame, levels=(0.3, 0.5)).set_index("claim")
    assert found.loc["winning above random", "effect"] == pytest.approx(17, abs=2)
    assert found.loc["random above losing", "effect"] == pytest.approx(6.5, abs=2)
    assert set(found["verdict"]) == {"supported"}
    upside_down = ordering(frame.assign(report_score=-frame["report_score"]), levels=(0.3, 0.5))
    assert set(upside_down["verdict"]) == {"not supported"}


def test_light_pruning_is_level_by_level(frame):
    found = light_pruning(frame, (0.1, 0.3)).set_index("level")
    assert found.loc[0.1, "effect"] == pytest.approx(5, abs=1.5)
    assert found.loc[0.1, "verdict"] == "supported"
    harmful = light_pruning(frame, (0.5,)).iloc[0]
    assert harmful["verdict"] == "not supported"


def test_optimism_shows_what_the_choice_promised(frame):
    row = optimism(frame).iloc[0]
    assert row["kept"] == pytest.approx(table1(frame).iloc[0]["gain"])
    # Eight-fold choice among equals, at a spread of about 2 points on the selection split, promises something.
    assert 0.5 < row["promised if nothing were there"] < 6
    lucky = frame.assign(selection_score=frame["selection_score"] + 0.1 * (frame["kind"] == "winning"))
    assert optimism(lucky).iloc[0]["promised"] == pytest.approx(row["promised"] + 10)


def test_table2_reads_test_scores_where_there_are_any(two_tasks):
    assert table2(two_tasks).empty  # labels kept by the benchmark
    scored = two_tasks.assign(test_score=two_tasks["report_score"], test_accuracy=two_tasks["report_score"])
    table = table2(scored)
    assert set(table["metric"]) == {"accuracy"}
    assert list(table["ST-DNN"]) == list(table1_metrics(scored, "test", printed_in=2)["ST-DNN"])
    of_rte = table[table["paper: task"] == "RTE"].iloc[0]
    assert (of_rte["paper: ST-DNN"], of_rte["paper: SuperT"]) == (66.4, 69.6)


def test_table6_sets_two_spreads_and_the_papers_side_by_side(two_tasks):
    calm = two_tasks.copy()
    full = calm["kind"] == "full"
    calm.loc[full, "report_score"] = 0.8 + 0.001 * calm["seed"]
    row = table6(calm).set_index("task").loc["similarity"]
    chosen = super_ticket_pairs(calm).set_index("task").loc["similarity"]
    values = chosen["super"].to_numpy()
    assert row["SuperT: sd"] == pytest.approx(np.std(values, ddof=1))
    assert row["ST-DNN: sd"] == pytest.approx(0.1 * np.std(range(4), ddof=1))
    bounds = [np.std(values, ddof=1) * np.sqrt(3 / stats.chi2.ppf(share, 3)) for share in (0.975, 0.025)]
    assert [row["SuperT: low"], row["SuperT: high"]] == pytest.approx(bounds)
    assert row["p (equal spread)"] == pytest.approx(
        np.asarray(stats.levene(values, chosen["full"].to_numpy(), center="median"))[1]
    )
    assert (row["paper: task"], row["paper: SuperT sd"]) == ("STS-B", 0.49)
    assert "paper: ST-DNN sd" not in row
    large = table6(calm, size="large").set_index("task")
    assert list(large["paper: ST-DNN sd"]) == [1.17, 0.16]
    assert np.isnan(table6(calm[calm["seed"] == 0])["p (equal spread)"]).all()


def test_table7_counts_the_levels_chosen(frame):
    wanted = {0: 0.1, 1: 0.3, 2: 0.3, 3: 0.5}
    best = (frame["kind"] == "winning") & (frame["level"] == frame["seed"].map(wanted))
    row = table7(frame.assign(selection_score=best.astype(float))).iloc[0]
    sizes = [1 - 0.8 * level for level in wanted.values()]
    assert row["levels chosen"] == "10%, 30% (x2), 50%"
    assert row["weights remaining, mean"] == pytest.approx(np.mean(sizes))
    assert row["weights remaining, sd"] == pytest.approx(np.std(sizes, ddof=1))
    assert (row["paper: task"], row["paper: mean"], row["paper: sd"]) == ("RTE", 0.83, 0.07)
    assert table7(frame, size="large").iloc[0]["paper: mean"] == 0.82


def record_on(task: Task) -> Record:
    """A record that says of a task what a run would."""
    facts = task_facts(task, split_dev(task))
    spec = RunSpec("e", "r", DataRef(task.name), 0)
    return Record(spec, (), 1, {}, {}, {}, {}, {}, tasks={task.name: facts})


def test_table9_counts_what_is_in_the_data():
    clean, noisy = (lab_task("entailment", train_size=400, dev_size=30, test_size=0, noise=rate) for rate in (0, 0.2))
    scores = lab_task("similarity", train_size=400, dev_size=20, test_size=10)
    reviews = lab_task("sentiment", train_size=40, dev_size=20, test_size=0)
    table = pd.concat([table9([record_on(task)]) for task in (clean, noisy, scores, reviews)], ignore_index=True)
    assert list(table["train"]) == [400, 400, 400, 40]
    assert list(table["dev"]) == [30, 30, 20, 20]
    assert table["test"].iloc[2] == 10
    assert table["test"].isna().tolist() == [True, True, False, True]
    assert table["label noise"].iloc[0] == "0.0% wrong"
    assert 12 < float(table["label noise"].iloc[1].split("%")[0]) < 28
    assert 0.4 < float(table["label noise"].iloc[2].removeprefix("sd ")) < 0.6
    assert table["balance (train)"].iloc[0] == "50% / 50%"
    assert list(table["kind of text"])[2:] == ["pair of texts, regression", "single sentence, classification"]
    words = [len(" ".join(texts).split()) for texts in clean.train.texts]
    assert table["words"].iloc[0] == pytest.approx(np.mean(words))
    assert list(table["paper: corpus"]) == ["RTE", "RTE", "STS-B", "SST"]
    html = table_html(table, "What the tasks hold.")
    assert "<td>400</td>" in html
    assert "400.00" not in html


def specs_of(seeds: int) -> list[RunSpec]:
    rules = [TicketRule(), *(TicketRule(kind, level, "p") for kind in ("winning", "random") for level in LEVELS)]
    data = [DataRef("entailment"), DataRef("entailment", train_size=50)]
    return [RunSpec("lab-base", "1", ref, seed, ticket=rule) for ref in data for seed in range(seeds) for rule in rules]


def test_missing_runs_are_named():
    specs = specs_of(2)
    there = pd.DataFrame({"run": [spec.id for spec in specs if spec.seed == 0 or spec.ticket.kind == "full"]})
    lacking = missing(there, specs)
    assert set(lacking["seed"]) == {1}
    assert lacking["train_size"].fillna(0).tolist() == [0] * 6 + [50] * 6
    assert set(zip(lacking["kind"], lacking["level"], strict=True)) == {
        (kind, level) for kind in ("winning", "random") for level in LEVELS
    }
    sentence = "12 of 28 runs are missing: entailment (6 winning, 6 random; seed 1)."
    assert missing_sentence(there, specs) == sentence
    assert missing(pd.DataFrame(), specs)["run"].tolist() == [spec.id for spec in specs]
    everything = pd.DataFrame({"run": [spec.id for spec in specs]})
    assert list(missing(everything, specs)) == ["task", "train_size", "seed", "kind", "level", "run"]
    assert missing_sentence(everything, specs) == "All 28 runs are there."


def test_notes_on_the_paper_hold_the_recomputed_numbers():
    notes = dict(zip(NAMES, paper_notes(NAMES), strict=True))
    assert all(notes[name].startswith(f"{name} (") and len(notes[name]) < 500 for name in NAMES)
    p3 = paper.inconsistency("P3").computed
    assert f"{p3['mean of Table 7']:.1f} (mean of Table 7)" in notes["P3"]
    assert "SST-2: 0.93 (Table 7), 0.86 (Figure 3)" in notes["P4"]
    assert "10%: 23,000 (printed), 2,350 (from Table 9)" in notes["P6"]
    assert "0.05 (over tasks), 1.73 (over columns)" in notes["P1"]
    assert notes["P9"].endswith(paper.inconsistency("P9").what)
    with pytest.raises(SuperticketsError, match="P11"):
        paper_notes(["P11"])


def test_ticket_sizes():
    shape = EncoderShape(6, 8, head_parameters=100, ffn_parameters=800, embedding_parameters=500, other_parameters=100)
    table = ticket_sizes(shape, (0.2, 0.8))
    assert list(table["heads pruned"]) == ["9 of 48", "38 of 48"]
    total = 600 + 48 * 100 + 6 * 800
    assert table["weights remaining"].iloc[0] == pytest.approx((total - 9 * 100 - 800) / total)


def test_kin():
    assert (kin_of("similarity"), kin_of("QNLI"), kin_of("mine")) == ("STS-B", "QNLI", "mine")


def test_the_data_behind_the_figure(frame):
    data = phase_transition_data(frame).set_index(["kind", "level"])
    scores = frame[(frame["kind"] == "random") & (frame["level"] == 0.3)]["report_score"]
    assert data.loc[("random", 0.3), "mean"] == pytest.approx(scores.mean())
    assert data.loc[("random", 0.3), "n"] == 4
    low = scores.mean() - stats.t.ppf(0.975, 3) * scores.sem()
    assert data.loc[("random", 0.3), "low"] == pytest.approx(low)


def test_the_figure_draws_what_is_there(frame):
    fig = phase_transition_figure(frame)
    labels = [text.get_text() for text in fig.legends[0].get_texts()]
    assert labels == ["full model", "winning", "random", "losing"]
    axis = fig.axes[0]
    assert axis.get_title() == "entailment (n = 4 seeds)"
    assert axis.xaxis_inverted()
    assert [line for line in axis.lines if line.get_marker() == "*"]
    partial = phase_transition_figure(frame[(frame["kind"] == "winning") & (frame["seed"] == 0)])
    assert [text.get_text() for text in partial.legends[0].get_texts()] == ["winning"]
    plt.close("all")
    with pytest.raises(SuperticketsError, match="no finished runs"):
        phase_transition_figure(frame.iloc[:0])


def test_the_figure_copes_with_missing_runs(frame):
    gaps = frame[~((frame["kind"] == "random") | ((frame["seed"] > 1) & (frame["level"] == 0.5)))]
    other = frame.assign(task="similarity")
    other.loc[other["seed"] == 3, "report_score"] = np.nan
    fig = phase_transition_figure(pd.concat([gaps, other]), ["entailment", "similarity", "inference"])
    assert [axis.get_title() for axis in fig.axes] == [
        "entailment (n = 2 to 4 seeds)",
        "similarity (n = 3 seeds)",
        "inference (n = 0 seeds)",
        "",
    ]
    # The first panel has no random curve, and the legend must name it all the same.
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["full model", "winning", "random", "losing"]
    assert [text.get_text() for text in fig.axes[2].texts] == ["no finished runs"]
    # The t interval of two seeds may not flatten the curves.
    low, high = fig.axes[0].get_ylim()
    means = phase_transition_data(gaps)["mean"].to_numpy()
    assert high - low < 2.3 * np.ptp(means)
    alone = phase_transition_figure(frame[frame["seed"] == 0])
    assert np.isfinite(alone.axes[0].get_ylim()).all()
    plt.close("all")
    with pytest.raises(SuperticketsError, match="'report_f1'"):
        phase_transition_data(frame, "report_f1")


def test_figure3_orders_tasks_by_training_size(two_tasks):
    sizes = {"entailment": 300, "similarity": 70}
    with pytest.raises(SuperticketsError, match="do not say how many training examples task 'entailment' has"):
        figure3_data(two_tasks)
    two_tasks = two_tasks.assign(train_examples=two_tasks["task"].map(sizes))
    data = figure3_data(two_tasks)
    assert list(data["task"]) == ["similarity", "entailment"]
    table = table1(two_tasks).set_index("task")
    for row in data.to_dict("records"):
        beside = table.loc[row["task"]]
        assert [row["gain"], row["gain, low"], row["gain, high"]] == pytest.approx(
            beside[["gain", "low", "high"]].to_list()
        )
        assert row["weights"] == pytest.approx(beside["weights remaining (%)"])
        assert row["paper: gain"] == pytest.approx(beside["paper: gain"])
    assert list(data["paper: weights"]) == [89, 83]
    assert list(figure3_data(two_tasks, "large")["paper: weights"]) == pytest.approx([84, 82])
    assert list(data["train size"]) == [70, 300]

    fig = figure3(two_tasks)
    bars = [[bar.get_height() for bar in axis.patches if isinstance(bar, Rectangle)] for axis in fig.axes[:2]]
    assert bars[0] == pytest.approx(data["gain"].to_list())
    assert bars[1] == pytest.approx([row["gain base"] for row in paper.figure3()])
    assert [text.get_text() for text in fig.axes[2].get_xticklabels()] == [
        "similarity\n(STS-B)\n70",
        "entailment\n(RTE)\n300",
    ]
    plt.close("all")
    with pytest.raises(SuperticketsError, match="No task has both"):
        figure3(two_tasks[two_tasks["kind"] == "full"])


@pytest.fixture
def shrinking(frame) -> pd.DataFrame:
    """Training sets of 50, all and 200 examples, whose tickets gain 3, 1 and 2 points at 10% more than in ``frame``."""
    parts = []
    for size, extra in ((50, 0.03), (None, 0.01), (200, 0.02)):
        part = frame.assign(train_size=size, data=f"d{size}")
        part.loc[(part["kind"] == "winning") & (part["level"] == 0.1), "report_score"] += extra
        # A smaller training set makes everything worse; only the difference counts.
        parts.append(part.assign(report_score=part["report_score"] - 3 * extra))
    return pd.concat(parts, ignore_index=True)


def test_shrinking_gains_are_paired_with_the_full_model_of_the_same_data(frame, shrinking):
    data = shrinking_data(shrinking)
    assert list(dict.fromkeys(data["train_size"])) == ["all", 200, 50]
    light = data[(data["kind"] == "winning") & (data["level"] == 0.1)]
    wide = 100 * paired_scores(frame)
    gains = wide[("winning", 0.1)] - wide[("full", 0.0)]
    assert list(light["gain"]) == pytest.approx([gains.mean() + extra for extra in (1, 2, 3)])
    half = stats.t.ppf(0.975, 3) * gains.sem()
    assert list(light["high"] - light["gain"]) == pytest.approx([half] * 3)
    assert list(light["full"]) == pytest.approx([wide[("full", 0.0)].mean() - 3 * extra for extra in (1, 2, 3)])
    assert set(data["n"]) == {4}
    known = shrinking.assign(train_examples=shrinking["train_size"].fillna(1000))
    assert list(dict.fromkeys(shrinking_data(known)["train_size"])) == [1000, 200, 50]
    # Training sets that differ by seed have a fingerprint each.
    apart = shrinking.assign(data=shrinking["data"] + shrinking["seed"].astype(str))
    pd.testing.assert_frame_equal(shrinking_data(apart), data)


def test_shrinking_leaves_out_what_has_no_partner(shrinking):
    gap = shrinking[~((shrinking["kind"] == "full") & (shrinking["train_size"] == 50) & (shrinking["seed"] > 0))]
    data = shrinking_data(gap)
    assert set(data.loc[data["train_size"] == 50, "n"]) == {1}
    assert data.loc[data["train_size"] == 50, "low"].isna().all()
    assert set(data.loc[data["train_size"] == 200, "n"]) == {4}
    with pytest.raises(SuperticketsError, match="full model of its own training set"):
        shrinking_data(shrinking[shrinking["kind"] != "full"])
    with pytest.raises(SuperticketsError, match="with a train_size"):
        shrinking_data(shrinking.drop(columns="train_size"))


def test_the_shrinking_figure_has_a_panel_per_size(shrinking):
    fig = shrinking_figure(shrinking.assign(train_examples=shrinking["train_size"].fillna(1000)))
    titles = ["entailment, 1,000 examples", "entailment, 200 examples", "entailment, 50 examples"]
    assert [axis.get_title().split("\n")[0] for axis in fig.axes] == titles
    data = shrinking_data(shrinking)
    for axis, size in zip(fig.axes, ("all", 200, 50), strict=True):
        (curve,) = [line for line in axis.lines if line.get_label() == "winning"]
        wanted = data[(data["kind"] == "winning") & (data["train_size"] == size)]
        assert np.asarray(curve.get_ydata()) == pytest.approx(np.asarray(wanted["gain"]))
    assert fig.axes[2].xaxis_inverted()
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["full model", "winning", "winning, other sizes"]
    both = shrinking_figure(shrinking, kinds=("winning", "random"), bottom=-12)
    assert "random" in [text.get_text() for text in both.legends[0].get_texts()]
    assert both.axes[0].get_ylim()[0] == -12
    plt.close("all")
    with pytest.raises(SuperticketsError, match="no finished runs of losing"):
        shrinking_figure(shrinking[shrinking["kind"] != "losing"], kinds=("losing",))


def test_pictures_of_scores_and_tickets():
    rng = np.random.default_rng(0)
    fig = importance_figure(Scores(rng.random((6, 8)), rng.random(6)))
    assert len(fig.axes) == 2
    assert len(fig.axes[1].patches) == 6
    ticket = random_ticket((6, 8), 0.5, seed=0)
    fig = tickets_figure([ticket, ticket])
    filled = [line for line in fig.axes[0].lines if line.get_fillstyle() == "full"]
    assert len(filled) == ticket.kept_heads + ticket.kept_ffns
    plt.close("all")

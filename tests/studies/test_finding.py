"""``supertickets find``, from files to a model that reloads: undisturbed, again, killed and resumed, and mistakes."""

from __future__ import annotations

import html
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from tiny import WORDS

from supertickets import cli
from supertickets.chapters.report import caveats, not_worth_it, verdict_sentence, write_report
from supertickets.engines import best_precision
from supertickets.errors import SuperticketsError
from supertickets.models import importance_scores, load_compacted, load_encoder, load_tokenizer, save_compacted
from supertickets.runs import Hyper, Record, RunStore
from supertickets.statistics import Interval
from supertickets.studies import Found, find
from supertickets.studies.finding import chosen_level
from supertickets.studies.gains import learnt, predict_texts, predictions_frame, report_gain
from supertickets.tasks import DataRef, Examples, Task, data_ref
from supertickets.tickets import Ticket
from supertickets.training import cached_encode, eval_batches, predict

HYPER = Hyper(learning_rate=2e-3, batch_size=4, epochs=4)
LEVELS, SEEDS = (0.3, 0.6), (0, 1)


def reference(toy: Path) -> DataRef:
    return data_ref(train=toy / "train.csv", dev=toy / "dev.csv", text="text", label="verdict")


def find_toy(encoder: Path, data: DataRef, out: Path, keep_full: Path | None = None) -> Found:
    return find(data, str(encoder), out, SEEDS, LEVELS, HYPER, 0.3, workers=1, keep_full=keep_full, progress=False)


@pytest.fixture(scope="module")
def found(encoder, toy, tmp_path_factory) -> Found:
    """An undisturbed find; read only."""
    folder = tmp_path_factory.mktemp("found")
    result = find_toy(encoder, reference(toy), folder / "out", keep_full=folder / "full")
    write_report(result)
    return result


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def results(out: Path) -> dict[str, bytes]:
    """What must not depend on how often a find was killed: everything but the records' timings and the report."""
    files = contents(out / "model")
    return files | {name: (out / name).read_bytes() for name in ("ticket.json", "predictions.csv")}


def same_numbers(first: RunStore, second: RunStore) -> None:
    assert sorted(first.ids()) == sorted(second.ids())
    for run in first.ids():
        assert first[run].metrics == second[run].metrics
        assert first[run].epochs == second[run].epochs
        for name, array in first[run].arrays.items():
            np.testing.assert_array_equal(array, second[run].arrays[name])


def command(encoder: Path, toy: Path, out: Path, options: Mapping[str, str] | None = None) -> list[str]:
    """Arguments of the command line that ask for what ``found`` is; options replace them, "" leaves one out."""
    values = {
        "encoder": str(encoder),
        "train": str(toy / "train.csv"),
        "dev": str(toy / "dev.csv"),
        "text": "text",
        "label": "verdict",
        "out": str(out),
        "seeds": "0,1",
        "levels": "0.3,0.6",
        "learning-rate": str(HYPER.learning_rate),
        "batch-size": str(HYPER.batch_size),
        "epochs": str(HYPER.epochs),
        "precision": "fp32",
        "selection-fraction": "0.3",
        "workers": "1",
        **(options or {}),
    }
    return ["find", "--quiet", *(part for name, value in values.items() if value for part in (f"--{name}", value))]


def run_command(monkeypatch, arguments: list[str]) -> int:
    """Exit status of the console script."""
    monkeypatch.setattr(sys, "argv", ["supertickets", *arguments])
    try:
        cli.main()
    except SystemExit as stopped:
        return int(stopped.code or 0)
    return 0


def test_files_and_the_choice(found):
    assert found.summary.failed == {}
    assert len(found.summary.finished) == 6
    assert found.level in (0, *LEVELS) and found.pruned in LEVELS
    assert {path.name for path in found.out.iterdir()} == {
        "ticket.json",
        "model",
        "predictions.csv",
        "curve.csv",
        "report.html",
        "runs",
    }
    means = found.frame.groupby("level")["selection_score"].mean()
    assert means[found.level] == means.max()
    # The runs differ, so that the tests below can tell one run's numbers from another's.
    store = RunStore(found.out / "runs")
    assert len({store[run].arrays["dev_logits"].tobytes() for run in store.ids()}) == 6
    assert found.frame["report_score"].nunique() > 2
    assert found.selection_size == 18
    assert found.gain.n == 2
    assert found.gain.low < found.gain.mean < found.gain.high
    assert len(pd.read_csv(found.out / "curve.csv")) == 6


def test_the_ticket_holds_the_scores_it_was_chosen_by(found):
    ticket = Ticket.load(found.out / "ticket.json")
    assert ticket == found.chosen.ticket()
    assert ticket.level == found.level
    assert ticket.provenance["run"] == found.chosen.id
    assert ticket.scores is not None
    np.testing.assert_array_equal(ticket.scores.heads, found.full.scores("example").heads)
    assert ticket.scores.n_examples == 48


def test_the_model_reloads_and_gives_the_written_predictions(found):
    model, tokenizer = load_compacted(found.out / "model"), load_tokenizer(str(found.out / "model"))
    logits = predict(model, cached_encode(found.task, "dev", tokenizer, HYPER.max_length))
    np.testing.assert_array_equal(logits, found.chosen.arrays["dev_logits"])
    written = pd.read_csv(found.out / "predictions.csv")
    pd.testing.assert_frame_equal(written, predictions_frame(found.task, found.chosen), check_dtype=False, rtol=1e-6)
    names = model.config.id2label or {}
    assert list(written["prediction"]) == [names[row] for row in logits.argmax(1)]
    assert written["split"].value_counts().to_dict() == {"report": 42, "selection": 18}
    assert written["text_1"][0] == found.task.dev.texts[0][0]
    smaller, full = (
        sum(p.numel() for p in load_compacted(path).parameters())
        for path in (found.out / "model", found.out.parent / "full")
    )
    assert smaller < full


def test_the_report_says_verdict_level_caveats_and_provenance(found):
    page = (found.out / "report.html").read_text(encoding="utf-8")
    learnt = "super ticket" if found.learnt.low > 0 else "chosen"
    marked = f"{found.level:.0%} ({learnt if found.level else 'kept'})"
    for part in (verdict_sentence(found), *caveats(found), *not_worth_it(found), marked, found.chosen.id):
        assert html.escape(part) in page
    assert page.count("<svg") == 4  # two figures, each for wide and for narrow screens
    assert f"{100 * found.learnt.mean:+.1f} points ({found.constant})" in html.unescape(page)
    for part in ("ms for 32 examples", "learning rate", "supertickets predict --model", ">kind<", "(accuracy)"):
        assert part in page
    assert "src=" not in page.replace('src="data:', "")
    assert "http" not in "".join(line for line in page.splitlines() if "<link" in line or "<script" in line)


def test_the_readme_beside_the_model_has_data_scores_sizes_and_licence(found):
    arrays = found.chosen.arrays
    labels, answers = found.task.dev.labels[~arrays["selection"]], arrays["dev_logits"][~arrays["selection"]].argmax(1)
    accuracy = (labels == answers).mean()
    for folder, record in ((found.out / "model", found.chosen), (found.out.parent / "full", found.full)):
        text = (folder / "README.md").read_text(encoding="utf-8")
        for part in ("| task | train |", f"fingerprint {found.task.fingerprint[:16]}", "licence of that encoder"):
            assert part in text
        assert "| examples | 48 to train on, 18 to choose by, 42 to report on |" in text
        low, high = map(float, re.findall(r"accuracy, report rows \| [\d.]+ \[([\d.]+), ([\d.]+)\]", text)[0])
        score = record.metrics["report"]["accuracy"]
        assert f"| accuracy, report rows | {score:.3f} [{low:.3f}, {high:.3f}] |" in text
        half = 1.96 * math.sqrt(score * (1 - score) / 42)  # of a share, by the normal distribution
        assert (low, high) == pytest.approx((score - half, min(1, score + half)), abs=0.05)
    assert f"(the model's: {accuracy:.3f})" in (found.out / "model" / "README.md").read_text(encoding="utf-8")


def gained(found: Found, low: float, high: float, p: float, seeds: int) -> str:
    mean, sd = (low + high) / 2, seeds**0.5 * (high - low) / 2 / 1.96
    gain = Interval(seeds, mean, sd, low, high, p)
    sure = Interval(1, 0.3, 0.1, 0.2, 0.4)
    return verdict_sentence(replace(found, gain=gain, learnt=sure, level=found.pruned))


@pytest.mark.parametrize(
    ("low", "high", "p", "said"),
    [
        (0.01, 0.03, 0.01, "is better than"),
        (-0.03, -0.01, 0.01, "is worse than"),
        (-0.01, 0.03, 0.4, "cannot be told apart from the full model, being perhaps 1.0 points worse or 3.0 better"),
    ],
)
def test_better_is_said_only_if_the_interval_says_so(found, low, high, p, said):
    sentence = gained(found, low, high, p, 3)
    assert said in sentence
    assert f"[{100 * low:+.1f}, {100 * high:+.1f}] over 3 seeds and the examples (42 examples" in sentence


@pytest.mark.parametrize("seeds", [1, 2])
def test_one_run_or_two_cannot_say_and_name_the_spread_that_could(found, seeds):
    sentence = gained(found, 0.01, 0.03, math.nan, seeds)
    assert f"{'One run' if seeds == 1 else '2 runs'} cannot say whether it is better" in sentence
    assert "is better than the full model on" not in sentence and "over examples only" in sentence
    limit = 100 * math.sqrt(seeds * ((0.02 / 1.96) ** 2 - (0.01 / 1.96) ** 2))
    assert f"a standard deviation below {limit:.1f} points" in sentence
    assert "Even if seeds made no difference" in gained(found, -0.01, 0.03, math.nan, seeds)


def test_seeds_that_differ_are_not_called_better(found):
    """The audit's case: no gain in truth, a spread of 3 points over seeds, and examples on which both agree."""
    rng, wrong, times = np.random.default_rng(0), {1: 0, 3: 0}, 60
    task = replace(found.task, dev=replace(found.task.dev, labels=np.zeros(400, dtype=int), groups=None))
    for _ in range(times):
        pairs = []
        for _ in range(3):
            records = []
            common = rng.random(400)
            for extra in (rng.normal(0, 0.03), 0.0):
                right = common < 0.8 + extra
                logits = np.stack([right, ~right], axis=1).astype(float)
                records.append(
                    replace(found.full, arrays={"selection": np.zeros(400, dtype=bool), "dev_logits": logits})
                )
            pairs.append((records[0], records[1]))
        for seeds in wrong:
            gain = report_gain(task, pairs[:seeds], 100)
            sure = Interval(1, 0.3, 0.1, 0.2, 0.4)
            sentence = verdict_sentence(replace(found, task=task, gain=gain, learnt=sure, level=found.pruned))
            wrong[seeds] += "It is better than" in sentence or "It is worse than" in sentence
    assert wrong[1] == 0
    assert wrong[3] / times <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / times)


def test_the_gain_is_the_mean_difference_on_the_report_split(found):
    store = RunStore(found.out / "runs")
    chosen = found.frame.loc[found.frame["level"] == found.pruned]
    by_hand = []
    for run, parent in zip(chosen["run"], chosen["parent"], strict=True):
        correct = []
        for record in (store[run], store[parent]):
            report = ~record.arrays["selection"]
            answers = record.arrays["dev_logits"].argmax(1)
            correct.append((answers == record.arrays["dev_labels"])[report].mean())
        by_hand.append(correct[0] - correct[1])
    assert found.gain.mean == pytest.approx(np.mean(by_hand), abs=1e-12)
    same = report_gain(found.task, [(found.full, found.full)] * 3)
    assert (same.mean, same.p, same.low, same.high) == (0.0, 1.0, 0.0, 0.0)


def test_the_full_model_that_was_kept_gives_the_ticket_its_scores(found):
    model = load_compacted(found.out.parent / "full")
    train = cached_encode(found.task, "train", load_tokenizer(found.full.spec.encoder), HYPER.max_length)
    again = importance_scores(model, eval_batches(train))
    np.testing.assert_allclose(again.heads, found.ticket.scores.heads, rtol=1e-6)
    np.testing.assert_allclose(again.ffns, found.ticket.scores.ffns, rtol=1e-6)
    dev = cached_encode(found.task, "dev", load_tokenizer(found.full.spec.encoder), HYPER.max_length)
    np.testing.assert_array_equal(predict(model, dev), found.full.arrays["dev_logits"])


def test_again_repeats_no_run_and_changes_no_file(found, encoder, toy, tmp_path):
    out = Path(shutil.copytree(found.out, tmp_path / "out"))
    before = contents(out)
    again = find_toy(encoder, reference(toy), out)
    write_report(again)
    assert again.summary.finished == []
    assert again.gain == found.gain
    after = contents(out)
    assert {name for name in before if before[name] != after[name]} <= {"report.html"}
    assert after.keys() == before.keys()


def test_a_model_that_is_missing_is_made_again(found, encoder, toy, tmp_path):
    # As after a kill between the last run and the writing of the model, with the saved models lost too.
    shutil.copytree(found.out / "runs", tmp_path / "out" / "runs")
    again = find_toy(encoder, reference(toy), tmp_path / "out")
    assert again.summary.finished == []
    assert results(tmp_path / "out") == results(found.out)


def test_a_model_that_cannot_be_made_again_is_refused(found, encoder, toy, tmp_path):
    store = RunStore(found.out / "runs")
    elsewhere = RunStore(tmp_path / "out" / "runs")
    for run in store.ids():
        record = store[run]
        arrays = {**record.arrays, "dev_logits": record.arrays["dev_logits"] + np.float32(1e-3)}
        elsewhere.save(Record(**{**vars(record), "arrays": arrays}))
    with pytest.raises(SuperticketsError, match=r"other predictions than the record.*start in a new folder"):
        find_toy(encoder, reference(toy), tmp_path / "out")
    assert not (tmp_path / "out" / "model").exists()


def test_killed_and_resumed(found, encoder, toy, tmp_path):
    out = tmp_path / "out"
    arguments = [sys.executable, "-m", "supertickets.cli", *command(encoder, toy, out)]
    process = subprocess.Popen(arguments, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    store, deadline = RunStore(out / "runs"), time.monotonic() + 120
    while len(store.ids()) < 2 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    printed = process.communicate()[0]
    done = set(store.ids())
    assert 0 < len(done) < 6, printed
    assert not (out / "ticket.json").exists()
    # Resumed twice: with the models that the killed call had saved, and without them.
    shutil.copytree(out, tmp_path / "lost")
    shutil.rmtree(tmp_path / "lost" / ".models")
    for folder in (out, tmp_path / "lost"):
        resumed = find_toy(encoder, reference(toy), folder)
        assert set(resumed.summary.found) == done
        assert len(resumed.summary.finished) == 6 - len(done)
        same_numbers(RunStore(folder / "runs"), RunStore(found.out / "runs"))
        assert results(folder) == results(found.out)
        assert resumed.gain == found.gain
        assert not (folder / ".models").exists()


def test_the_command_says_what_was_found(found, encoder, toy, tmp_path, monkeypatch, capsys):
    out = Path(shutil.copytree(found.out, tmp_path / "out"))
    assert run_command(monkeypatch, command(encoder, toy, out)) == 0
    printed = capsys.readouterr().out
    assert "0 runs carried out, 6 found in the store" in printed
    assert verdict_sentence(found) in printed
    assert str(out / "report.html") in printed


def broken_files(folder: Path) -> dict[str, str]:
    folder.mkdir(exist_ok=True)
    texts = {
        "one_class.csv": "text,verdict\n" + "the film was good,kind\n" * 20,
        "empty.csv": "",
        "header_only.csv": "text,verdict\n",
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return {name: str(folder / name) for name in texts}


FAULTS = {
    "unknown encoder": ({"encoder": "lab-huge"}, ["lab-huge", "lab-base"]),
    "encoder folder": ({"encoder": "./nowhere"}, ["nowhere"]),
    "unknown task": ({"task": "sarcasm", "train": "", "dev": "", "text": "", "label": ""}, ["sarcasm", "entailment"]),
    "missing column": ({"label": "answer"}, ["answer", "train.csv", "text", "verdict"]),
    "no dev": ({"dev": ""}, ["dev"]),
    "dev is not there": ({"dev": "nowhere.csv"}, ["nowhere.csv"]),
    "levels": ({"levels": "0.3,many"}, ["--levels", "0.3,many"]),
    "level above one": ({"levels": "0.3,1.5"}, ["--levels", "0.3,1.5"]),
    "one class": ({"train": "one_class.csv"}, ["class"]),
    "empty file": ({"train": "empty.csv"}, ["empty.csv"]),
    "header only": ({"train": "header_only.csv"}, ["header_only.csv"]),
    "diverged": ({"learning-rate": "1e30", "seeds": "0", "levels": "0.3"}, ["diverged", "lower the learning rate"]),
    "precision": ({"precision": "fp8"}, ["fp8", "fp32, bf16"]),
    "selection fraction": ({"selection-fraction": "1.5"}, ["1.5"]),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_mistake_is_one_line_and_status_2(fault, encoder, toy, tmp_path, monkeypatch, capsys):
    files = broken_files(tmp_path / "broken")
    options, parts = FAULTS[fault]
    options = {name: files.get(value, value) for name, value in options.items()}
    assert run_command(monkeypatch, command(encoder, toy, tmp_path / "out", options)) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1, error
    assert error.startswith("supertickets: ")
    assert [part for part in parts if part not in error] == [], error
    assert not (tmp_path / "out" / "model").exists()


def test_out_that_is_a_file_is_one_line(encoder, toy, tmp_path, monkeypatch, capsys):
    (tmp_path / "out").write_text("mine")
    assert run_command(monkeypatch, command(encoder, toy, tmp_path / "out")) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1, error
    assert str(tmp_path / "out") in error
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.parametrize("place", ["out", "", "out/model", "out/runs", "mine", "mine/notes.txt"])
def test_the_full_model_never_replaces_what_is_not_its_own(place, encoder, toy, tmp_path):
    for name in ("out/runs", "mine"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    (tmp_path / "out" / "ticket.json").write_text("{}")
    before = contents(tmp_path)
    with pytest.raises(SuperticketsError, match="name another"):
        find_toy(encoder, reference(toy), tmp_path / "out", keep_full=tmp_path / place)
    assert contents(tmp_path) == before


def test_a_model_folder_of_somebody_else_stays(encoder, toy, tmp_path):
    (tmp_path / "out" / "model").mkdir(parents=True)
    (tmp_path / "out" / "model" / "weights.bin").write_text("theirs")
    with pytest.raises(SuperticketsError, match="holds no model of ours"):
        find_toy(encoder, reference(toy), tmp_path / "out")
    assert (tmp_path / "out" / "model" / "weights.bin").read_text() == "theirs"


def small_find(encoder: Path, data: DataRef, out: Path) -> tuple[Found, Task]:
    hyper = Hyper(learning_rate=3e-3, batch_size=16, epochs=1)
    result = find(data, str(encoder), out, (0,), (0.4,), hyper, 0.3, workers=1, progress=False)
    write_report(result)
    return result, result.task


def test_regression(encoder, tmp_path):
    rng = np.random.default_rng(0)
    for name, n in (("train", 40), ("dev", 40)):
        rows = [(WORDS[i], WORDS[6 + j]) for i, j in rng.integers((6, 3), size=(n, 2))]
        values = [(word in WORDS[:3]) + 0.01 * index for index, (word, _) in enumerate(rows)]
        texts = [f"the {noun} was {word}" for word, noun in rows]
        pd.DataFrame({"text": texts, "value": values}).to_csv(tmp_path / f"{name}.csv", index=False)
    data = data_ref(train=tmp_path / "train.csv", dev=tmp_path / "dev.csv", text="text", label="value")
    found, task = small_find(encoder, data, tmp_path / "out")
    assert task.kind == "regression"
    written = pd.read_csv(tmp_path / "out" / "predictions.csv")
    assert list(written.columns) == ["split", "text_1", "label", "prediction"]
    model = load_compacted(tmp_path / "out" / "model")
    logits = predict(model, cached_encode(task, "dev", load_tokenizer(str(encoder)), HYPER.max_length))
    np.testing.assert_allclose(written["prediction"], logits[:, 0], rtol=1e-6)
    report = written.loc[written["split"] == "report"]
    expected = (report["label"].corr(report["prediction"]) + report["label"].corr(report["prediction"], "spearman")) / 2
    assert found.chosen.metrics["report"]["score"] == pytest.approx(expected, abs=1e-6)
    assert json.loads((tmp_path / "out" / "model" / "config.json").read_text())["problem_type"] == "regression"


def test_sentence_pairs(encoder, tmp_path):
    rng = np.random.default_rng(1)
    for name in ("train", "dev"):
        words = rng.integers(6, size=(40, 2))
        frame = {
            "first": [f"the film was {WORDS[a]}" for a, _ in words],
            "second": [f"the book was {WORDS[b]}" for _, b in words],
            "same": ["yes" if (a < 3) == (b < 3) else "no" for a, b in words],
        }
        pd.DataFrame(frame).to_csv(tmp_path / f"{name}.csv", index=False)
    data = data_ref(train=tmp_path / "train.csv", dev=tmp_path / "dev.csv", text=("first", "second"), label="same")
    found, task = small_find(encoder, data, tmp_path / "out")
    assert task.label_names == ("no", "yes")
    written = pd.read_csv(tmp_path / "out" / "predictions.csv")
    assert written["text_2"].str.startswith("the book was").all()
    np.testing.assert_allclose(written["probability_no"] + written["probability_yes"], 1.0, atol=1e-6)
    assert load_compacted(tmp_path / "out" / "model").config.id2label == {0: "no", 1: "yes"}
    report = written.loc[written["split"] == "report"]
    assert found.chosen.metrics["report"]["accuracy"] == pytest.approx((report["label"] == report["prediction"]).mean())


@pytest.mark.parametrize("metrics", [("accuracy",), ("f1",), ("mcc",), ("macro_f1",)])
def test_a_full_model_that_only_guesses_ends_the_verdict(found, metrics):
    task = replace(found.task, metrics=metrics)
    selection, labels = found.full.arrays["selection"], task.dev.labels
    for wrong, ended in ((0.5, True), (0.05, False)):
        answers = np.where(np.arange(len(labels)) % 20 < 20 * wrong, 1 - labels, labels)
        arrays = {"selection": selection, "dev_logits": np.eye(2)[answers]}
        sentence = verdict_sentence(replace(found, task=task, learnt=learnt(task, [arrays])))
        assert ended == sentence.startswith("No verdict: the full model has not learnt the task.")
        assert ("F1 of class 'unkind'" if metrics == ("f1",) else metrics[0]) in sentence


def test_a_regression_that_correlates_with_nothing_has_not_learnt():
    scores = np.random.default_rng(0).normal(size=(2, 300))
    rows = Examples((("a",),) * 300, scores[0])
    task = Task("sim", "regression", (), ("pearson", "spearman"), rows, rows)
    selection = np.arange(300) < 30
    for outputs, clear in ((scores[1], False), (scores.sum(axis=0), True)):
        arrays = {"selection": selection, "dev_logits": outputs[:, None]}
        assert (learnt(task, [arrays]).low > 0) == clear


def test_a_handful_of_examples_decides_nothing(found):
    """Three seeds that agree: 4 examples gained and none lost, of 64 (exact p = .125); of 12 it is a difference."""
    labels = np.zeros(70, dtype=int)
    task = replace(found.task, dev=replace(found.task.dev, labels=labels, groups=None))
    for gained_examples, clear in ((4, False), (12, True)):
        pairs = []
        for _ in range(3):
            arrays = {"selection": np.arange(70) < 6, "dev_logits": np.eye(2)[labels]}
            worse = {**arrays, "dev_logits": np.eye(2)[labels ^ (np.arange(70) >= 70 - gained_examples)]}
            pairs.append((replace(found.full, arrays=arrays), replace(found.full, arrays=worse)))
        assert (report_gain(task, pairs, 100).p <= 0.05) == clear


def test_the_full_model_is_a_candidate_and_what_is_saved_if_it_is_better(found, encoder, toy, tmp_path):
    frame = pd.DataFrame({"level": [0.0, 0.2, 0.4], "selection_score": [0.8, 0.79, 0.6], "selection_loss": [0.5] * 3})
    assert chosen_level(frame) == 0.0
    assert chosen_level(frame, "smallest-within", 0.01) == 0.2
    assert chosen_level(frame.assign(selection_score=0.7)) == 0.0
    assert chosen_level(frame.assign(selection_score=0.7), "smallest-within", 0.0) == 0.4
    assert chosen_level(frame.assign(selection_score=0.7, selection_loss=[0.5, 0.4, 0.6])) == 0.2
    with pytest.raises(SuperticketsError, match="--choose 'report' is not known"):
        chosen_level(frame, "report")
    out = Path(shutil.copytree(found.out, tmp_path / "out"))
    levels = {}
    for margin in (0.0, 1.0):
        wanted = {"choose": "smallest-within", "margin": margin, "progress": False}
        again = find(reference(toy), str(encoder), out, SEEDS, LEVELS, HYPER, 0.3, 1, **wanted)
        saved = Ticket.load(out / "model" / "ticket.json")
        assert saved.heads.tolist() == again.ticket.heads.tolist()
        levels[margin] = again.level
    assert levels[1.0] == max(LEVELS)
    kept = replace(found, level=0.0, learnt=Interval(1, 0.3, 0.1, 0.2, 0.4))
    assert "keep the full model, which is what is saved" in verdict_sentence(kept)


def test_results_of_other_data_and_files_of_others_stay(found, encoder, toy, tmp_path):
    out = Path(shutil.copytree(found.out, tmp_path / "out"))
    before = contents(out)
    other = data_ref(train=toy / "dev.csv", dev=toy / "train.csv", text="text", label="verdict")
    with pytest.raises(SuperticketsError, match="holds the result of task train on other data; name another folder"):
        find_toy(encoder, other, out)
    assert contents(out) == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "predictions.csv").write_text("mine")
    with pytest.raises(SuperticketsError, match=r"predictions\.csv is there already and not ours"):
        find_toy(encoder, reference(toy), tmp_path / "mine")


def test_what_was_inferred_and_every_doubt_is_said_before_the_first_run(found, encoder, toy, tmp_path):
    out, said = Path(shutil.copytree(found.out, tmp_path / "out")), []
    find(reference(toy), str(encoder), out, SEEDS, LEVELS, HYPER, 0.3, 1, progress=False, say=said.append)
    assert said[0].startswith("Task train: classification, 2 classes: kind (")
    assert "--kind" not in said[0] and "scored by accuracy" in said[0]  # words can be nothing but classes
    assert said[-1].startswith("Runs: 6 (seeds 0, 1), in fp32 on CPU")
    assert any("dev texts are training texts too" in line for line in said)
    assert [f"Note: {note}" for note in found.notes] == said[1:-1]


def test_what_is_wrong_with_an_encoder_is_said_before_the_first_run(found, toy, tmp_path):
    ticket = replace(found.ticket, heads=np.eye(3, 4, dtype=bool))
    encoder = save_compacted(load_encoder(found.full.spec.encoder, 2, 0), ticket, tmp_path / "small")
    load_tokenizer(found.full.spec.encoder).save_pretrained(encoder)
    with pytest.raises(SuperticketsError, match=r"^.*small is a compacted model, which cannot be an encoder: load it"):
        find_toy(encoder, reference(toy), tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_an_encoder_that_knows_no_word_is_refused(encoder, tmp_path):
    rows = "".join(f"qqq{i} zzz{i},{'yes' if i % 2 else 'no'}\n" for i in range(20))
    (tmp_path / "t.csv").write_text("text,label\n" + rows)
    data = data_ref(train=tmp_path / "t.csv", dev_share=0.3)
    with pytest.raises(SuperticketsError, match=r"knows hardly a word of task 't' \(100% are unknown\)"):
        find(data, str(encoder), tmp_path / "out", progress=False)


def test_a_saved_model_answers_new_texts(found, tmp_path, monkeypatch, capsys):
    model = str(found.out / "model")
    texts = [text for (text,) in found.task.dev.texts]
    written = pd.read_csv(found.out / "predictions.csv")
    answered = predict_texts(model, texts)
    assert list(answered.columns) == ["prediction", "probability_kind", "probability_unkind"]
    assert answered["prediction"].tolist() == written["prediction"].tolist()
    np.testing.assert_allclose(answered["probability_kind"], written["probability_kind"], rtol=1e-5)
    pd.DataFrame({"words": texts}).to_json(tmp_path / "new.jsonl", orient="records", lines=True)
    options = ["--data", str(tmp_path / "new.jsonl"), "--text", "words", "--out", str(tmp_path / "answers.csv")]
    assert run_command(monkeypatch, ["predict", "--model", model, *options]) == 0
    assert "60 answers" in capsys.readouterr().out
    from_file = pd.read_csv(tmp_path / "answers.csv")
    assert from_file["words"].tolist() == texts
    assert from_file["prediction"].tolist() == written["prediction"].tolist()


@pytest.mark.parametrize(("native", "bf16", "wanted"), [(True, 0.5, "bf16"), (True, 2.0, "fp32"), (False, 0.5, "fp32")])
def test_precision_is_bf16_only_where_it_is_the_faster(monkeypatch, native, bf16, wanted):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: {"avx512_bf16": native}, raising=False)
    monkeypatch.setattr(
        "supertickets.engines.resources._product", lambda dtype: bf16 if dtype is torch.bfloat16 else 1.0
    )
    assert best_precision() == wanted

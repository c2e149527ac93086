"""``supertickets share``: one encoder for tasks of one's own, each with its ticket."""

import json
import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from tiny import write_toy_task

from supertickets import cli
from supertickets.errors import SuperticketsError
from supertickets.models import load_compacted, load_tokenizer
from supertickets.runs import Hyper
from supertickets.studies import share
from supertickets.studies.ticket_share import read_ticket
from supertickets.tasks import data_ref, load_task
from supertickets.tickets import Ticket, random_ticket
from supertickets.training import predict
from supertickets.training.batching import encode

QUICK = Hyper(learning_rate=3e-3, batch_size=16, epochs=2)


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """A folder with two tasks, and a ticket for each: ours, and one in the authors' format."""
    home = tmp_path_factory.mktemp("share")
    for name, size in (("kind", 48), ("nice", 32)):
        folder = write_toy_task(home / "data" / name, n_train=size)
        for file in folder.iterdir():  # names of columns that need not be given
            file.write_text(file.read_text().replace("text,verdict", "sentence,label"))
    random_ticket((3, 4), 0.4, seed=0).save(home / "ticket.json")
    authors = home / "authors"
    authors.mkdir()
    (authors / "heads_to_mask.json").write_text(json.dumps({"0": {"0": [1, 2], "2": [0]}}))
    (authors / "ffn_to_mask.json").write_text(json.dumps({"0": [1]}))
    return home


def run(monkeypatch, capsys, *arguments: str) -> tuple[int, str]:
    """The exit status of the command line, and what it says."""
    monkeypatch.setattr(sys, "argv", ["supertickets", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    spoken = capsys.readouterr()
    return int(stopped.value.code or 0), spoken.out + spoken.err


def test_the_command_shares_and_its_models_reload(places, encoder, tmp_path, monkeypatch, capsys):
    out = tmp_path / "shared"
    common = ["--encoder", encoder, "--data-dir", places / "data", "--out", out, "--epochs", "2", "--quiet"]
    pairs = ["--tasks", f"kind={places / 'ticket.json'}", f"nice={places / 'authors'}"]
    status, said = run(monkeypatch, capsys, "share", *common, *pairs, "--batch-size", "16", "--precision", "fp32")
    assert status == 0, said
    assert "kind: report score" in said and "nice: report score" in said
    assert "The shared encoder stores" in said
    content = json.loads((out / "shared.json").read_text())
    ours, theirs = Ticket.load(places / "ticket.json"), read_ticket(places / "authors", (3, 4))
    assert theirs.kept_heads == 9 and theirs.kept_ffns == 2
    union = Ticket.from_json(content["union"])
    np.testing.assert_array_equal(union.heads, ours.heads | theirs.heads)
    assert not (out / "checkpoint.safetensors").exists()
    for name, ticket in (("kind", ours), ("nice", theirs)):
        model = load_compacted(out / name)
        np.testing.assert_array_equal(Ticket.load(out / name / "ticket.json").heads, ticket.heads)
        task = load_task(name, data_dir=places / "data")
        logits = predict(model, encode(task.dev, load_tokenizer(str(encoder))))
        assert logits.shape == (60, 2)
        assert model.config.id2label == {0: "kind", 1: "unkind"}


def test_the_saved_models_give_the_scores(places, encoder, tmp_path):
    refs = {name: data_ref(name, data_dir=places / "data") for name in ("kind", "nice")}
    tickets = {"kind": places / "ticket.json", "nice": places / "authors"}
    found = share(refs, tickets, str(encoder), tmp_path / "a", hyper=QUICK, progress=False)
    for row in found.scores.to_dict("records"):
        task = refs[row["task"]].load()
        with torch.no_grad():
            logits = predict(
                load_compacted(tmp_path / "a" / row["task"]), encode(task.dev, load_tokenizer(str(encoder)))
            )
        assert row["dev_accuracy"] == pytest.approx((logits.argmax(1) == task.dev.labels).mean())


def test_own_files_as_find_takes_them(places, encoder, tmp_path, monkeypatch, capsys):
    """One file's two label columns are two tasks; a third has files, columns and a metric of its own."""
    frame = pd.read_csv(places / "data" / "kind" / "train.csv").rename(columns={"sentence": "words", "label": "kind"})
    frame.assign(length=[0.1 * len(words) for words in frame["words"]]).to_csv(tmp_path / "t.csv", index=False)
    other = frame.rename(columns={"words": "text", "kind": "label"})
    other.to_json(tmp_path / "other.jsonl", orient="records", lines=True)
    ticket, out = places / "ticket.json", tmp_path / "out"
    given = [f"{name}={ticket}" for name in ("mood", "size", "other")]
    given += ["--train", tmp_path / "t.csv", "--train", f"other={tmp_path / 'other.jsonl'}", "--dev-share", "0.5"]
    given += ["--text", "words", "--text", "other=text", "--label", "mood=kind", "--label", "size=length"]
    given += ["--label", "other=label", "--metric", "other=f1", "--positive", "other=kind", "--epochs", "1"]
    common = ["share", "--encoder", encoder, "--quiet", "--out", out, "--batch-size", "16", "--tasks", *given]
    status, said = run(monkeypatch, capsys, *common)
    assert status == 0, said
    scores = pd.read_csv(out / "scores.csv").set_index("task")
    assert set(scores.index) == {"mood", "size", "other"}
    assert scores.loc["other"].dropna().index.str.endswith("f1").sum() == 3
    assert load_compacted(out / "size").config.problem_type == "regression"
    assert load_compacted(out / "other").config.id2label == {0: "unkind", 1: "kind"}
    readme = (out / "other" / "README.md").read_text(encoding="utf-8")
    content = json.loads((out / "shared.json").read_text())
    for part in ("# other", "F1 of class 'kind', report rows", content["data"]["other"][:16], str(encoder)):
        assert part in readme
    weights = [path.relative_to(out).parts[0] for path in out.rglob("model.safetensors")]
    assert weights == ["shared-encoder"]  # once, and of each task its head
    status, said = run(monkeypatch, capsys, *common, "--label", "mood=length")
    assert status == 2 and "Task mood takes one --label, not 2: say whose, NAME=VALUE." in said


def test_results_of_other_calls_and_files_of_others_stay(places, encoder, tmp_path):
    refs = {name: data_ref(name, data_dir=places / "data") for name in ("kind", "nice")}
    tickets = {"kind": places / "ticket.json", "nice": places / "authors"}

    def again(out, seed=0, tickets=tickets):
        share(refs, tickets, str(encoder), out, seed, QUICK, progress=False)
        return {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}

    before = again(tmp_path / "out")
    assert again(tmp_path / "out") == before  # the same call may be repeated
    changes: list[dict[str, Any]] = [{"seed": 1}, {"tickets": {**tickets, "nice": places / "ticket.json"}}]
    for changed in changes:
        with pytest.raises(SuperticketsError, match=r"holds the result of another call.*name another folder"):
            again(tmp_path / "out", **changed)
    for name in ("kind/notes.txt", "shared-encoder/notes.txt", "scores.csv", "shared.json"):
        mine = tmp_path / name.replace("/", "-") / name
        mine.parent.mkdir(parents=True)
        mine.write_text("mine")
        with pytest.raises(SuperticketsError, match="name another folder"):
            again(tmp_path / name.replace("/", "-"))
        assert [path for path in (tmp_path / name.replace("/", "-")).rglob("*") if path.is_file()] == [mine]
        assert mine.read_text() == "mine"


def test_mistakes_are_one_sentence(places, encoder, tmp_path, monkeypatch, capsys):
    common = ["share", "--encoder", encoder, "--data-dir", places / "data", "--out", tmp_path / "out", "--quiet"]
    ticket = places / "ticket.json"
    big = tmp_path / "big.json"
    random_ticket((6, 8), 0.4, seed=0).save(big)
    for pairs, sentence in (
        (["kind"], "is not of the form NAME=TICKET"),
        ([f"kind={ticket}", f"kind={ticket}"], "Task kind is named twice"),
        ([f"kind={ticket}", f"nice={big}"], "Task nice: The ticket is for an encoder of 6 layers x 8 heads"),
        ([f"unkind={ticket}"], "has no task 'unkind'"),
        ([f"kind={tmp_path / 'none.json'}"], "none.json"),
        ([f"kind={places}"], "has no heads_to_mask.json"),
    ):
        status, said = run(monkeypatch, capsys, *common, "--tasks", *pairs)
        assert status != 0
        assert sentence in " ".join(said.split()), said
        assert "Traceback" not in said
    with pytest.raises(SuperticketsError, match="a ticket for nice, which is none of the tasks"):
        share({"kind": data_ref("kind", data_dir=places / "data")}, {"nice": ticket}, str(encoder), tmp_path / "x")

"""The page "Use it on your data": its example, and its recipe for ONNX, carried out with and without this package."""

from __future__ import annotations

import ast
import html
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import supertickets_example as example
import torch
import yaml
from tiny import TICKETS

from supertickets.models import compact, load_encoder, load_tokenizer, save_compacted

PAGE = Path(__file__).parents[2] / "book" / "use_it.md"
WITHOUT = "import sys\nfor name in ('supertickets', 'torch', 'transformers'):\n    sys.modules[name] = None\n"
TEXTS = ["the film was very good", "the meal was dull", "a book"]


def blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def run(code: str, folder: Path) -> str:
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_citation_is_that_of_the_repository() -> None:
    title = yaml.safe_load((PAGE.parents[1] / "CITATION.cff").read_text(encoding="utf-8"))["title"]
    assert title in " ".join(PAGE.read_text(encoding="utf-8").split())


@pytest.mark.filterwarnings("ignore")
def test_the_recipe_for_onnx(encoder, tmp_path):
    for name in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(name, reason="the extra supertickets[onnx] is not installed")
    ticket = replace(TICKETS[3], heads=TICKETS[0].heads)  # without an FFN, and with heads in every layer
    assert ticket.heads.any(axis=1).all() and not ticket.ffns.all()
    model = compact(load_encoder(str(encoder), 2, 0), ticket).eval()
    model.config.id2label = {0: "kind", 1: "unkind"}
    tokenizer = load_tokenizer(str(encoder))
    save_compacted(model, ticket, tmp_path / "found" / "model", tokenizer)
    export, serve = (next(block for block in blocks() if mark in block) for mark in ("onnx.export", "def answer"))
    run(export, tmp_path)
    with torch.no_grad():
        wanted = model(**tokenizer(TEXTS, padding=True, return_tensors="pt")).logits.numpy()
    serve = serve.replace("    logits = ", "    global last\n    last = logits = ")
    told = f"\nprint([answer({TEXTS!r}), last.tolist()])"
    for file, tolerance in (("model.onnx", 1e-5), ("model-int8.onnx", 0.05 * np.abs(wanted).max())):
        answers, logits = ast.literal_eval(
            run(WITHOUT + serve.replace("found/model.onnx", f"found/{file}") + told, tmp_path)
        )
        np.testing.assert_allclose(logits, wanted, atol=tolerance)
        if file == "model.onnx":
            assert answers == [model.config.id2label[index] for index in wanted.argmax(1)]


@pytest.mark.timeout(1800)  # the first test builds the book
def test_the_page_shows_what_the_command_said_and_the_report_that_it_wrote(site: Path) -> None:
    text, built = (site / "use_it.html").read_text(encoding="utf-8"), site.parent / "example"
    read = html.unescape(re.sub(r"<[^>]+>", "", text))
    printed = json.loads((built / "done.json").read_text(encoding="utf-8"))["printed"]
    assert printed.strip() in read and "Written: found/report.html" in printed
    assert (built / "train.csv").read_text(encoding="utf-8").splitlines()[1] in read
    report = (built / "found" / "report.html").read_text(encoding="utf-8")
    assert (site / "_static" / "found" / "report.html").read_text(encoding="utf-8") == report
    (verdict,) = re.findall('<p class="verdict">(.*?)</p>', report)
    assert verdict in text and html.unescape(verdict) in printed
    assert text.count('<figure class="st-figure"') == report.count('<figure class="st-figure"') == 2
    assert str(built) not in text + report


def test_the_example_is_carried_out_once_for_the_same_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls, ends = [], [0, 0, 1]

    def run(call: list[str], **options: object) -> SimpleNamespace:
        calls.append(call)
        return SimpleNamespace(returncode=ends[len(calls) - 1], stdout="said", stderr="why")

    monkeypatch.setattr(example.subprocess, "run", run)
    folder = tmp_path / "example"
    assert example.carried_out(folder) == example.carried_out(folder) and len(calls) == 1
    assert calls[0][3:6] == ["find", "--encoder", "lab-base"] and "\n" not in "".join(calls[0])
    assert len((folder / "train.csv").read_text(encoding="utf-8").splitlines()) == 1 + example.ROWS["train"]
    monkeypatch.setattr(example, "COMMAND", example.COMMAND + " --quiet")
    example.carried_out(folder)
    monkeypatch.setattr(example, "COMMAND", "supertickets find")
    with pytest.raises(RuntimeError, match="why"):
        example.carried_out(folder)
    assert len(calls) == 3 and not (folder / "done.json").exists()

"""The chapters at the paper's profile, offline: a tiny local encoder and a folder laid out as GLUE's."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from tiny import WORDS

from supertickets.notebooks import find_notebooks, run_notebook
from supertickets.tasks.submission import FILES

ROOT = Path(__file__).resolve().parents[2]
SOURCES = {source.stem: source for source in find_notebooks(ROOT / "notebooks")}


@pytest.fixture(scope="module")
def glue(tmp_path_factory) -> Path:
    """RTE and SST-2 in GLUE's own layout, made up, tiny; RTE's test split has no labels and the official 3,000 rows.

    MNLI, SNLI and SciTail come as plain tables with a header.
    """
    folder = tmp_path_factory.mktemp("glue")
    rng = np.random.default_rng(0)

    def sentence() -> tuple[str, bool]:
        word = int(rng.integers(6))
        return f"the {WORDS[6 + int(rng.integers(3))]} was {WORDS[word]}", word < 3

    def rte(n: int, labelled: bool = True) -> str:
        lines = ["index\tsentence1\tsentence2" + ("\tlabel" if labelled else "")]
        for i in range(n):
            (first, kind), (second, other) = sentence(), sentence()
            label = "\tentailment" if kind == other else "\tnot_entailment"
            lines.append(f"{i}\t{first}\t{second}{label if labelled else ''}")
        return "\n".join(lines) + "\n"

    def sst(n: int) -> str:
        return "sentence\tlabel\n" + "".join(f"{text}\t{int(kind)}\n" for text, kind in (sentence() for _ in range(n)))

    def inference(n: int, names: tuple[str, ...]) -> str:
        rows = ((*sentence(), *sentence()) for _ in range(n))
        lines = (f"{first}\t{second}\t{names[(kind + other) % len(names)]}" for first, kind, second, other in rows)
        return "sentence1\tsentence2\tlabel\n" + "\n".join(lines) + "\n"

    three, two = ("entailment", "neutral", "contradiction"), ("entails", "neutral")
    for task, files in {
        "MNLI": {"train": inference(40, three), "dev_matched": inference(30, three)},
        "SNLI": {"train": inference(40, three), "dev": inference(30, three)},
        "SciTail": {"train": inference(40, two), "dev": inference(30, two)},
        "RTE": {"train": rte(40), "dev": rte(30), "test": rte(3000, labelled=False)},
        "SST-2": {"train": sst(60), "dev": sst(30)},
    }.items():
        (folder / task).mkdir()
        for split, text in files.items():
            (folder / task / f"{split}.tsv").write_text(text, encoding="utf-8")
    return folder


def test_chapter_1_with_disjoint_parts_of_real_data(glue, encoder, tmp_path):
    places = {"encoder": str(encoder), "data_dir": str(glue), "store": str(tmp_path / "runs")}
    parameters = {"profile": "paper-base", "train_size": 20, "n_sets": 3, "workers": 1}
    out = tmp_path / "01.ipynb"
    run_notebook(SOURCES["01_introduction"], out, {**parameters, **places})
    text = out.read_text(encoding="utf-8")
    assert "Paper-base: 75 of 75 runs" in text
    assert "Paper-base: |noise + bias^2 + variance - loss| <= " in text


def test_chapter_5_with_a_submission(glue, encoder, tmp_path):
    parameters = {
        "profile": "paper-large",
        "encoder": str(encoder),
        "data_dir": str(glue),
        "tasks": "RTE",
        "seeds": "0, 1",
        "sizes": "20",
        "large": "none",
        "submission": str(tmp_path / "glue.zip"),
    }
    out = tmp_path / "05.ipynb"
    run_notebook(SOURCES["05_single_task"], out, {**parameters, "store": str(tmp_path / "runs"), "workers": 1})
    text = out.read_text(encoding="utf-8")
    assert "Paper-large: 50 of 50 runs" in text
    with zipfile.ZipFile(tmp_path / "glue.zip") as packed:
        assert set(packed.namelist()) == {"RTE.tsv", "WNLI.tsv", "AX.tsv"}  # the other tables are lacking
        assert len(packed.read("RTE.tsv").splitlines()) == 1 + FILES["RTE"].rows


def test_chapters_7_and_8_on_real_data_with_one_store(glue, encoder, tmp_path):
    """The targets' labels differ: SNLI's head comes along from MNLI, SciTail's is new."""
    places = {"encoder": str(encoder), "data_dir": str(glue), "store": str(tmp_path / "runs"), "workers": 1}
    common = {"profile": "paper-base", "tasks": "RTE, MNLI", "seeds": "0, 1", **places}
    out = tmp_path / "07.ipynb"
    run_notebook(SOURCES["07_domain_adaptation"], out, {**common, "sizes": "14, all"})
    text = out.read_text(encoding="utf-8")
    assert "Paper-base: 192 of 192 runs" in text  # two rates, and two sizes for the four models
    models = "ST-DNN, SuperT, MT-DNN, Ticket-Share"  # MNLI is among the multi-task tasks
    assert f"{models}: task head kept: the labels of the source are those of SNLI" in text
    assert f"{models}: task head new: SciTail has the labels entails, neutral" in text
    out = tmp_path / "08.ipynb"
    run_notebook(SOURCES["08_analysis"], out, common)
    text = out.read_text(encoding="utf-8")
    assert "Paper-base: 20 of 20 runs" in text  # together at each rate; the chosen one fine-tuned at lower rates too
    assert "Paper-base: fine-tuned at learning rates 5e-05, 0.0001, 0.0002" in text
    assert "Paper-base: 4 of 4 runs" in text  # the full models of Figure 6: two tasks, two seeds

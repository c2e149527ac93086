"""Pre-training in miniature: the corpus, the masks, and stopping and going on."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer, BertModel

from supertickets.errors import SuperticketsError
from supertickets.lab.corpus import CLS, MASK, MATCHES, SEP, SPECIAL, draw_chunk, mask_tokens, matches, vocabulary
from supertickets.lab.pretrain import SIZES, learning_rate, pretrain
from supertickets.tasks import load_task

CORPUS = "dc13dc2dcbaf56617d8806d1ea6a16b8fca3da29d230620755166af44c1ff99f"


def test_the_corpus_is_the_one_the_shipped_encoders_saw() -> None:
    """Fails when an edit of the language changes the text of a seed: the shipped weights would no longer follow."""
    chunk = draw_chunk(0, 0, 64)
    assert (
        hashlib.sha256(chunk.ids.astype("<i2").tobytes() + chunk.relations.astype("<i2").tobytes()).hexdigest()
        == CORPUS
    )


@pytest.mark.slow
def test_few_dev_pairs_stand_in_the_text_of_the_pre_training_and_some_do() -> None:
    spec, number = SIZES["base"], {word: i for i, word in enumerate(vocabulary())}
    dev = {
        tuple(number[word] for word in f"{a} [SEP] {b} [SEP]".split())
        for a, b in load_task("entailment", dev_size=800).dev.texts
    }
    seen = set()
    for index in range(spec.steps // spec.chunk):
        chunk = draw_chunk(spec.seed, index, spec.batch * spec.chunk)
        seen |= dev & {tuple(ids[1:n].tolist()) for ids, n in zip(chunk.ids, chunk.lengths, strict=True)}
    assert 0.01 < len(seen) / len(dev) < 0.05


def test_chunks_have_berts_layout() -> None:
    chunk = draw_chunk(3, 1, 300)
    assert set(chunk.relations.tolist()) == {-1, 0, 1, 2, 3}
    for ids, segments, length, relation in zip(chunk.ids, chunk.segments, chunk.lengths, chunk.relations, strict=True):
        assert ids[0] == CLS and ids[length - 1] == SEP and not ids[length:].any()
        assert np.sum(ids == SEP) == (1 if relation < 0 else 2)
        assert segments.sum() == (0 if relation < 0 else length - 1 - np.flatnonzero(ids == SEP)[0])


def test_masking_is_berts() -> None:
    ids = np.tile(np.array([CLS, *range(5, 105), SEP, 0]), (400, 1))
    inputs, chosen = mask_tokens(np.random.default_rng(0), ids)
    assert not chosen[ids < len(SPECIAL)].any()
    assert (inputs[~chosen] == ids[~chosen]).all()
    assert abs(chosen.sum() / 40_000 - 0.15) < 0.01
    assert abs(np.mean(inputs[chosen] == MASK) - 0.8) < 0.025
    assert abs(np.mean(inputs[chosen] == ids[chosen]) - 0.1) < 0.02


def test_words_are_matched_across_sentences() -> None:
    number = {word: i for i, word in enumerate(vocabulary())}
    text = "[CLS] the young doctor sells pears . [SEP] the fruit is bought by an old physician . [SEP]"
    ids = np.array([[number[word] for word in text.split()]])
    segments = np.array([[0] * 8 + [1] * (ids.shape[1] - 8)])
    found = {
        word: MATCHES[kind] for word, kind in zip(text.split(), matches(ids, segments)[0], strict=True) if kind >= 0
    }
    assert found["doctor"] == found["physician"] == "same"
    assert found["pears"] == found["fruit"] == "broader or narrower"
    assert found["young"] == found["old"] == "opposite"
    assert found["sells"] == found["bought"] == found["is"] == "none"


def test_learning_rate_rises_and_falls() -> None:
    spec = SIZES["base"]
    rates = np.array([learning_rate(spec, step) for step in range(0, spec.steps, 100)])
    top = int(rates.argmax())
    assert top * 100 == spec.warmup * spec.steps
    assert (np.diff(rates[:top]) > 0).all() and (np.diff(rates[top:]) < 0).all()
    assert 0 < learning_rate(spec, spec.steps - 1) < 1e-3 * spec.learning_rate


def test_a_killed_run_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    spec = SIZES["mini"]
    whole = pretrain(spec, tmp_path / "whole", quiet=True, helper=False)
    pretrain(spec, tmp_path / "parts", stop_after=1, quiet=True, helper=False)
    assert not (tmp_path / "parts" / "model.safetensors").exists()
    resumed = pretrain(spec, tmp_path / "parts", quiet=True, helper=False)
    one, two = (load_file(tmp_path / part / "model.safetensors") for part in ("whole", "parts"))
    assert one.keys() == two.keys()
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=0, atol=1e-5)
    assert {k: whole[k] for k in ("step", "mlm", "pair", "match")} == {
        k: resumed[k] for k in ("step", "mlm", "pair", "match")
    }
    log = [json.loads(line) for line in (tmp_path / "parts" / "pretrain_log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log] == [20, 40, 60]
    assert log[-1]["mlm"] < log[0]["mlm"] - 0.2  # it learns
    model = BertModel.from_pretrained(tmp_path / "parts")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "parts")
    assert model.config.vocab_size == len(tokenizer) == len(vocabulary())
    with pytest.raises(SuperticketsError, match="another pre-training"):
        pretrain(replace(spec, seed=1), tmp_path / "parts", quiet=True, helper=False)


def test_steps_must_fill_chunks(tmp_path: Path) -> None:
    with pytest.raises(SuperticketsError, match="multiple of 20"):
        pretrain(replace(SIZES["mini"], steps=150), tmp_path, quiet=True, helper=False)

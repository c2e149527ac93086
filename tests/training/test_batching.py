"""Encoding splits and cutting batches from them, with a tiny word-level tokenizer."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from supertickets.errors import SuperticketsError
from supertickets.tasks import Examples, Task
from supertickets.training import EncodedSplit, batching, cached_encode, eval_batches, train_batches
from supertickets.training.batching import encode, tokenizer_fingerprint

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *(f"w{i}" for i in range(40))]


def tokenizer(limit: int = 64, type_ids: bool = True, pad: str | None = "[PAD]") -> PreTrainedTokenizerFast:
    rules = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    rules.pre_tokenizer = pre_tokenizers.Whitespace()
    rules.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = ["input_ids", "attention_mask"] + ["token_type_ids"] * type_ids
    return PreTrainedTokenizerFast(
        tokenizer_object=rules, unk_token="[UNK]", pad_token=pad, model_max_length=limit, model_input_names=names
    )


def sentences(lengths: list[int]) -> Examples:
    """Make one-text examples whose first word tells them apart (up to 40)."""
    texts = tuple((" ".join([f"w{i % 40}"] + ["w0"] * (n - 1)),) for i, n in enumerate(lengths))
    return Examples(texts, np.arange(len(lengths)) % 2)


def split_of(lengths: list[int]) -> EncodedSplit:
    """Make an encoded split without a tokenizer: example i is i + 1 repeated, and 0 is padding."""
    sizes = np.array(lengths)
    ids = np.append(np.repeat(np.arange(1, len(sizes) + 1), sizes), 0).astype(np.int32)
    return EncodedSplit(ids, None, np.cumsum(sizes) - sizes, sizes, np.arange(len(sizes)))


# --- encoding -------------------------------------------------------------------------------------------------------


def test_a_batch_holds_what_the_tokenizer_makes_of_each_example_alone():
    made = tokenizer()
    pairs = Examples((("w1 w2 w3", "w4"), ("w5", "w6 w7"), ("w8", "w9")), np.array([1, 0, 1]))
    batch = encode(pairs, made).batch(np.array([2, 0]))
    assert set(batch.inputs) == {"input_ids", "attention_mask", "token_type_ids"}
    for row, example in enumerate([2, 0]):
        first, second = pairs.texts[example]
        alone = made(first, second, padding="max_length", max_length=7)
        for name, values in alone.items():
            assert batch.inputs[name][row].tolist() == values, name
    assert batch.inputs["input_ids"].dtype == torch.int64
    assert batch.labels.tolist() == [1, 1]
    assert batch.labels.dtype == torch.int64
    assert batch.index.tolist() == [2, 0]


def test_type_ids_only_where_the_tokenizer_makes_them():
    batch = encode(sentences([2, 3]), tokenizer(type_ids=False)).batch(np.array([0]))
    assert set(batch.inputs) == {"input_ids", "attention_mask"}


def test_padding_uses_the_tokenizers_own_id():
    batch = encode(sentences([1, 3]), tokenizer(pad="w39")).batch(np.array([0, 1]))
    assert batch.inputs["input_ids"][0].tolist() == [2, 4, 3, 43, 43]
    assert batch.inputs["attention_mask"][0].tolist() == [1, 1, 1, 0, 0]


def test_scores_become_float32():
    scored = Examples((("w1",), ("w2",)), np.array([2.5, 0.0]))
    batch = encode(scored, tokenizer()).batch(np.array([1, 0]))
    assert batch.labels.dtype == torch.float32
    assert batch.labels.tolist() == [0.0, 2.5]


@pytest.mark.parametrize(("asked", "limit", "encoder", "got"), [(10, 64, None, 10), (99, 12, None, 12), (99, 64, 9, 9)])
def test_the_longer_text_is_cut_first_to_the_smallest_limit(asked, limit, encoder, got):
    pair = Examples((("w1 w2", " ".join(["w3"] * 80)),), np.array([0]))
    made = encode(pair, tokenizer(limit), max_length=asked, limit=encoder)
    assert made.lengths.tolist() == [got]
    assert made.ids[:4].tolist() == [2, 5, 6, 3]


def test_rows_share_the_text_and_count_from_zero():
    made = encode(sentences([3, 5, 2, 7]), tokenizer())
    part = made.rows(np.array([False, True, False, True]))
    assert len(part) == 2
    assert part.ids is made.ids
    batch = part.batch(np.array([1]))
    assert batch.inputs["input_ids"][0].tolist() == made.batch(np.array([3])).inputs["input_ids"][0].tolist()
    assert part.labels.tolist() == [1, 1]


def test_long_splits_are_encoded_in_pieces(monkeypatch):
    whole = encode(sentences([4, 1, 3, 2, 6]), tokenizer())
    monkeypatch.setattr("supertickets.training.batching._CHUNK", 2)
    pieces = encode(sentences([4, 1, 3, 2, 6]), tokenizer())
    assert pieces.ids.tolist() == whole.ids.tolist()
    assert pieces.starts.tolist() == whole.starts.tolist() == [0, 6, 9, 14, 18]


def test_encoding_errors():
    with pytest.raises(SuperticketsError, match=r"maximum length of 2 tokens leaves no room.*allow at least 3"):
        encode(sentences([2]), tokenizer(), max_length=2)
    with pytest.raises(SuperticketsError, match="no padding token"):
        encode(sentences([2]), tokenizer(pad=None))
    with pytest.raises(SuperticketsError, match="nothing to tokenise"):
        encode(sentences([]), tokenizer())


# --- training batches -----------------------------------------------------------------------------------------------


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=120),
    st.integers(1, 9),
    st.integers(0, 5),
    st.integers(0, 3),
)
def test_every_example_comes_once_per_epoch_in_its_own_words(lengths, batch_size, seed, epoch):
    split = split_of(lengths)
    batches = list(train_batches(split, batch_size, seed, epoch))
    assert len(batches) == -(-len(lengths) // batch_size)
    assert sorted(np.concatenate([batch.index for batch in batches])) == list(range(len(lengths)))
    assert sorted(len(batch.index) for batch in batches)[1:] == [batch_size] * (len(batches) - 1)
    for batch in batches:
        ids, mask = batch.inputs["input_ids"], batch.inputs["attention_mask"]
        assert ids.shape[1] == max(lengths[i] for i in batch.index)  # padded to its own longest, no further
        for row, example in enumerate(batch.index):
            assert ids[row].tolist() == [example + 1] * lengths[example] + [0] * (ids.shape[1] - lengths[example])
        assert mask.tolist() == (ids > 0).long().tolist()
        assert batch.labels.tolist() == batch.index.tolist()


def orders(split: EncodedSplit, seed: int, epoch: int) -> list[list[int]]:
    return [batch.index.tolist() for batch in train_batches(split, 8, seed, epoch)]


def test_the_order_depends_on_seed_and_epoch_only():
    split = split_of([3 + i % 5 for i in range(100)])
    assert orders(split, 1, 2) == orders(split, 1, 2)
    assert orders(split, 1, 2) != orders(split, 1, 3)
    assert orders(split, 1, 2) != orders(split, 2, 2)
    state = torch.random.get_rng_state()
    np.random.seed(0)  # noqa: NPY002 - the global state must not matter
    assert orders(split, 1, 2) == orders(split, 1, 2)
    assert torch.equal(state, torch.random.get_rng_state())


def test_other_examples_meet_in_other_epochs_even_in_a_small_split():
    split = split_of(list(range(1, 41)))  # no two of one length, all in one pool: only the blur can part them
    met = Counter(
        pair for epoch in range(20) for part in orders(split, 0, epoch) for pair in combinations(sorted(part), 2)
    )
    assert len(met) > 1.3 * 140  # five fixed batches of 8 would have 140 pairs, all of them 20 times


def test_short_and_long_batches_come_in_random_order():
    split = split_of([2] * 40 + [20] * 40)
    first = [orders(split, seed, 0)[0][0] for seed in range(60)]
    assert 15 < sum(example >= 40 for example in first) < 45


def test_batches_are_bucketed_by_length():
    rng = np.random.default_rng(0)
    split = split_of(rng.integers(3, 60, 2000).tolist())
    padded = sum(batch.inputs["input_ids"].numel() for batch in train_batches(split, 16, 0, 0))
    assert padded < 1.12 * split.lengths.sum()  # shuffled batches of 16 need about 1.8 times


def test_batch_size_must_be_positive():
    with pytest.raises(SuperticketsError, match="at least 1, not 0"):
        next(train_batches(split_of([1]), 0, 0, 0))


# --- evaluation batches ---------------------------------------------------------------------------------------------


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(1, 50), min_size=1, max_size=80), st.integers(1, 200))
def test_evaluation_batches_keep_to_the_limit_and_give_results_back_in_order(lengths, max_tokens):
    split = split_of(lengths)
    out = np.zeros(len(lengths), int)
    for batch in eval_batches(split, max_tokens):
        ids = batch.inputs["input_ids"]
        assert ids.numel() <= max_tokens or len(batch.index) == 1
        out[batch.index] = ids.numpy().sum(axis=1)
    assert out.tolist() == [(i + 1) * n for i, n in enumerate(lengths)]


def test_a_batch_moves_to_a_device_whole():
    batch = next(eval_batches(split_of([2, 3]))).to("meta")
    assert {tensor.device.type for tensor in [*batch.inputs.values(), batch.labels]} == {"meta"}
    assert batch.index.tolist() == [1, 0]


# --- the kept encodings ---------------------------------------------------------------------------------------------


def task(fingerprint: str) -> Task:
    split = sentences([2, 3, 4])
    return Task("t", "classification", ("a", "b"), ("accuracy",), split, split, fingerprint=fingerprint)


def test_an_encoding_is_made_once():
    made = tokenizer()
    first = cached_encode(task("once"), "train", made, 32)
    assert cached_encode(task("once"), "train", tokenizer(), 32) is first  # another, equal tokenizer
    assert cached_encode(task("once"), "train", made, 31) is not first
    assert cached_encode(task("once"), "dev", made, 32) is not first
    assert cached_encode(task("other"), "train", made, 32) is not first
    assert cached_encode(task("once"), "train", tokenizer(type_ids=False), 32).type_ids is None
    unnamed = task("")
    assert cached_encode(unnamed, "train", made, 32) is not cached_encode(unnamed, "train", made, 32)


@pytest.mark.parametrize("type_ids", [True, False])
def test_a_large_split_is_tokenised_once_per_machine(tmp_path, monkeypatch, type_ids):
    monkeypatch.setenv("SUPERTICKETS_CACHE", str(tmp_path))
    monkeypatch.setattr(batching, "_SHARED", 1)
    given, made = task(f"large {type_ids}"), tokenizer(type_ids=type_ids)
    first = cached_encode(given, "train", made, 32)
    (file,) = (tmp_path / "encoded").glob("*.safetensors")
    batching._encoded.cache_clear()  # as another process would find it
    with monkeypatch.context() as patched:
        patched.setattr(batching, "encode", lambda *_: pytest.fail("tokenised again"))
        again = cached_encode(given, "train", made, 32)
    assert again is not first
    for name, array in vars(encode(given.train, made, 32)).items():
        np.testing.assert_array_equal(getattr(again, name), array, err_msg=name)
    # A file that cannot be read, or a folder that cannot be written, costs time and nothing else.
    (damaged := tmp_path / "damaged").write_bytes(b"cut short")
    for spoil in (lambda: damaged.replace(file), lambda: monkeypatch.setenv("SUPERTICKETS_CACHE", str(file))):
        spoil()
        batching._encoded.cache_clear()
        np.testing.assert_array_equal(cached_encode(given, "train", made, 32).ids, first.ids)


@pytest.mark.parametrize("split", ["test", "selection"])
def test_a_missing_split_is_refused(split):
    with pytest.raises(SuperticketsError, match=f"'t' has no split '{split}'"):
        cached_encode(task("x"), split, tokenizer())


def test_a_tokenizers_fingerprint_is_what_it_does_not_what_it_did():
    used = tokenizer()
    before = tokenizer_fingerprint(tokenizer())
    used(["w1 w2 w3", "w4"], truncation=True, max_length=4, padding=True)
    assert tokenizer_fingerprint(used) == before
    assert tokenizer_fingerprint(tokenizer(limit=10)) != before
    changed = tokenizer()
    changed.add_tokens(["w99"])
    assert tokenizer_fingerprint(changed) != before


def test_regression_and_classes_may_share_texts():
    graded = replace(sentences([2, 3]), labels=np.array([0.5, 1.5]))
    assert encode(graded, tokenizer()).labels.dtype == np.float32

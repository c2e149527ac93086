"""The text the lab encoders are pre-trained on, as integer arrays, and the tokenizer they share.

A corpus item is a pair of sentences with its relation (the pair objective), or a single sentence. It is generated,
never stored: chunk ``i`` of seed ``s`` is always the same text.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np

from supertickets.lab.language import draw_clause, forms, sentence, vocabulary_words
from supertickets.lab.lexicon import EVERYDAY, LEXICONS
from supertickets.lab.pairs import RELATIONS, draw_pair, draw_question_answer, draw_question_pair, word_pair
from supertickets.lab.reviews import draw_review, review_words

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PAD, UNK, CLS, SEP, MASK = range(5)
MAX_LENGTH = 64
_VOCABULARIES = ("village", "village", "village", "town", "town", "scene", "scene", "nature", "nature")


def vocabulary() -> tuple[str, ...]:
    """Every token of the lab, special ones first; a token's position is its id.

    >>> vocabulary()[:2]
    ('[PAD]', '[UNK]')
    """
    return SPECIAL + tuple(sorted(set(vocabulary_words()) | review_words()))


def draw_item(rng: Random) -> tuple[str, str, int]:
    """Two sentences (the second may be "") and their relation as an index into ``RELATIONS`` (-1: none)."""
    roll, vocabulary_name = rng.random(), rng.choice(_VOCABULARIES)
    if roll < 0.08:
        return draw_review(rng, rng.random() < 0.5), "", -1
    if roll < 0.12:
        return sentence(rng, draw_clause(rng, vocabulary_name)), "", -1
    if roll < 0.30:
        vocabulary_name = rng.choice(EVERYDAY)
    if roll < 0.22:
        answered = rng.random() < 0.5
        asked, told = draw_question_answer(rng, vocabulary_name, answered)
        return asked, told, RELATIONS.index("implied" if answered else "open")
    if roll < 0.30:
        duplicate = rng.random() < 0.5
        return *draw_question_pair(rng, vocabulary_name, duplicate), RELATIONS.index("same" if duplicate else "open")
    relation = rng.choice(RELATIONS)
    pair = word_pair(rng, *draw_pair(rng, vocabulary_name, relation), relation)
    return *pair, RELATIONS.index(relation)


@dataclass(frozen=True)
class Chunk:
    """Token ids (n, longest), segment ids, lengths (n,) and relations (n,), -1 where there is none."""

    ids: np.ndarray
    segments: np.ndarray
    lengths: np.ndarray
    relations: np.ndarray


def draw_chunk(seed: int, index: int, size: int) -> Chunk:
    """Chunk ``index`` of the corpus of ``seed``: ``size`` items, [CLS] a [SEP] b [SEP], padded with 0."""
    rng = Random(f"supertickets-corpus-{seed}-{index}")
    number = {word: i for i, word in enumerate(vocabulary())}
    ids = np.zeros((size, MAX_LENGTH), np.int64)
    segments = np.zeros((size, MAX_LENGTH), np.int64)
    lengths = np.zeros(size, np.int64)
    relations = np.zeros(size, np.int64)
    for row in range(size):
        first, second, relations[row] = draw_item(rng)
        tokens = [CLS, *(number[word] for word in first.split()), SEP]
        split = len(tokens)
        if second:
            tokens += [*(number[word] for word in second.split()), SEP]
        ids[row, : len(tokens)] = tokens
        segments[row, split : len(tokens)] = 1
        lengths[row] = len(tokens)
    longest = int(lengths.max())
    return Chunk(ids[:, :longest], segments[:, :longest], lengths, relations)


MATCHES = ("none", "opposite", "broader or narrower", "same")


@functools.cache
def _match_table() -> np.ndarray:
    """(words, words) int8: the best relation of two words as an index into ``MATCHES``."""
    words = vocabulary()
    number = {word: i for i, word in enumerate(words)}
    table = np.zeros((len(words), len(words)), np.int8)
    table[np.arange(len(SPECIAL), len(words)), np.arange(len(SPECIAL), len(words))] = 3
    for lexicon in LEXICONS.values():
        ids = {concept: [number[word] for word in forms(lexicon, concept)] for concept in lexicon.synonyms}
        links = [(concept, concept, 3) for concept in ids]
        links += [(low, high, 2) for low, high in lexicon.hypernyms.items()]
        links += [(one, other, 1) for one, other in lexicon.opposites.items()]
        for one, other, kind in links:
            for a, b in ((one, other), (other, one)):
                block = np.ix_(ids[a], ids[b])
                table[block] = np.maximum(table[block], kind)
    return table


def matches(ids: np.ndarray, segments: np.ndarray) -> np.ndarray:
    """For every word its best match in the other sentence, an index into ``MATCHES``; -1 at special tokens.

    ``ids`` and ``segments`` are (n, length); so is the answer. It is what the word-matching objective predicts.
    """
    across = segments[:, :, None] != segments[:, None, :]
    best = np.where(across, _match_table()[ids[:, :, None], ids[:, None, :]], 0).max(axis=2)
    return np.where(ids < len(SPECIAL), -1, best).astype(np.int64)


def mask_tokens(rng: np.random.Generator, ids: np.ndarray, rate: float = 0.15) -> tuple[np.ndarray, np.ndarray]:
    """BERT's masking (Devlin et al. 2019): inputs with 15% of the words chosen, of these 80% [MASK], 10% random.

    Returns the inputs and a boolean array of the chosen positions, both shaped like ``ids``.
    """
    chosen = (ids >= len(SPECIAL)) & (rng.random(ids.shape) < rate)
    roll = rng.random(ids.shape)
    inputs = np.where(chosen & (roll < 0.8), MASK, ids)
    noise = rng.integers(len(SPECIAL), len(vocabulary()), ids.shape)
    return np.where(chosen & (roll >= 0.9), noise, inputs), chosen


def save_tokenizer(folder: Path) -> None:
    """Writes ``tokenizer.json`` and its config: whole words, lower case, [CLS] a [SEP] b [SEP]."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = vocabulary()
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", CLS), ("[SEP]", SEP)],
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=MAX_LENGTH,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )
    fast.save_pretrained(folder)
    config = folder / "tokenizer_config.json"  # transformers 5 writes a class name that older versions do not know
    config.write_text(config.read_text().replace("TokenizersBackend", "PreTrainedTokenizerFast"))

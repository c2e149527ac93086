"""From texts to batches: tokenise a split once, then cut length-bucketed, padded batches from it.

Thousands of short runs go through here, so a split is encoded in one call and kept; inside an epoch a batch is a few
NumPy operations, never work per example.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import os
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from safetensors import SafetensorError
from safetensors.numpy import save_file
from safetensors.torch import load_file
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedTokenizerBase

from supertickets.errors import SuperticketsError
from supertickets.tasks import Examples, Task, cache_folder, shuffled

POOL = 50  # batches among which examples of like length are brought together
_CHUNK = 20_000  # texts per call of the tokenizer, which bounds the memory its lists take
_SHARED = 2_000  # examples: RTE's take a second to tokenise, and a thousandth to read


@dataclass(frozen=True)
class Batch:
    """A padded batch of b examples, the longest of n tokens.

    ``inputs`` go to the model as keyword arguments, each int64 (b, n): ``input_ids``, ``attention_mask`` and, where
    the tokenizer makes them, ``token_type_ids``. ``labels`` (b,) are int64 classes or float32 scores. ``index`` (b,)
    says which examples of the split these are. ``real`` (b,), where given, says which rows count in the mean loss.
    """

    inputs: dict[str, Tensor]
    labels: Tensor
    index: np.ndarray
    real: Tensor | None = None

    def to(self, device: torch.device | str) -> Batch:
        """Return the batch with its tensors on ``device``."""
        inputs = {name: tensor.to(device, non_blocking=True) for name, tensor in self.inputs.items()}
        return replace(self, inputs=inputs, labels=self.labels.to(device, non_blocking=True))


@dataclass(frozen=True)
class EncodedSplit:
    """A tokenised split: example i is ``ids[starts[i] : starts[i] + lengths[i]]``, int32, special tokens included.

    ``ids`` (and ``type_ids``, None where the tokenizer makes none) end in one padding token, to which every place
    behind an example's end refers. Subsets made by :meth:`rows` share both.
    """

    ids: np.ndarray
    type_ids: np.ndarray | None
    starts: np.ndarray
    lengths: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.lengths)

    def rows(self, rows: np.ndarray) -> EncodedSplit:
        """Return the examples at ``rows`` (indices or a boolean mask), numbered anew from 0, without a copy of text."""
        return replace(self, starts=self.starts[rows], lengths=self.lengths[rows], labels=self.labels[rows])

    def batch(self, index: np.ndarray, width: int = 0) -> Batch:
        """Return the examples at ``index``, padded on the right to the longest of them, or to ``width`` if longer."""
        lengths = self.lengths[index]
        column = np.arange(max(width, lengths.max()))
        inside = column < lengths[:, None]
        where = np.where(inside, self.starts[index][:, None] + column, len(self.ids) - 1)
        inputs = {
            "input_ids": torch.from_numpy(self.ids[where].astype(np.int64)),
            "attention_mask": torch.from_numpy(inside.astype(np.int64)),
        }
        if self.type_ids is not None:
            inputs["token_type_ids"] = torch.from_numpy(self.type_ids[where].astype(np.int64))
        return Batch(inputs, torch.from_numpy(self.labels[index]), index)


def encode(
    examples: Examples, tokenizer: PreTrainedTokenizerBase, max_length: int = 512, limit: int | None = None
) -> EncodedSplit:
    """Return the split tokenised, each example cut to ``max_length`` tokens (the longer text first), specials included.

    The paper cuts at 512 (A.1.2). The tokenizer's own limit and ``limit``, the number of positions of the encoder,
    lower it further. Raises SuperticketsError if that leaves no room for a token of each text.
    """
    width = len(examples.texts[0]) if len(examples) else 1
    max_length = min(max_length, tokenizer.model_max_length, max_length if limit is None else limit)
    specials = tokenizer.num_special_tokens_to_add(pair=width == 2)
    if max_length < specials + width:
        raise SuperticketsError(
            f"A maximum length of {max_length} tokens leaves no room for text beside {specials} special tokens: "
            f"allow at least {specials + width}."
        )
    pad: Any = tokenizer.pad_token_id
    if pad is None:
        raise SuperticketsError("The tokenizer has no padding token, so its texts cannot be batched: give it one.")
    options: dict[str, Any] = {"truncation": "longest_first", "max_length": max_length, "return_attention_mask": False}
    ids, type_ids, lengths = [], [], []
    for start in range(0, len(examples), _CHUNK):
        columns = [list(column) for column in zip(*examples.texts[start : start + _CHUNK], strict=True)]
        encoded: Any = tokenizer(columns[0], columns[1] if width == 2 else None, **options)
        ids.append(_flat(encoded["input_ids"]))
        lengths += map(len, encoded["input_ids"])
        if "token_type_ids" in encoded:
            type_ids.append(_flat(encoded["token_type_ids"]))
    if not lengths or not min(lengths):
        raise SuperticketsError("There is nothing to tokenise: the split or one of its texts has no token.")
    made = np.array(lengths, dtype=np.int64)
    return EncodedSplit(
        ids=np.append(np.concatenate(ids), np.int32(pad)),
        type_ids=np.append(np.concatenate(type_ids), np.int32(tokenizer.pad_token_type_id)) if type_ids else None,
        starts=np.cumsum(made) - made,
        lengths=made,
        labels=examples.labels.astype(np.float32 if examples.labels.dtype.kind == "f" else np.int64),
    )


def _flat(lists: list[list[int]]) -> np.ndarray:
    return np.fromiter(itertools.chain.from_iterable(lists), np.int32)


def train_batches(encoded: EncodedSplit, batch_size: int, seed: int, epoch: int) -> Iterator[Batch]:
    """Yield each example once, in ceil(n / batch_size) batches of like length; the order depends on (seed, epoch).

    A shuffled split is cut into pools of 50 batches, sorted by length within a pool (lengths blurred by a tenth,
    so that the same examples do not meet in every epoch), cut into batches, and the batches are shuffled.
    """
    if batch_size < 1:
        raise SuperticketsError(f"The batch size must be at least 1, not {batch_size}.")
    n = len(encoded)
    order = shuffled(n, seed, epoch)
    blur = np.empty(n)
    blur[shuffled(n, seed, epoch, 1)] = np.arange(n) / n
    key = encoded.lengths + blur * (1 + 0.1 * encoded.lengths)
    pool = POOL * batch_size
    order = np.concatenate(
        [rows[np.argsort(key[rows], kind="stable")] for rows in np.split(order, range(pool, n, pool))]
    )
    for part in shuffled(-(-n // batch_size), seed, epoch, 2):
        yield encoded.batch(order[part * batch_size : (part + 1) * batch_size])


def tokens_at_once(config: PretrainedConfig | None = None) -> int:
    """Tokens of a batch that is evaluated: 2,048; on a GPU 8,192, and more for models smaller than BERT-base."""
    units = 6 * 768 if config is None else config.num_hidden_layers * config.hidden_size
    return 8192 * max(1, 6 * 768 // units) if torch.cuda.is_available() else 2048


def eval_batches(
    encoded: EncodedSplit, max_tokens: int = 0, widths: Sequence[int] = (), config: PretrainedConfig | None = None
) -> Iterator[Batch]:
    """Yield each example once, longest first, in batches of at most ``max_tokens`` tokens, padding included.

    0: :func:`tokens_at_once` of the model's ``config``. ``out[batch.index] = ...`` puts results back in the split's
    order. A longer example is a batch of its own. Padded to the next of the ``widths``, in rising order, a batch keeps
    to ``max_tokens`` too, and all of a width have as many rows, but for the last.
    """
    max_tokens = max_tokens or tokens_at_once(config)
    order = np.argsort(-encoded.lengths, kind="stable")
    start = 0
    while start < len(order):
        longest = int(encoded.lengths[order[start]])
        stop = start + max(1, max_tokens // next((width for width in widths if width >= longest), longest))
        yield encoded.batch(order[start:stop])
        start = stop


@dataclass(frozen=True)
class _Encoding:
    """What a kept encoding is found by; the task and tokenizer come along for the first time."""

    fingerprint: str
    split: str
    tokenizer_fingerprint: str
    max_length: int
    limit: int | None
    task: Task = field(compare=False)
    tokenizer: PreTrainedTokenizerBase = field(compare=False)


def cached_encode(
    task: Task, split: str, tokenizer: PreTrainedTokenizerBase, max_length: int = 512, limit: int | None = None
) -> EncodedSplit:
    """Return the encoded split ("train", "dev" or "test") of a task, made once per process and kept while in use.

    It is found again by the task's and the tokenizer's fingerprints, the split and the lengths; a task without a
    fingerprint is encoded anew each time.
    """
    if split not in ("train", "dev", "test") or getattr(task, split) is None:
        raise SuperticketsError(
            f"Task {task.name!r} has no split {split!r}: choose train, dev or, if it has one, test."
        )
    key = _Encoding(task.fingerprint, split, tokenizer_fingerprint(tokenizer), max_length, limit, task, tokenizer)
    return _encoded(key) if task.fingerprint else _encoded.__wrapped__(key)


@functools.lru_cache(maxsize=16)
def _encoded(key: _Encoding) -> EncodedSplit:
    examples = getattr(key.task, key.split)
    made = functools.partial(encode, examples, key.tokenizer, key.max_length, key.limit)
    return _on_disk(key, made) if key.fingerprint and len(examples) > _SHARED else made()


def _on_disk(key: _Encoding, made: Callable[[], EncodedSplit]) -> EncodedSplit:
    """A large split's encoding from the cache folder: the first process makes it, all of a machine share its memory."""
    name = [key.fingerprint, key.split, key.tokenizer_fingerprint, key.max_length, key.limit]
    path = cache_folder() / "encoded" / f"{hashlib.sha256(json.dumps(name).encode()).hexdigest()[:32]}.safetensors"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):
            if not path.exists():
                arrays = {name: array for name, array in vars(made()).items() if array is not None}
                save_file(arrays, half := path.with_suffix(f".{os.getpid()}"))
                half.replace(path)
        # torch maps the file, where safetensors' own arrays would be copies.
        found = {name: tensor.numpy() for name, tensor in load_file(path).items()}
    except (OSError, SafetensorError):  # no room or no right to write: this process has its own
        return made()
    return EncodedSplit(**{"type_ids": None, **found})


_FINGERPRINTS: weakref.WeakKeyDictionary[PreTrainedTokenizerBase, str] = weakref.WeakKeyDictionary()


def tokenizer_fingerprint(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return the SHA-256 (hex) of what a tokenizer does: vocabulary, rules, special tokens and length limit."""
    if tokenizer not in _FINGERPRINTS:
        backend = getattr(tokenizer, "backend_tokenizer", None)
        rules = json.loads(backend.to_str()) if backend is not None else {"vocabulary": tokenizer.get_vocab()}
        for state in ("truncation", "padding"):  # left behind by the last call
            rules.pop(state, None)
        specials = {name: str(token) for name, token in tokenizer.special_tokens_map.items()}
        what = [type(tokenizer).__name__, rules, specials, tokenizer.model_max_length, tokenizer.model_input_names]
        _FINGERPRINTS[tokenizer] = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()
    return _FINGERPRINTS[tokenizer]

"""The embedding table cut down to a task's own words while it trains."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from supertickets.training.batching import EncodedSplit


@contextmanager
def own_vocabulary(model: PreTrainedModel, *splits: EncodedSplit) -> Iterator[Sequence[EncodedSplit]]:
    """The splits renumbered for an embedding table cut down to the words that occur in them, for the context's time.

    A word that never occurs gets no gradient, so without weight decay training leaves its row alone: cutting it is
    exact. Afterwards the model has its whole table back, the rows of the splits' words as trained.
    """
    embedding = model.get_input_embeddings()
    table: nn.Parameter = embedding.weight  # pyright: ignore[reportAssignmentType]
    # Ids up to the padding token's stay: RoBERTa counts positions by comparing ids with it.
    low = np.arange((model.config.pad_token_id or 0) + 1)
    used = np.unique(np.concatenate([low, *(np.unique(split.ids) for split in splits)]))
    rows = torch.from_numpy(used).to(table.device)
    embedding.weight = nn.Parameter(table.detach()[rows])
    try:
        yield [replace(split, ids=np.searchsorted(used, split.ids).astype(np.int32)) for split in splits]
    finally:
        with torch.no_grad():
            table[rows] = embedding.weight
        embedding.weight = table

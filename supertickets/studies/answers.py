"""What a model answers, in words: for the dev split of a run, or for new texts by a saved model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from supertickets.models import load_compacted, load_tokenizer
from supertickets.runs import Record
from supertickets.tasks import Examples, Task, read_table
from supertickets.training import encode, predict


def predictions_frame(task: Task, record: Record) -> pd.DataFrame:
    """One row per dev example: its split, texts, label, the model's answer, and the probability of every class."""
    labels = record.arrays["dev_labels"]
    columns: dict[str, Any] = {"split": np.where(record.arrays["selection"], "selection", "report")}
    for index in range(len(task.dev.texts[0])):
        columns[f"text_{index + 1}"] = [texts[index] for texts in task.dev.texts]
    columns["label"] = np.array(task.label_names)[labels] if task.label_names else labels
    return pd.DataFrame({**columns, **_answers(record.arrays["dev_logits"], task.label_names)})


def predict_texts(model: str | Path, texts: Sequence[str | tuple[str, ...]]) -> pd.DataFrame:
    """The answers of a model that ``find`` or ``share`` saved, one row per text or pair of texts.

    Columns: ``prediction`` (a class, or a score), and of classes ``probability_...`` of each. Raises SuperticketsError
    for a folder that holds no such model.
    """
    loaded, tokenizer = load_compacted(model), load_tokenizer(str(model))
    rows = tuple((text,) if isinstance(text, str) else tuple(text) for text in texts)
    logits = predict(loaded, encode(Examples(rows, np.zeros(len(rows), dtype=int)), tokenizer))
    regression = loaded.config.problem_type == "regression"
    names = () if regression else tuple(name for _, name in sorted((loaded.config.id2label or {}).items()))
    return pd.DataFrame(_answers(logits, names))


def predict_file(model: str | Path, data: str | Path, text: Sequence[str], out: str | Path) -> int:
    """Writes the answers to a file's texts (its columns ``text``, else those of a usual name) as CSV; how many."""
    table = read_table(Path(data).expanduser())
    names = text or table.text_columns()
    texts = table.texts(names)
    of_texts = pd.DataFrame(texts, columns=pd.Index(names))
    pd.concat([of_texts, predict_texts(model, texts)], axis=1).to_csv(out, index=False)
    return len(texts)


def _answers(logits: np.ndarray, names: tuple[str, ...]) -> dict[str, Any]:
    if not names:
        return {"prediction": logits[:, 0]}
    probabilities = torch.from_numpy(logits).softmax(-1).numpy()
    of_each = {f"probability_{name}": probabilities[:, index] for index, name in enumerate(names)}
    return {"prediction": np.array(names)[logits.argmax(1)], **of_each}

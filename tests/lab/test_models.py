"""The encoders that ship: they load with plain transformers, and their words are the generator's."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors import safe_open
from transformers import AutoTokenizer, BertForSequenceClassification, BertModel

from supertickets.errors import SuperticketsError
from supertickets.lab import encoder_names, encoder_path
from supertickets.lab.corpus import SPECIAL, vocabulary
from supertickets.lab.pretrain import LOG_LINES, SIZES
from supertickets.tasks import LAB_TASKS
from supertickets.tasks.lab_tasks import lab_task


def test_the_lab_encoders_ship() -> None:
    assert encoder_names() == ("lab-base", "lab-large")


@pytest.mark.parametrize("name", encoder_names())
def test_folder_is_complete(name: str) -> None:
    folder = encoder_path(name)
    card = (folder / "MODEL_CARD.md").read_text()
    assert f"--size {name.removeprefix('lab-')}" in card and "seed" in card
    log = [json.loads(line) for line in (folder / "pretrain_log.jsonl").read_text().splitlines()]
    spec = SIZES[name.removeprefix("lab-")]
    assert len(log) <= LOG_LINES and log[-1]["step"] == spec.steps
    assert {"step", "mlm", "pair", "match", "lr", "seconds"} <= set(log[0])
    assert log[-1]["pair"] < 0.3 and log[-1]["mlm"] < 1.5
    config = json.loads((folder / "config.json").read_text())
    assert (config["num_hidden_layers"], config["num_attention_heads"]) == (spec.layers, spec.heads)


@pytest.mark.parametrize("name", encoder_names())
def test_weights_load_with_plain_transformers(name: str) -> None:
    model = BertModel.from_pretrained(encoder_path(name))
    with safe_open(encoder_path(name) / "model.safetensors", "pt") as file:
        assert set(file.keys()) == set(model.state_dict())  # nothing missing, nothing besides
    assert model.embeddings.word_embeddings.weight.shape[0] == len(vocabulary())
    assert all(parameter.dtype == torch.float32 and torch.isfinite(parameter).all() for parameter in model.parameters())
    classifier = BertForSequenceClassification.from_pretrained(encoder_path(name), num_labels=3)
    pooler = "pooler.dense.weight"
    assert torch.equal(classifier.state_dict()[f"bert.{pooler}"], model.state_dict()[pooler])


@pytest.mark.parametrize("name", encoder_names())
def test_tokenizer_is_the_generators_vocabulary(name: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(encoder_path(name))
    assert tuple(sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().__getitem__)) == vocabulary()
    pair = tokenizer("The farmer sings .", "a person sings .")
    words = tokenizer.convert_ids_to_tokens(pair["input_ids"])
    assert " ".join(words) == "[CLS] the farmer sings . [SEP] a person sings . [SEP]"
    assert pair["token_type_ids"] == [0] * 6 + [1] * 5
    assert tokenizer.all_special_tokens and set(tokenizer.all_special_tokens) == set(SPECIAL)


@pytest.mark.parametrize("task", LAB_TASKS)
def test_no_unknown_token_in_any_task(task: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(encoder_path("lab-base"))
    drawn = lab_task(task, train_size=1, dev_size=2000, test_size=0, seed=17)
    columns = [list(column) for column in zip(*drawn.dev.texts, strict=True)]
    encoded = tokenizer(*columns)["input_ids"]
    assert not any(tokenizer.unk_token_id in ids for ids in encoded)
    assert max(map(len, encoded)) <= tokenizer.model_max_length
    for texts, ids in zip(drawn.dev.texts[:200], encoded[:200], strict=True):
        assert len(ids) == 1 + sum(len(text.split()) + 1 for text in texts)  # one id per word


def test_pair_sense_is_there_before_fine_tuning() -> None:
    """The pooled [CLS] of restatements and of changed sentences can be told apart by a linear read-out."""
    from sklearn.linear_model import LogisticRegression

    task = lab_task("entailment", train_size=400, dev_size=300, test_size=0, noise=0.0)
    model = BertModel.from_pretrained(encoder_path("lab-base")).eval()
    tokenizer = AutoTokenizer.from_pretrained(encoder_path("lab-base"))

    @torch.no_grad()
    def pooled(texts: tuple[tuple[str, ...], ...]) -> torch.Tensor:
        firsts, seconds = (list(column) for column in zip(*texts, strict=True))
        return model(**tokenizer(firsts, seconds, padding=True, return_tensors="pt")).pooler_output

    probe = LogisticRegression(max_iter=500).fit(pooled(task.train.texts).numpy(), task.train.labels)
    assert probe.score(pooled(task.dev.texts).numpy(), task.dev.labels) > 0.85


def test_unknown_encoder_is_named() -> None:
    with pytest.raises(SuperticketsError, match="lab-base"):
        encoder_path("lab-huge")

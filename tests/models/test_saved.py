"""Saved models, elsewhere and later: who can load them, what their README says, and what saving them again keeps."""

import json
import os
import stat

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import TICKETS, save_tiny_encoder, tiny_batch, tiny_model
from transformers import AutoModelForSequenceClassification, AutoTokenizer, Trainer, TrainingArguments, pipeline

from supertickets.errors import SuperticketsError
from supertickets.models import compact, load_compacted, load_encoder, load_tokenizer, save_compacted
from supertickets.models.encoder_files import licence_of
from supertickets.models.saved import write_readme
from supertickets.sharing import save_shared
from supertickets.sharing.model import share
from supertickets.tickets import Ticket, full_ticket

TICKET = Ticket(TICKETS[4].heads, TICKETS[4].ffns, encoder="somewhere", revision="12ab", provenance={"task": "RTE"})


@pytest.fixture
def saved(encoder, tmp_path):
    """A compacted model with its tokenizer, and the folder it was saved to."""
    model = compact(load_encoder(str(encoder), 2, 0), TICKET)
    model.config.id2label = {0: "kind", 1: "unkind"}
    return model.eval(), save_compacted(model, TICKET, tmp_path / "model", load_tokenizer(str(encoder)))


def test_the_config_says_what_it_is_and_the_weights_can_be_read_by_others(saved):
    _, folder = saved
    config = json.loads((folder / "config.json").read_text())
    assert config["architectures"] == ["BertForSequenceClassification"]
    assert config["dtype"] == "float32"
    assert stat.S_IMODE((folder / "model.safetensors").stat().st_mode) == stat.S_IMODE(
        (folder / "config.json").stat().st_mode
    )


def test_a_pipeline_takes_the_model_and_refuses_the_folder(saved):
    model, folder = saved
    tokenizer = AutoTokenizer.from_pretrained(folder)
    texts = ["the film was very good", "the meal was dull"]
    answers = pipeline("text-classification", model=load_compacted(folder), tokenizer=tokenizer)(texts)
    with torch.no_grad():
        shares = model(**tokenizer(texts, padding=True, return_tensors="pt")).logits.softmax(-1).max(-1)
    for answer, share_of_it, index in zip(answers, shares.values, shares.indices, strict=True):
        assert answer["score"] == pytest.approx(float(share_of_it), abs=1e-6)
        assert answer["label"] == model.config.id2label[int(index)]
    with pytest.raises((ValueError, OSError, RuntimeError), match=r"supertickets\.load_compacted"):
        pipeline("text-classification", model=str(folder))


def test_what_a_trainer_saves_loads_again(saved, encoder, tmp_path):
    pytest.importorskip("accelerate", reason="the Trainer needs accelerate")
    _, folder = saved
    model, tokenizer = load_compacted(folder), load_tokenizer(str(encoder))
    rows = [
        {**tokenizer(text), "labels": n % 2} for n, text in enumerate(["the film was good", "the meal was bad"] * 4)
    ]
    arguments = TrainingArguments(
        str(tmp_path / "out"), max_steps=2, report_to=[], use_cpu=True, disable_tqdm=True, save_strategy="no"
    )
    trainer = Trainer(model, arguments, train_dataset=rows, processing_class=tokenizer)  # pyright: ignore[reportArgumentType]
    trainer.train()
    trainer.save_model(str(tmp_path / "again"))
    back, inputs = load_compacted(tmp_path / "again"), tokenizer(["the book was fine"], return_tensors="pt")
    with torch.no_grad():
        assert torch.equal(back(**inputs).logits, model.eval()(**inputs).logits)
        assert not torch.equal(back(**inputs).logits, load_compacted(folder)(**inputs).logits)
    assert save_compacted(back, TICKET, tmp_path / "ours").is_dir()


def test_bf16_stays_bf16(encoder, tmp_path):
    inputs, full = {"input_ids": torch.tensor([[2, 5, 6, 3]])}, full_ticket(TICKET.shape)
    for ticket, load in ((TICKET, load_compacted), (full, AutoModelForSequenceClassification.from_pretrained)):
        model = load_encoder(str(encoder), 2, 0).bfloat16().eval()
        model = model if ticket == full else compact(model, ticket)
        back = load(save_compacted(model, ticket, tmp_path / load.__name__))
        again = load_compacted(save_compacted(back.eval(), ticket, tmp_path / "again"))
        for found in (back, again):
            assert {tensor.dtype for tensor in found.state_dict().values() if tensor.is_floating_point()} == {
                torch.bfloat16
            }
            with torch.no_grad():
                assert torch.equal(found(**inputs).logits, model(**inputs).logits)


def test_a_loaded_model_does_not_hang_on_its_file(saved):
    model, folder = saved
    back, inputs = load_compacted(folder), {"input_ids": torch.tensor([[2, 5, 6, 3]])}
    (folder / "model.safetensors").write_bytes(b"short")
    with torch.no_grad():
        assert torch.equal(back(**inputs).logits, model(**inputs).logits)


def test_models_saved_before_load_as_they_did(saved):
    """Older versions noted nothing in config.json, had nothing where an FFN was, and called the model a BertModel."""
    model, folder = saved
    config = json.loads((folder / "config.json").read_text())
    for name in ("supertickets", "transformers_weights", "dtype"):
        del config[name]
    (folder / "config.json").write_text(json.dumps({**config, "architectures": ["BertModel"]}))
    tensors = load_file(folder / "model.safetensors")
    full = {name for name, tensor in tensors.items() if tensor.numel() or "attention.output" in name}
    assert len(full) < len(tensors)
    save_file({name: tensors[name] for name in full}, folder / "model.safetensors")
    with torch.no_grad():
        inputs = load_tokenizer.__wrapped__(str(folder.parent / "model"))(["the film was good"], return_tensors="pt")
        assert torch.equal(load_compacted(folder)(**inputs).logits, model(**inputs).logits)
    with pytest.raises(SuperticketsError, match=r"lack \d+ tensors of the encoder .* use a complete checkpoint"):
        load_encoder(str(folder), 2, 0)


def test_the_readme_says_where_it_comes_from_and_takes_facts(saved):
    _, folder = saved
    text = (folder / "README.md").read_text()
    for said in (
        "# RTE",
        "somewhere (revision 12ab)",
        "| attention heads kept | 6 of 12 |",
        "| answers | kind, unkind |",
        "load_compacted(",
        "MB, float32 |",
        "not known; look it up",
    ):
        assert said in text, text
    write_readme(folder, [("accuracy on the report split", "0.87 [0.84, 0.90]")])
    assert "| accuracy on the report split | 0.87 [0.84, 0.90] |" in (folder / "README.md").read_text()


def test_licences_are_those_that_the_encoder_s_page_names(tmp_path):
    assert licence_of("lab-base") == "mit"
    assert licence_of("minilm") == licence_of("mpnet") == "apache-2.0"
    assert licence_of("somebody/some-model") is None
    folder = save_tiny_encoder(tmp_path / "own")
    assert licence_of(str(folder)) is None
    (folder / "README.md").write_text("---\nlicense: cc-by-4.0\n---\n# Mine\n")
    assert licence_of(str(folder)) == "cc-by-4.0"
    (folder / "README.md").write_text("---\nlicense: [\n---\n")
    assert licence_of(str(folder)) is None


def test_a_shared_encoder_is_stored_once(tmp_path, encoder):
    a, b = TICKETS[0], TICKETS[2]
    shared = share({name: load_encoder(str(encoder), n, 0) for name, n in (("a", 2), ("b", 3))}, {"a": a, "b": b})
    save_shared(shared, tmp_path, load_tokenizer(str(encoder)))
    sizes = {path.parent.name: path.stat().st_size for path in tmp_path.glob("*/*.safetensors")}
    assert sizes["a"] + sizes["b"] < 0.1 * sizes["shared-encoder"]
    assert "stored once for all tasks" in (tmp_path / "a" / "README.md").read_text()
    own = load_compacted(tmp_path / "b")
    save_compacted(own, b, tmp_path / "b-alone")  # stands by itself
    (tmp_path / "shared-encoder" / "model.safetensors").unlink()
    with torch.no_grad():
        inputs = {"input_ids": tiny_batch().inputs["input_ids"] % 20}
        assert torch.equal(load_compacted(tmp_path / "b-alone")(**inputs).logits, own(**inputs).logits)
    with pytest.raises(SuperticketsError, match="shared-encoder"):
        load_compacted(tmp_path / "b")


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SuperticketsError, match=r"cannot be written to .*file"):
        save_compacted(tiny_model(), full_ticket((3, 4)), tmp_path / "file" / "model")
    if os.geteuid():
        (tmp_path / "closed").mkdir(mode=0o500)
        with pytest.raises(SuperticketsError, match="cannot be written"):
            save_compacted(tiny_model(), full_ticket((3, 4)), tmp_path / "closed" / "model")

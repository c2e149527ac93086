"""What CUDA graphs ask of a step that is captured, as far as it can be seen without a GPU.

https://docs.pytorch.org/docs/stable/notes/cuda.html#constraints: nothing in it may wait for the device; memory and
numbers that it reads are the same at every replay, and so are its operations.
"""

from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from steps import a_split
from tiny import FAMILIES, OTHERS, tiny_model
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers.utils import import_utils

from supertickets.models import compact, family_of
from supertickets.runs import CHOICES, Hyper
from supertickets.sharing.loop import TaskData, train_together
from supertickets.sharing.model import share
from supertickets.tasks import Examples, Task
from supertickets.tickets import Ticket
from supertickets.training import Batch, EncodedSplit, batching, evaluation, fit, loop, predict, published
from supertickets.training.fast import Capture, Replayed, fast_forward, forward, graphs, replayed
from supertickets.training.loop import autocast, training_step
from supertickets.training.optimiser import flat_parameters
from supertickets.training.published import chosen_optimiser, chosen_scores

CUDA = torch.device("cuda")
HYPER = Hyper(batch_size=8, learning_rate=1e-2, weight_decay=0.01)
OF_TRAINING = tuple(name for name, choice in CHOICES.items() if choice.acts == "training")
UNEVEN = Ticket(np.array([[1, 1, 0, 0], [0, 0, 0, 0], [1, 1, 1, 0]], dtype=bool), np.array([1, 0, 1], dtype=bool))
OTHER = Ticket(np.array([[0, 1, 1, 0], [1, 0, 0, 0], [1, 1, 1, 1]], dtype=bool), np.array([0, 1, 1], dtype=bool))


def tensors_of(*given: Any) -> list[Tensor]:
    return [it for it in tree_leaves(given) if isinstance(it, Tensor)]


class Elsewhere(TorchDispatchMode):
    """Operations on another device than ``meta``, other than numbers that come from and stay on the host."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        there = {it.device.type for it in tensors_of(args, kwargs, out) if it.dim() or "copy" in str(func)}
        if there - {"meta"}:
            self.seen.append(str(func))
        return out


class Held(TorchDispatchMode):
    """What a graph of these operations would hold for good: names, numbers, and places of what was there before."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[Any, ...]] = []
        self.made: dict[int, Tensor] = {}  # kept, so that no place is used twice

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = tree_leaves((args, kwargs))
        self.seen.append((str(func), *(self._place(it) if isinstance(it, Tensor) else it for it in given)))
        before = {it.untyped_storage().data_ptr() for it in tensors_of(given)}
        out = func(*args, **(kwargs or {}))
        new = {it.untyped_storage().data_ptr(): it for it in tensors_of(out)}
        self.made |= {place: it for place, it in new.items() if place not in before}
        return out

    def _place(self, it: Tensor) -> Any:
        return None if it.untyped_storage().data_ptr() in self.made else (it.data_ptr(), it.shape, it.stride())


class Recorder:
    """A capture that holds what a graph would, and at every replay sees that a step done now would be the same."""

    def __init__(self) -> None:
        self.replays = 0

    def __call__(self, carry_out: Any) -> Any:
        held: list[Any] = []

        def replay() -> Tensor:
            with Held() as now:
                loss = carry_out()
            held[:] = held or now.seen
            assert len(now.seen) == len(held) > 100
            for one, other in zip(now.seen, held, strict=True):
                assert one == other
            self.replays += 1
            return loss

        return replay


@pytest.fixture
def layers_of_the_library(monkeypatch):
    """The pass is that of layers which are not computed by hand."""
    by_hand = forward.by_hand
    monkeypatch.setattr(forward, "by_hand", lambda model: by_hand(model, layers=False))


@contextmanager
def a_step(model: Any, choices: Any = (), hyper: Hyper = HYPER):
    with fast_forward(model), flat_parameters(model) as flat:
        optimiser = chosen_optimiser(model, flat, hyper, 100, choices)
        yield training_step(model, a_split(), hyper, optimiser.step, 100, lambda carry_out: carry_out).step


def nowhere(outputs: int = 3, updates: int = 1) -> tuple[Batch, Tensor, Tensor]:
    """What a step is given, on a device without memory, which cannot be asked for a value."""
    with torch.device("meta"):
        ids = torch.zeros(8, 12, dtype=torch.long)
        labels = torch.zeros(8, dtype=torch.long if outputs > 1 else torch.float32)
        batch = Batch({"input_ids": ids, "attention_mask": ids}, labels, np.empty(0), torch.ones(8, dtype=torch.bool))
        return batch, torch.zeros(updates, dtype=torch.float64), torch.zeros((), dtype=torch.float64)


@pytest.mark.parametrize("family", [*FAMILIES, *OTHERS])
def test_a_step_asks_its_device_for_nothing_and_gives_it_nothing(family, monkeypatch):
    monkeypatch.setattr(import_utils, "is_cuda_stream_capturing", lambda: True)  # what the library asks of a mask, else
    model = on_meta(tiny_model(family))
    with a_step(model) as step, Elsewhere() as elsewhere:
        step(*nowhere())
    assert elsewhere.seen or family != "deberta-v3"  # a copy from the host
    assert not elsewhere.seen or family_of(model).more_reads  # which is not tried


@pytest.mark.parametrize("outputs", [3, 1])
@pytest.mark.parametrize("choices", [(), *((name,) for name in OF_TRAINING)], ids=str)
def test_nor_does_one_with_choices_or_of_a_compacted_model(choices, outputs):
    model = on_meta(compact(tiny_model(num_labels=outputs), UNEVEN))
    hyper = Hyper(batch_size=8, weight_decay=0.01 if "weight_decay" in choices else 0.0)
    with a_step(model, choices, hyper) as step, Elsewhere() as elsewhere:
        step(*nowhere(outputs, 2 if "weight_decay" in choices else 1))
    assert elsewhere.seen == []


class Done(Exception):
    pass


@pytest.mark.parametrize("ticket", [None, UNEVEN], ids=["full", "compacted"])
@pytest.mark.parametrize("family", [*FAMILIES, *(name for name in OTHERS if "deberta" not in name)])
def test_nor_do_evaluation_and_importance_scoring(family, ticket, monkeypatch):
    seen, model = [], tiny_model(family) if ticket is None else compact(tiny_model(family), ticket)

    def watched(step: Any, *_: Any, **__: Any) -> Any:
        def once(_: Batch) -> Tensor:
            with Elsewhere() as elsewhere:
                step(nowhere()[0])
            seen.append(elsewhere.seen)
            raise Done

        return once

    monkeypatch.setattr(import_utils, "is_cuda_stream_capturing", lambda: True)
    for module in (loop, published):
        monkeypatch.setattr(module, "Replayed", watched)
        monkeypatch.setattr(module, "widths_that_pay", lambda *_, **__: (12,))
    with pytest.raises(Done):
        predict(on_meta(model), a_split())
    for estimator in ("example", "token"):
        with pytest.raises(Done):
            chosen_scores(model, a_split(), estimator, HYPER, ())
    assert seen == [[], [], []]


def test_in_all_passes_evaluation_and_importance_scoring_are_the_captured_ones(monkeypatch):
    for module in (loop, published, replayed):
        monkeypatch.setattr(module, "graphs", lambda _: recorder)
    for module in (batching, replayed):
        monkeypatch.setattr(module, "tokens_at_once", lambda *_: 64)
    model, split = compact(tiny_model(), UNEVEN), a_split(171, 8, 11)
    recorder = Recorder()
    evaluate = evaluation(model, split, n_passes=3)
    for _ in range(3):
        evaluate()
    assert recorder.replays > 50
    recorder = Recorder()
    chosen_scores(model, split, "example", HYPER, ())
    assert recorder.replays > 20


def test_what_asks_the_device_is_seen():
    with Elsewhere() as elsewhere:
        torch.arange(3).to("meta")
        torch.tensor(1.0).to("meta")
    assert len(elsewhere.seen) >= 2
    with pytest.raises(RuntimeError, match="item"):
        torch.zeros((), device="meta").item()


def test_a_family_that_cannot_be_captured_is_not_tried_and_says_so():
    model = tiny_model("deberta-v3")
    step = training_step(model, a_split(), HYPER, lambda *_: None, 40, lambda _: pytest.fail("captured"))
    for number, batch in enumerate(a_split().batch(np.arange(8)) for _ in range(5)):
        step(batch, [number + 1], 0.1)
    assert isinstance(step, Replayed)
    assert step.told() == "one by one, since a step cannot be captured: its positions are made on the host"


def a_task(name: str, *splits: EncodedSplit) -> Task:
    train, dev = (Examples((("x",),) * len(split), split.labels) for split in splits)
    return Task(name, "classification", ("a", "b", "c"), ("accuracy",), train, dev)


def on_meta(model: Any) -> Any:
    return model.to("meta", torch.float32).train()


@pytest.mark.parametrize("ticket", [None, UNEVEN], ids=["full", "compacted"])
@pytest.mark.parametrize("choices", [(), OF_TRAINING], ids=["paper", "published"])
@pytest.mark.parametrize("layers", ["by hand", "of the library"])
def test_in_all_epochs_a_step_is_the_captured_one(ticket, choices, layers, monkeypatch, request):
    """Though it is evaluated in between, keeps the best weights, and its rate changes from step to step."""
    if layers == "of the library":
        request.getfixturevalue("layers_of_the_library")
    monkeypatch.setattr("supertickets.training.loop.graphs", lambda _: recorder)
    recorder, train, dev = Recorder(), a_split(60), a_split(20)
    model = tiny_model() if ticket is None else compact(tiny_model(), ticket)
    hyper = Hyper(batch_size=8, epochs=6, patience=6, weight_decay=0.01 if choices else 0.0)
    with fast_forward(model):
        fitted = fit(model, a_task("t", train, dev), train, dev, np.ones(20, bool), hyper, 0, choices=choices)
    assert fitted.steps.startswith("replayed")
    assert recorder.replays > 30


def together(monkeypatch: pytest.MonkeyPatch, capture: Any, device: Any = "cpu", dropout: float = 0.1) -> Any:
    """Ticket-Share on two tasks, for six epochs, in float32 on a GPU."""
    monkeypatch.setattr("supertickets.training.graphs", lambda _: capture)
    splits = {name: (a_split(n), a_split(20)) for name, n in (("a", 60), ("b", 40))}
    tasks = [TaskData(a_task(name, *its), *its, np.ones(20, bool)) for name, its in splits.items()]
    models = {name: tiny_model().to(device) for name in "ab"}
    for module in (module for model in models.values() for module in model.modules()):
        if isinstance(module, torch.nn.Dropout):
            module.p = dropout
    if device != "cpu":
        models = {name: model.float() for name, model in models.items()}
    shared = share(models, {"a": UNEVEN, "b": OTHER})
    return train_together(shared, tasks, Hyper(batch_size=8, epochs=6, patience=6), 0)


def test_in_all_epochs_of_ticket_share_steps_are_the_captured_ones(monkeypatch):
    trained = together(monkeypatch, recorder := Recorder())
    assert trained.how.startswith("replayed")
    assert recorder.replays > 40


@pytest.mark.gpu
def test_captured_steps_of_ticket_share_are_the_ordinary_ones_on_a_gpu(monkeypatch):
    plain = together(monkeypatch, None, "cuda", dropout=0.0)
    captured = together(monkeypatch, replayed.graphs(torch.device("cuda")), "cuda", dropout=0.0)
    assert captured.how.startswith("replayed")
    losses = [[epoch["train_loss"] for epoch in one.epochs[:2]] for one in (plain, captured)]
    np.testing.assert_allclose(*losses, rtol=0, atol=1e-5)


@pytest.mark.parametrize("spoiled", ["rate", "place", "length"])
def test_what_a_graph_could_not_see_is_found(spoiled):
    weight, count = [torch.ones(3)], iter(range(9))

    def step() -> Tensor:
        number = next(count)
        if spoiled == "place":
            weight[0] = weight[0].clone()
        for _ in range(60 + (number if spoiled == "length" else 0)):
            weight[0].mul_(1 + (number if spoiled == "rate" else 1)).div_(2)
        return weight[0].sum()

    replay = Recorder()(step)
    replay()
    with pytest.raises(AssertionError):
        replay()


def test_weights_in_bf16_are_not_kept_from_pass_to_pass_on_a_gpu(monkeypatch):
    """Made in the first of several passes, a captured step would read them where a later one put others."""
    asked = []
    monkeypatch.setattr(torch, "autocast", lambda *given, **more: asked.append((*given, more)) or nullcontext())
    for device in ("cuda", "cpu"):
        autocast(torch.device(device), "bf16")
    assert [more["cache_enabled"] for *_, more in asked] == [False, True]


class NoGpu:
    """As much of ``torch.cuda`` as captures use, which notes what is asked of it; ``broken`` ends captures badly."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, broken: bool) -> None:
        self.asked: list[str] = []
        generator = SimpleNamespace(
            clone_state=lambda: "state", graphsafe_set_state=lambda state: self.asked.append(f"generator: {state}")
        )

        @contextmanager
        def graph(_graph: Any, pool: Any, stream: Any):
            self.asked.append(f"capture in {pool} on {stream}")
            try:
                yield
            finally:
                if broken:
                    raise RuntimeError("operation failed due to a previous error during capture")

        for name, value in {
            "current_device": lambda: 0,
            "default_generators": [generator],
            "graph_pool_handle": lambda: "the pool",
            "CUDAGraph": lambda: SimpleNamespace(replay=lambda: self.asked.append("replay")),
            "current_stream": lambda *_: "the usual",
            "set_stream": lambda stream: self.asked.append(f"stream: {stream}"),
            "graph": graph,
        }.items():
            monkeypatch.setattr(torch.cuda, name, value)
        monkeypatch.setattr(replayed, "_side", lambda _: "the side")
        monkeypatch.setattr(
            torch._C, "_cuda_endAllocateToPool", lambda *given: self.asked.append(f"ended: {given}"), raising=False
        )


def captures_of_a_gpu() -> Capture:
    found = graphs(CUDA)
    assert found is not None
    return found


def test_a_graph_computes_at_replays(monkeypatch):
    gpu, loss = NoGpu(monkeypatch, broken=False), torch.ones(())
    replay = captures_of_a_gpu()(lambda: loss)
    assert replay() is loss
    assert gpu.asked == ["capture in the pool on the side", "replay"]


def test_a_failed_capture_leaves_all_as_it_was(monkeypatch):
    gpu = NoGpu(monkeypatch, broken=True)

    def waits() -> Tensor:
        raise RuntimeError("not permitted when stream is capturing\nmore")

    with pytest.raises(RuntimeError) as fault:
        captures_of_a_gpu()(waits)
    assert replayed._why(fault.value) == "not permitted when stream is capturing"
    put_back = ["stream: the usual", "generator: state", "ended: (0, 'the pool')"]
    assert gpu.asked == ["capture in the pool on the side", *put_back]

"""Step times: operations against a count by hand, what the frame holds, and that masks save no operation."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny import TICKETS, tiny_model, toy_full_run
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertConfig

from supertickets.chapters.speed.claims import profile_sentences
from supertickets.errors import SuperticketsError
from supertickets.models import compact
from supertickets.runs import Hyper
from supertickets.tasks import data_ref
from supertickets.tickets import Ticket, full_ticket
from supertickets.training import step_profile, step_times, timing
from supertickets.training.timing import operations

CONFIG = BertConfig(hidden_size=8, num_attention_heads=2, num_hidden_layers=2, intermediate_size=12)
QUICK = Hyper(learning_rate=3e-3, batch_size=16, epochs=1)


@pytest.fixture(scope="module")
def times(encoder, toy):
    ref = data_ref(train=toy / "train.csv", dev=toy / "dev.csv", text=("text",), label="verdict")
    return step_times(str(encoder), ref, QUICK, levels=(0.4, 0.8), n_batches=2, repeats=3)


def products(*shapes: tuple[int, int, int]) -> int:
    """Operations of matrix products, each (a, b) times (b, c)."""
    return sum(2 * a * b * c for a, b, c in shapes)


def test_operations_of_the_full_model_are_those_counted_by_hand():
    n = 5
    first = products((n, 8, 8), (n, 8, 8), (n, 8, 8), (n, 8, 8))  # query, key, value, output
    first += 2 * products((n, 4, n), (n, n, 4)) + products((n, 8, 12), (n, 12, 8))  # two heads of size 4; the FFN
    last = products((1, 8, 8), (n, 8, 8), (n, 8, 8), (1, 8, 8))  # only the first token asks and goes on
    last += 2 * products((1, 4, n), (1, n, 4)) + products((1, 8, 12), (1, 12, 8))
    pooler = products((1, 8, 8))
    assert operations(CONFIG, full_ticket((2, 2)), n) == first + last + pooler


def test_operations_of_a_ticket_count_what_it_keeps():
    n = 5
    ticket = Ticket(np.array([[True, False], [False, False]]), np.array([False, True]))
    one_head = products((n, 8, 4), (n, 8, 4), (n, 8, 4), (n, 4, 8), (n, 4, n), (n, n, 4))
    ffn, pooler = products((1, 8, 12), (1, 12, 8)), products((1, 8, 8))
    assert operations(CONFIG, ticket, n) == one_head + ffn + pooler


@pytest.mark.parametrize("family", ["distilbert", "modernbert"])
@pytest.mark.parametrize("ticket", [full_ticket((3, 4)), TICKETS[0], TICKETS[4]])
def test_operations_of_other_families_are_those_that_torch_counts(family, ticket):
    """Whose last layer is computed for all tokens; the FFN of ModernBERT is gated."""
    model = compact(tiny_model(family, "eager"), ticket)
    with FlopCounterMode(display=False) as counted:
        model(torch.arange(2, 9)[None])
    assert operations(model.config, ticket, 7) + products((1, 24, 3)) == counted.get_total_flops()


def test_operations_of_deberta_are_refused():
    with pytest.raises(SuperticketsError, match="The operations of a deberta-v2 are not counted"):
        operations(tiny_model("deberta-v3").config, full_ticket((3, 4)), 7)


def test_there_is_a_row_per_level_way_and_mode(times):
    assert list(times.columns) == [
        "level",
        "way",
        "mode",
        "seconds",
        "ratio",
        "low",
        "high",
        "operations",
        "weights_remaining",
        "utilisation",
    ]
    found = list(times[["level", "way", "mode"]].itertuples(index=False, name=None))
    ways = [(0.0, "compacted"), *((level, way) for level in (0.4, 0.8) for way in ("compacted", "masked"))]
    assert sorted(found) == sorted((level, way, mode) for level, way in ways for mode in ("training", "inference"))
    assert (times["seconds"] > 0).all()
    assert ((times["low"] <= times["ratio"]) & (times["ratio"] <= times["high"])).all()


def test_the_full_model_is_the_measure_and_tickets_have_fewer_operations(times):
    full = times[times["level"] == 0]
    assert full[["ratio", "low", "high", "operations", "weights_remaining"]].to_numpy() == pytest.approx(1.0)
    shares = times.groupby("level")["operations"].unique()
    assert all(len(share) == 1 for share in shares)  # both ways and modes are compared with the same share
    assert 0 < shares[0.8][0] < shares[0.4][0] < 1


def test_all_models_of_a_round_are_timed_before_the_next_round(monkeypatch):
    clock, called = iter(range(1000)), []
    monkeypatch.setattr(timing.time, "perf_counter", lambda: float(next(clock)))
    timed = {(0.0, way, "training"): lambda way=way: called.append(way) for way in "ab"}
    found = timing._in_turn(timed, repeats=2)
    assert called == ["a", "b"] * 3  # one round more, which does not count
    assert {len(seconds) for seconds in found.values()} == {2}
    assert {float(second) for seconds in found.values() for second in seconds} == {1.0}


def test_an_unknown_encoder_is_refused(toy):
    ref = data_ref(train=toy / "train.csv", dev=toy / "dev.csv", text=("text",), label="verdict")
    with pytest.raises(SuperticketsError, match="no-such-folder"):
        step_times("./no-such-folder", ref, QUICK, levels=(0.4,), n_batches=1, repeats=1)


def test_the_profile_of_a_step_accounts_for_all_of_its_time(encoder, toy, monkeypatch):
    spec = toy_full_run(encoder, toy)
    monkeypatch.setattr(timing, "peak_rate", lambda _: 1e11)  # measured twice, on a busy machine it is not the same
    frame = step_profile(str(encoder), spec.data, spec.hyper, (0.0, 0.6), n_batches=2)
    assert frame["level"].tolist() == [0.0, 0.6]
    products, elementwise, between = (np.array(frame[name]) for name in ("products", "elementwise", "between"))
    assert min(products.min(), elementwise.min()) > 0.01
    assert between.min() >= 0
    assert (products + elementwise + between).min() >= 0.999
    assert min(frame["rate"]) > 0
    rate, utilisation = np.array(frame["rate"]), np.array(frame["utilisation"])
    assert 0 < utilisation.min() <= utilisation.max() < 1
    assert 1e9 * rate / utilisation == pytest.approx(np.full(2, 1e11))
    sentences = profile_sentences(frame)
    assert sentences[0].startswith("The full model: a training step takes")
    assert sentences[1].startswith("At level 60%")


def test_of_a_replayed_step_kernels_are_counted():
    """Which stand beside the operations that launched others, and under no operation themselves."""

    def seen(name: str, on: str, host: float, device: float, note: bool = False) -> SimpleNamespace:
        times = {"self_cpu_time_total": host, "self_device_time_total": device}
        return SimpleNamespace(key=name, device_type=SimpleNamespace(name=on), is_user_annotation=note, **times)

    gpu, cpu = "CUDA", "CPU"
    events = [
        seen("aten::mm", cpu, 5.0, 30.0),  # launched one by one
        seen("aten::add", cpu, 2.0, 4.0),
        seen("aten::view", cpu, 9.0, 0.0),
        seen("cudaGraphLaunch", cpu, 70.0, 0.0),
        seen("nvjet_tst_128x64_64x6_1x2_h_bz_TNT", gpu, 0.0, 30.0),
        seen("sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn_n_tilesize64x64x64", gpu, 0.0, 200.0),
        seen("fmha_cutlassF_bf16_aligned_64x64_rf_sm80(PyTorchMemEffAttention)", gpu, 0.0, 50.0),
        seen("void at::native::vectorized_elementwise_kernel<4, at::native::AddOp>", gpu, 0.0, 40.0),
        seen("Memcpy HtoD (Pinned -> Device)", gpu, 0.0, 3.0),
        seen("a name of the user's", gpu, 0.0, 1000.0, note=True),
    ]
    assert timing._arithmetic(events, "cuda") == (280.0, 323.0)
    assert timing._arithmetic(events, "cpu") == (5.0, 7.0)

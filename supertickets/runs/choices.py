"""The authors' published code beside the paper: the choices in which they differ, and which runs each can touch.

The paper's text is the default; a run's ``choices`` name where it does as the code at commit caad8b6 of
cliang1453/super-structured-lottery-tickets instead. The command line's help, the appendix and the audit's
experiment are made from :data:`CHOICES`. What a choice does stands where it acts: on training and scores in
:mod:`supertickets.training.published`, on tickets in :meth:`supertickets.runs.TicketRule.ticket`, on training together
in :mod:`supertickets.sharing.loop` (the other choices of training are those of single tasks).
"""

from collections.abc import Iterable
from dataclasses import dataclass

from supertickets.errors import SuperticketsError


@dataclass(frozen=True)
class Choice:
    """What the paper says and what the code does, where; and what it ``acts`` on, "training", "scores" (of a full run),
    "tickets", "random" ones only, "rewinding" or "sharing". ``audit`` is its number in our audit of the code.
    """

    audit: str
    acts: str
    paper: str
    code: str
    where: str


CHOICES: dict[str, Choice] = {
    "triangular": Choice(
        "D1",
        "scores",
        "“In practice, we compute the average over the training set.” (3)",
        "Gradients are never zeroed: of T batches, in the file's order, batch t counts T - t + 1 times.",
        "mt_dnn/inference.py:69-83",
    ),
    "token_heads": Choice(
        "D3",
        "scores",
        "A head's importance is the expected absolute derivative of an example's loss. (3)",
        "The absolute value is taken at every position, and summed.",
        "module/modeling_bert_masked.py:34-35",
    ),
    "token_ffns": Choice(
        "D4",
        "scores",
        "An FFN's importance is the expected absolute derivative of an example's loss. (3)",
        "Absolute values are summed over positions: one in the last layer, which only [CLS] reads, all of them below.",
        "module/modeling_bert_masked.py:49-50, mt_dnn/inference.py:94-96",
    ),
    "unprotected": Choice(
        "D9",
        "tickets",
        "“We perform one-shot pruning of the same percent of heads and feed-forward layers” (3): none is exempt.",
        "One head of every layer stays. So it is here by default; this choice follows the paper to the letter.",
        "masking.py:88-101, train_rewind.py:154",
    ),
    "replacement": Choice(
        "D10",
        "random",
        "“The random tickets are sampled uniformly across the network.” (5.4)",
        "Units to prune are drawn with replacement, so that fewer go than the level says.",
        "data_utils/mask_utils.py:27, 39, 48",
    ),
    "divisor": Choice(
        "D11",
        "random",
        "“The random tickets are sampled uniformly across the network.” (5.4)",
        "Head n is sought in layer n // n_layers: the last layers of a deep model are never pruned.",
        "data_utils/mask_utils.py:41-43",
    ),
    "unprotected_random": Choice(
        "D12",
        "random",
        "Winning and random tickets differ only in which units are kept. (5.4)",
        "Random tickets may lose all heads of a layer, the others may not.",
        "data_utils/mask_utils.py:37-43",
    ),
    "ffn_counts": Choice(
        "D14, D15",
        "tickets",
        "“10% heads and 10% FFN, 20% heads and 20% FFN, etc” (5.2)",
        "Level k of 10 prunes k of 12 FFNs, five sixths of what it says (heads are rounded down, as here).",
        "scripts/rewind_*_winning.sh, masking.py:13",
    ),
    "fixed_batches": Choice(
        "D17",
        "training",
        "Nothing on how batches are made: commonly they are drawn anew in every epoch.",
        "Batches are contiguous parts of the file, shuffled once; every epoch repeats them in one order.",
        "mt_dnn/batcher.py:26-46, 65-73",
    ),
    "all_epochs": Choice(
        "D18",
        "training",
        "“We train for a maximum of 6 epochs with early-stopping.” (5.2)",
        "All epochs are trained, and the last one's weights are used.",
        "train_rewind.py:586-687",
    ),
    "one_dev": Choice(
        "D19",
        "training",
        "“We randomly sample 10% GLUE development set for tickets selection.” (5.2)",
        "One dev file serves for everything: what is chosen is chosen on what is reported.",
        "train_rewind.py:302-306",
    ),
    "mnli_dropout": Choice(
        "D22",
        "training",
        "“We set the dropout rate of all task specific layers as 0.1, except 0.3 for MNLI and 0.05 for CoLA.” (A.1.2)",
        "MNLI has 0.2.",
        "experiments/glue/glue_task_def.yml:15",
    ),
    "bert_adamax": Choice(
        "D23",
        "training",
        "“We use Adamax (Kingma and Ba, 2014) as our optimizer.” (5.2)",
        "The momentum's bias is not corrected, epsilon is added twice, weight decay is apart from the gradient.",
        "module/bert_optim.py:119-140",
    ),
    "kinked_schedule": Choice(
        "D24",
        "training",
        "“A linear learning rate decay schedule with warm-up over 0.1 is used.” (A.1.2)",
        "The rate rises from 0 to its peak, drops to nine tenths of it, and falls to 0.",
        "pytorch_pretrained_bert 0.6.0, optimization.py:33-36",
    ),
    "weight_decay": Choice(
        "D25",
        "training",
        "The paper says nothing of weight decay.",
        "Matrices decay at 0.01, whatever the option says; biases and layer norms do not.",
        "mt_dnn/model.py:60-68",
    ),
    "leaky_updates": Choice(
        "D31",
        "sharing",
        "“if it is only selected by one specific task, then its weights are updated by that task only” (4)",
        "Old momentum and decay move all parameters on every task's batches.",
        "module/bert_optim.py:96-139, train_rewind.py:594-615",
    ),
}
"""Every choice by name."""
OPEN_ENDS: dict[str, Choice] = {
    "late_rewind": Choice(
        "",
        "rewinding",
        "“We reset the parameters of the winning tickets to their values in the pre-trained weights” (3)",
        "They are set to those that the full model had after its first epoch; the schedule goes on from there.",
        "",
    ),
    "early_scores": Choice(
        "",
        "scores",
        "“We compute the importance scores [...] at the end of fine-tuning.” (3)",
        "Training stops after its first epoch, and units are scored there.",
        "",
    ),
}
"""What section 9 leaves open, as choices of a run: neither the paper nor its code does this."""
PUBLISHED = tuple(sorted(set(CHOICES) - {"unprotected"}))
"""What the name "published" stands for: the published code, defects included."""
_TICKETS = {"full": (), "random": ("tickets", "random")}


def choices_of(names: str | Iterable[str]) -> tuple[str, ...]:
    """Names of choices, from a sequence or a text with commas, sorted; "published" stands for its own.

    Raises SuperticketsError for an unknown one.

    >>> choices_of("weight_decay, all_epochs")
    ('all_epochs', 'weight_decay')
    """
    given = {name.strip() for name in (names.split(",") if isinstance(names, str) else names)} - {""}
    given = given - {"published"} | set(PUBLISHED if "published" in given else ())
    if unknown := sorted(given - set(CHOICES) - set(OPEN_ENDS)):
        raise SuperticketsError(f"Unknown choice {unknown[0]!r}; known: {', '.join(CHOICES)}, and published for most.")
    return tuple(sorted(given))


def acting(choices: Iterable[str], kinds: Iterable[str], shared: bool = False) -> tuple[str, ...]:
    """Those of the choices that can touch a run with tickets of these kinds, of one task or ``shared`` by many.

    >>> acting(("replacement", "triangular", "weight_decay"), ["full"])
    ('triangular', 'weight_decay')
    """
    touched = {what for kind in kinds for what in _TICKETS.get(kind, ("tickets",))}
    touched |= {"sharing"} if shared else {"training", "scores" if "full" in kinds else "rewinding"}
    return tuple(name for name in choices if (CHOICES | OPEN_ENDS)[name].acts in touched)

"""Runs, lengths of time and amounts of memory in words."""

from __future__ import annotations

from supertickets.runs.adaptation_spec import AdaptationSpec
from supertickets.runs.run import RunSpec
from supertickets.runs.spec import Spec, data_of


def readable(seconds: float) -> str:
    """A length of time in words.

    >>> readable(42), readable(4000)
    ('42 s', '1 h 07 min')
    """
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"


def in_words(mib: float) -> str:
    """An amount of memory in words.

    >>> in_words(812.3), in_words(6000)
    ('812 MiB', '5.9 GiB')
    """
    return f"{mib:.0f} MiB" if mib < 1000 else f"{mib / 1024:.1f} GiB"


def described(spec: Spec) -> str:
    """A run in words: its encoder, its tasks, its seed and what of the model it trains."""
    if isinstance(spec, AdaptationSpec):
        source = f"{spec.model} of {task_of(spec.source)}"
        part = f"{spec.fraction:.3%} of its training set" if spec.size is None else f"{spec.size} training examples"
        return (
            f"{spec.source.encoder}, {source}, adapted to {spec.data.name}, {part}, draw {spec.draw}, seed {spec.seed}"
        )
    if isinstance(spec, RunSpec):
        rule = spec.ticket
        what = "full model" if rule.kind == "full" else f"{rule.kind} ticket at sparsity level {rule.level:.0%}"
        what += f" of run {rule.parent} by {rule.estimator} scores" if rule.parent else ""
        return f"{spec.encoder} on {spec.data.name}, {what}, seed {spec.seed}"
    return f"{spec.encoder}, {spec.model} on {task_of(spec)}, seed {spec.seed}"


def task_of(spec: Spec) -> str:
    """The task of a run, or its tasks; of an adaptation the target."""
    return " + ".join(ref.name for ref in data_of(spec))

"""The audit (appendix A): the runs of every choice alone, of all together, and of the paper's text, on paired seeds."""

from dataclasses import replace
from typing import Any

from supertickets.runs import CHOICES, RunSpec, SharingSpec, Spec, TicketRule
from supertickets.studies.inputs import HERE, Inputs, full_run, rewound
from supertickets.studies.profiles import Profile, multi_task_hyper
from supertickets.studies.training_sets import MAP_DEV_SIZE, TrainingSets
from supertickets.tickets import LEVELS

FEW, SOME = (0.2, 0.5), (0.2, 0.5, 0.8)


def audit_levels(case: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The levels of winning and of random tickets: all winning ones where a super ticket is chosen among them.

    >>> audit_levels("bert_adamax")
    ((0.2, 0.5), (0.2, 0.5))
    """
    if case in ("paper", "one_dev", "published"):
        return LEVELS, SOME
    return (FEW, FEW) if CHOICES[case].acts == "training" else (SOME, SOME)


def audit_runs(profile: Profile, inputs: Inputs = HERE) -> dict[str, list[Spec]]:
    """The runs of the profile's ``audited`` cases, by case: "paper", a choice or "published".

    Per training set and task a full model, winning and random tickets; of "leaky_updates" Ticket-Share on the first
    task and those of ``audit_with``, which "paper" has too if that is audited. Runs that a choice cannot touch are the
    paper's own, by their id.
    """
    found: dict[str, list[Spec]] = {case: [] for case in profile.audited} if profile.audit else {}
    for k in range(profile.audit[0].n if profile.audit else 0):
        for case, specs in found.items():
            choices = () if case == "paper" else (case,)
            for sets in profile.audit if case != "leaky_updates" else ():
                full, (winning, random) = full_on(profile, sets, k, inputs, choices), audit_levels(case)
                specs += [full, *(rewound(full, "winning", level) for level in winning)]
                specs += [rewound(full, "random", level) for level in random]
            if case == "leaky_updates" or (case == "paper" and "leaky_updates" in found):
                specs += _together(profile, k, choices, inputs)
    return found


def full_on(profile: Profile, sets: TrainingSets, k: int, inputs: Inputs, choices: tuple[str, ...] = ()) -> RunSpec:
    """The full model of the k-th of some training sets, or of the k-th seed where real data has no more sets."""
    drawn: dict[str, Any] = {"train_size": sets.size}
    if sets.noise is not None:  # else Table 1's own training set, and only seeds differ
        drawn |= {"train_seed": sets.first + k, "noise": sets.noise, "dev_size": MAP_DEV_SIZE}
    ref = inputs.data(sets.task, **{**profile.data_of(sets.task), **drawn})
    hyper = profile.hyper_of(ref.name)
    return full_run(profile.encoder, ref, sets.first + k, hyper, inputs=inputs, choices=choices)


def _together(profile: Profile, k: int, choices: tuple[str, ...], inputs: Inputs) -> list[Spec]:
    fulls = [full_on(profile, sets, k, inputs) for sets in (profile.audit[0], *profile.audit_with)]
    shared = SharingSpec(
        encoder=profile.encoder,
        encoder_revision=fulls[0].encoder_revision,
        data=tuple(full.data for full in fulls),
        tickets=tuple(TicketRule("winning", 0.5, full.id) for full in fulls),
        dropouts=tuple(full.hyper.task_dropout for full in fulls),
        seed=fulls[0].seed,
        hyper=multi_task_hyper(profile.hyper),
        choices=choices,
    )
    return [*fulls, shared]


SEARCH_LEVELS = (0.2, 0.5)
"""The levels at which tickets are trained that were found in different ways."""
MEASURES = ("token", "signed", "squared", "magnitude", "leave_one_out")
"""Importance measures beside the paper's."""
SCORED = (8, 16, 32, 64, 128)
"""So many examples are scored beside all of them."""
TRAINED = ("example", *MEASURES, "example@8", "example@32")
"""The scores of which tickets are trained."""
STEPS = (0.1, 0.2, 0.3, 0.4, 0.5)
"""Iterative pruning: a step scores the rewound and trained ticket of the one before, and prunes some more of it."""


def search_runs(profile: Profile, inputs: Inputs = HERE) -> dict[str, list[RunSpec]]:
    """The runs on the profile's ``search`` training sets, by the way in which a ticket is found.

    "full" are the full models, which take most scores, and "early" has full models of its own, stopped after an epoch;
    "example" is the paper's way. "iterative" has a ticket at each of :data:`STEPS`, the others at
    :data:`SEARCH_LEVELS`.
    """

    def at_levels(full: RunSpec, estimator: str, kind: str = "winning") -> list[RunSpec]:
        return [rewound(full, kind, level, estimator) for level in SEARCH_LEVELS]

    names = ("example", *MEASURES, *(f"example@{n}" for n in SCORED))
    found: dict[str, list[RunSpec]] = {}
    for sets in profile.search:
        for k in range(sets.n):
            full = replace(full_on(profile, sets, k, inputs), estimators=names)
            early = replace(full, estimators=("example",), choices=("early_scores",))
            parts = {"full": [full], **{name: at_levels(full, name) for name in TRAINED}}
            parts["random"] = at_levels(full, "example", "random")
            parts["early"] = [early, *at_levels(early, "example")]
            parts["late"] = [replace(spec, choices=("late_rewind",)) for spec in parts["example"]]
            before, steps = full, parts.setdefault("iterative", [])
            for level in STEPS:
                before = replace(full, ticket=TicketRule("winning", level, before.id), estimators=("example",))
                steps.append(before)
            for way, specs in parts.items():
                found.setdefault(way, []).extend(specs)
    return found

"""The audit (appendix A): the runs of every choice alone, of all together, and of the paper's text, on paired seeds."""

from dataclasses import replace
from typing import Any

from supertickets.runs import CHOICES, RunSpec, SharingSpec, Spec, TicketRule
from supertickets.studies.inputs import HERE, Inputs
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
                rules = [TicketRule("winning", level, full.id) for level in winning]
                rules += [TicketRule("random", level) for level in random]
                specs += [full, *(replace(full, ticket=rule, estimators=()) for rule in rules)]
            if case == "leaky_updates" or (case == "paper" and "leaky_updates" in found):
                specs += _together(profile, k, choices, inputs)
    return found


def full_on(profile: Profile, sets: TrainingSets, k: int, inputs: Inputs, choices: tuple[str, ...] = ()) -> RunSpec:
    """The full model of the k-th of some training sets, or of the k-th seed where real data has no more sets."""
    drawn: dict[str, Any] = {"train_size": sets.size}
    if sets.noise is not None:  # else Table 1's own training set, and only seeds differ
        drawn |= {"train_seed": sets.first + k, "noise": sets.noise, "dev_size": MAP_DEV_SIZE}
    ref = inputs.data(sets.task, **{**profile.data_of(sets.task), **drawn})
    revision, hyper = inputs.revision(profile.encoder), profile.hyper_of(ref.name)
    return RunSpec(profile.encoder, revision, ref, sets.first + k, hyper, choices=choices)


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

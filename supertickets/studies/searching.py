"""What section 9 leaves open (chapter 9): ways to find a ticket beside the paper's, on paired training sets."""

from dataclasses import replace

from supertickets.runs import RunSpec, TicketRule
from supertickets.studies.audit import full_on
from supertickets.studies.inputs import HERE, Inputs
from supertickets.studies.profiles import Profile

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
    names = ("example", *MEASURES, *(f"example@{n}" for n in SCORED))
    found: dict[str, list[RunSpec]] = {}
    for sets in profile.search:
        for k in range(sets.n):
            full = replace(full_on(profile, sets, k, inputs), estimators=names)
            early = replace(full, estimators=("example",), choices=("early_scores",))
            parts = {"full": [full], **{name: _tickets(full, name) for name in TRAINED}}
            parts["random"] = _tickets(full, "example", "random")
            parts["early"] = [early, *_tickets(early, "example")]
            parts["late"] = [replace(spec, choices=("late_rewind",)) for spec in parts["example"]]
            before, steps = full, parts.setdefault("iterative", [])
            for level in STEPS:
                before = replace(full, ticket=TicketRule("winning", level, before.id), estimators=("example",))
                steps.append(before)
            for way, specs in parts.items():
                found.setdefault(way, []).extend(specs)
    return found


def _tickets(full: RunSpec, estimator: str, kind: str = "winning") -> list[RunSpec]:
    parent = "" if kind == "random" else full.id
    rules = (TicketRule(kind, level, parent, estimator) for level in SEARCH_LEVELS)
    return [replace(full, ticket=rule, estimators=()) for rule in rules]

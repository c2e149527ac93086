"""Which runs stand behind which table or figure: plain lists of specs, built from a profile."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, product, zip_longest
from typing import Any

import pandas as pd

from supertickets.errors import SuperticketsError
from supertickets.runs import (
    AdaptationSpec,
    Hyper,
    RunSpec,
    RunStore,
    SharingSpec,
    Spec,
    TicketRule,
    super_tickets,
)
from supertickets.studies.choices import audit_runs, search_runs
from supertickets.studies.inputs import HERE, Inputs, full_run, rewound
from supertickets.studies.profiles import Profile, multi_task_hyper
from supertickets.studies.training_sets import MAP_DEV_SIZE
from supertickets.studies.tuning import SETTINGS, at_each, at_rates, mismatched, own_rates
from supertickets.tasks import DataRef
from supertickets.tickets import KINDS, LEVELS

_Stages = Callable[[Profile, RunStore, Inputs], Iterator[Sequence[Spec]]]


def ticket_sweep(full: RunSpec, levels: Iterable[float] = LEVELS, kinds: Iterable[str] = KINDS) -> list[RunSpec]:
    """A full run and its rewinding runs: 25 with the paper's eight levels and three kinds (section 5.4)."""
    levels = tuple(levels)
    return [full, *(rewound(full, kind, level) for kind in kinds for level in levels)]


def phase_transition(profile: Profile, kinds: Iterable[str] = KINDS, inputs: Inputs = HERE) -> list[RunSpec]:
    """The runs behind Figures 4 and 7 and Tables 1, 6 and 7: every task, seed, kind and level of a profile.

    The data of a task are the same for every seed; a seed sets the task head, batches, dropout and random tickets, and
    is shared by all of its tickets, so that conditions are paired.
    """
    kinds, refs = tuple(kinds), [inputs.data(task, **profile.data_of(task)) for task in profile.tasks]
    return [spec for ref in refs for seed in profile.seeds for spec in _sweep(profile, ref, seed, kinds, inputs)]


def _sweep(
    profile: Profile, ref: DataRef, seed: int, kinds: Iterable[str], inputs: Inputs, hyper: Hyper | None = None
) -> list[RunSpec]:
    """A full run and its rewinding runs at the profile's levels of each kind."""
    hyper = hyper or profile.hyper_of(ref.name)
    full = full_run(profile.encoder, ref, seed, hyper, inputs=inputs, choices=profile.choices)
    by_kind = {kind: profile.levels_by_kind.get(kind, profile.levels) for kind in kinds}
    return [full, *(rewound(full, kind, level) for kind, levels in by_kind.items() for level in levels)]


def subset_sweeps(profile: Profile, inputs: Inputs = HERE) -> list[RunSpec]:
    """The runs behind Figure 5: one task, its whole training set and smaller ones, full model and winning tickets.

    Smaller training sets are stratified parts of larger ones (in the lab: drawn afresh); all share one dev set.
    """
    task = profile.subsets.task
    sizes = ({}, *({"train_size": size} for size in profile.subsets.sizes))
    each = (replace(profile, tasks=(task,), data_by_task={task: {**profile.data_of(task), **size}}) for size in sizes)
    return [spec for one in each for spec in phase_transition(one, ["winning"], inputs)]


def training_set_sweeps(
    profile: Profile, inputs: Inputs = HERE, kinds: Iterable[str] = KINDS, repeats: int = 1
) -> list[RunSpec]:
    """The runs behind Figure 1: every level and kind on independent training sets, one dev set for all.

    Training set k is drawn with ``train_seed=k``: afresh in the lab, a part of its own of real training data. Its
    runs have the seed k too, so that the spread over them is all there is: data, head initialisation and order. With
    ``repeats`` every training set has so many seeds of its own, which tells the two apart.
    """
    kinds, specs, sets = tuple(kinds), [], profile.sets
    for k in range(sets.first, sets.first + sets.n):
        arguments = {"train_size": sets.size, "train_seed": k, "noise": sets.noise}
        ref = inputs.data(sets.task, **{**profile.data_of(sets.task), **arguments})
        for seed in (k + 1000 * repeat for repeat in range(repeats)):
            specs += _sweep(profile, ref, seed, kinds, inputs, sets.hyper)
    return specs


LIGHT_LEVELS = (0.1, 0.2, 0.3)
"""The levels of light pruning, at which the paper's gains lie."""


def light_sweeps(profile: Profile, inputs: Inputs = HERE) -> list[RunSpec]:
    """The runs behind the powered test of the central claim: full models and light winning tickets of many sets."""
    each = (replace(profile, sets=sets, levels=LIGHT_LEVELS) for sets in profile.light)
    return [spec for one in each for spec in training_set_sweeps(one, inputs, ["winning"])]


def rate_runs(profile: Profile, inputs: Inputs = HERE) -> list[RunSpec]:
    """The runs that tune the learning rate (5.2): every task's full model at each of the profile's rates.

    A task's rate is that with the best mean selection score (:func:`supertickets.studies.chosen_rates`).
    """
    return at_each(phase_transition(profile, (), inputs), "learning_rate", profile.rates)


def importance_runs(profile: Profile, inputs: Inputs = HERE) -> list[RunSpec]:
    """The runs behind Figure 6: the full model of every task and seed, whose importance scores are compared.

    To the profile's tasks come those of ``across``, with fewer training examples.
    """
    further = replace(profile, tasks=profile.across, data={**profile.data, "train_size": profile.across_size})
    return [spec for each in (profile, further) for spec in phase_transition(each, (), inputs)]


def multi_task(
    profile: Profile,
    frame: pd.DataFrame,
    inputs: Inputs = HERE,
    rate: float | None = None,
    fine_tuned: bool = True,
) -> list[SharingSpec]:
    """The runs behind Tables 3, 5 and 8: for every seed MT-DNN and Ticket-Share on the profile's tasks.

    ``frame`` holds the single-task sweeps (:func:`phase_transition`), which give each task's super ticket, of the same
    seed and schedule (A.2.1). At most 5 epochs together, at the learning ``rate`` (None: that of the single tasks),
    then, if ``fine_tuned``, the single-task schedule for each task, at each of the profile's learning rates. A seed
    that lacks a task's super ticket has no Ticket-Share run.
    """
    refs = [inputs.data(task, **profile.data_of(task)) for task in sorted(profile.tasks)]
    chosen = super_tickets(frame).set_index(["task", "seed"]) if len(frame) else frame
    together = multi_task_hyper(profile.hyper)
    rates = dict.fromkeys((profile.hyper.learning_rate, *profile.rates)) if fine_tuned else ()
    fine_tuning = tuple(replace(profile.hyper, learning_rate=each) for each in rates)
    specs = []
    for seed in profile.seeds:
        common: dict[str, Any] = {
            "encoder": profile.encoder,
            "encoder_revision": inputs.revision(profile.encoder),
            "data": tuple(refs),
            "dropouts": tuple(profile.hyper_of(ref.name).task_dropout for ref in refs),
            "seed": seed,
            "hyper": replace(together, learning_rate=rate or together.learning_rate),
            "fine_tuning": fine_tuning,
            "choices": profile.choices,
        }
        specs.append(SharingSpec(tickets=tuple(TicketRule() for _ in refs), **common))
        rows = [chosen.loc[(ref.name, seed)] for ref in refs if (ref.name, seed) in chosen.index]
        if len(rows) == len(refs):
            rules = (TicketRule("winning", float(row["level"]), row["parent"], row["estimator"]) for row in rows)
            specs.append(SharingSpec(tickets=tuple(rules), **common))
    return specs


def adaptation_sources(profile: Profile, inputs: Inputs = HERE) -> list[RunSpec]:
    """The single-task runs that :func:`adaptations` starts from: the source task's full model and winning tickets."""
    chosen = profile.adaptation
    at_source = replace(
        profile, tasks=(chosen.source,), seeds=profile.seeds[: chosen.n_seeds], data={**profile.data, **chosen.data}
    )
    return phase_transition(at_source, ["winning"], inputs)


def adaptations(
    profile: Profile, frame: pd.DataFrame, shared: Iterable[SharingSpec], inputs: Inputs = HERE
) -> list[AdaptationSpec]:
    """The runs behind Table 4: every source model adapted to every target with subsets of every size, at every rate.

    A seed has subsets of its own, those with the draws 1000 x seed, 1000 x seed + 1 and so on, so that the spread over
    seeds is that over subsets too; all source models of a seed have the same. ``frame`` holds the records of
    :func:`adaptation_sources`, whose full models and super tickets are sources; ``shared`` are the runs of
    :func:`multi_task`, of which the shared encoders are.
    """
    chosen, seeds = profile.adaptation, profile.seeds[: profile.adaptation.n_seeds]
    picked = set(super_tickets(frame)["run"]) | set(frame.loc[frame["kind"] == "full", "run"]) if len(frame) else set()
    sources: list[tuple[RunSpec | SharingSpec, str]] = [
        (spec, "") for spec in adaptation_sources(profile, inputs) if spec.id in picked
    ]
    for spec in shared:
        if spec.seed in seeds:
            along = chosen.source if chosen.source in {ref.name for ref in spec.data} else ""
            sources.append((replace(spec, fine_tuning=()), along))
    specs = []
    for target in chosen.sizes:
        ref = inputs.data(target, **{**profile.data_of(target), **chosen.data})
        for size, rate in product(chosen.sizes[target], chosen.rates or (profile.hyper.learning_rate,)):
            at = replace(profile.hyper_of(ref.name), learning_rate=rate)
            for k in range(1 if size is None else chosen.draws):
                for source, along in sources:
                    draw = 0 if size is None else 1000 * source.seed + k
                    specs.append(AdaptationSpec(source, ref, 1.0, draw, along, at, size=size))
    return specs


def on_test_sets(specs: Iterable[RunSpec], frame: pd.DataFrame, inputs: Inputs = HERE) -> list[RunSpec]:
    """The runs behind Table 2: every full model and super ticket of a sweep again, predicting its task's test set.

    ``frame`` holds the sweep's records. The training is the same but for one thing: in the lab, training examples that
    also occur in the test set (a handful; of sentiment every eighth) are replaced, and no others.
    """
    chosen = set(super_tickets(frame)["run"]) | set(frame.loc[frame["kind"] == "full", "run"])
    again = [spec for spec in specs if spec.id in chosen]
    refs = {ref: inputs.data(**ref.request(), with_test=True) for ref in dict.fromkeys(spec.data for spec in again)}
    return [replace(spec, data=refs[spec.data]) for spec in again]


def map_sweeps(profile: Profile, inputs: Inputs = HERE) -> list[RunSpec]:
    """The runs behind the map: those of :func:`light_sweeps` on the training sets of its cells."""
    return light_sweeps(replace(profile, light=profile.map, data={**profile.data, "dev_size": MAP_DEV_SIZE}), inputs)


def _at_once(runs: Callable[[Profile, Inputs], Iterable[Spec]]) -> _Stages:
    """The one stage of an experiment whose runs hang on no other's results."""

    return lambda profile, _store, inputs: iter([list(runs(profile, inputs))])


def _rates(profile: Profile, store: RunStore, inputs: Inputs) -> Iterator[Sequence[Spec]]:
    """Full models at every rate; then light tickets that were found at the rate farthest from the matched one (A.2.1),
    and winning tickets of every task at its chosen rate, for Table 5."""
    tuning = rate_runs(profile, inputs)
    yield tuning
    frame, sweep = store.frame(tuning), phase_transition(profile, ["winning"], inputs)
    light = [level for level in LIGHT_LEVELS if level in profile.levels]
    yield [*tuning, *sweep, *mismatched(tuning, sweep, light), *at_rates(sweep, frame)]


def _tuning(profile: Profile, store: RunStore, inputs: Inputs) -> Iterator[Sequence[Spec]]:
    """Full models on the grid of rates and batch sizes, the best at every dropout; then, on fresh seeds, full models
    and light tickets at the profile's own settings and at the chosen ones."""
    tried = at_each(rate_runs(profile, inputs), "batch_size", profile.grid.batch_sizes)
    yield tried
    best = at_rates(phase_transition(profile, (), inputs), store.frame(tried), SETTINGS[:2])
    tried = list({spec.id: spec for spec in (*tried, *at_each(best, "task_dropout", profile.grid.dropouts))}.values())
    yield tried
    seeds = tuple(max(profile.seeds) + 1 + k for k in range(profile.grid.fresh))
    own = phase_transition(replace(profile, seeds=seeds, levels=LIGHT_LEVELS), ["winning"], inputs)
    yield [*tried, *own, *at_rates(own, store.frame(tried), SETTINGS)]


def _table2(profile: Profile, store: RunStore, inputs: Inputs) -> Iterator[Sequence[Spec]]:
    sweep = phase_transition(profile, ["winning"], inputs)
    yield sweep
    yield on_test_sets(sweep, frame, inputs) if len(frame := store.frame(sweep)) else []


def _table3(profile: Profile, store: RunStore, inputs: Inputs) -> Iterator[Sequence[Spec]]:
    """Of the models trained together at other rates, the rate that the selection split chooses is fine-tuned too, and
    that at the profile's lower rates as well, in runs of their own."""
    sweep = phase_transition(profile, ["winning"], inputs)
    yield sweep
    frame, matched = store.frame(sweep), profile.hyper.learning_rate
    shared = multi_task(profile, frame, inputs)
    yield shared
    others = [rate for rate in profile.rates if rate != matched]
    shared = [*shared, *(spec for rate in others for spec in multi_task(profile, frame, inputs, rate, False))]
    yield shared
    chosen = own_rates(store.frame(shared))
    again = [spec for rate in others for spec in multi_task(profile, frame, inputs, rate)]
    shared = [*shared, *(spec for spec in again if chosen.get(spec.model) == spec.hyper.learning_rate)]
    own = [spec for spec in shared if spec.fine_tuning and chosen.get(spec.model) == spec.hyper.learning_rate]
    lower = tuple(replace(profile.hyper, learning_rate=rate) for rate in profile.lower_rates)
    yield [*shared, *(replace(spec, fine_tuning=lower) for spec in own if lower)]


def _table4(profile: Profile, store: RunStore, inputs: Inputs) -> Iterator[Sequence[Spec]]:
    sweep, sources = phase_transition(profile, ["winning"], inputs), adaptation_sources(profile, inputs)
    yield [*sweep, *sources]
    yield adaptations(profile, store.frame(sources), multi_task(profile, store.frame(sweep), inputs), inputs)


EXPERIMENTS: Mapping[str, _Stages] = {
    "rates": _rates,
    "figure1": _at_once(training_set_sweeps),
    "light": _at_once(light_sweeps),
    "map": _at_once(map_sweeps),
    "audit": _at_once(lambda profile, inputs: chain(*audit_runs(profile, inputs).values())),
    "search": _at_once(lambda profile, inputs: chain(*search_runs(profile, inputs).values())),
    "table1": _at_once(lambda profile, inputs: phase_transition(profile, inputs=inputs)),
    "table2": _table2,
    "table3": _table3,
    "table4": _table4,
    "figure5": _at_once(subset_sweeps),
    "figure6": _at_once(importance_runs),
    "tuning": _tuning,
}
"""Stages by name. The runs of Table 1 are also those of Tables 6 and 7 and of Figures 3, 4 and 7, the runs of Table 3
those of Tables 5 and 8."""


def stages(experiment: str, profile: Profile, store: RunStore, inputs: Inputs = HERE) -> Iterator[Sequence[Spec]]:
    """The runs of an experiment, stage by stage; "all" goes through every experiment.

    Take the next stage when the runs of the one before are carried out: it is made from their records. Raises
    SuperticketsError for an unknown experiment.
    """
    if experiment not in (*EXPERIMENTS, "all"):
        raise SuperticketsError(f"Unknown experiment {experiment!r}; known: {', '.join(EXPERIMENTS)}, all.")
    chosen = EXPERIMENTS if experiment == "all" else [experiment]
    parts = [EXPERIMENTS[name](profile, store, inputs) for name in chosen]
    for stage in zip_longest(*parts, fillvalue=()):  # what depends on nothing goes side by side
        yield list({spec.id: spec for part in stage for spec in part}.values())

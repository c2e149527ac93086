"""Profiles: the scales at which the same notebooks run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from supertickets.errors import SuperticketsError
from supertickets.lab import encoder_names
from supertickets.runs import Hyper, choices_of
from supertickets.studies.training_sets import (
    CASES,
    MAP_NOISES,
    MAP_SIZES,
    Adaptation,
    Grid,
    Subsets,
    TrainingSets,
    listed,
    map_cells,
    seed_numbers,
)
from supertickets.tickets import KINDS, LEVELS

TASK_DROPOUT: Mapping[str, float] = {"MNLI": 0.3, "CoLA": 0.05, "inference": 0.3, "acceptability": 0.05}
"""Task-head dropout where it is not 0.1 (A.1.2), for the paper's tasks and their kin in the lab."""


@dataclass(frozen=True)
class Profile:
    """A scale at which the same notebooks run: encoder, tasks, seeds, sparsity levels and hyper-parameters.

    ``rates`` are the learning rates of the sensitivity analysis (A.4), ``lower_rates`` those that fine-tuning after
    training together tries too (A.2: down to a fifth). ``across`` are further tasks whose importance scores Figure 6
    shows, of which at most ``across_size`` examples are used. ``data`` holds further arguments of
    :func:`supertickets.tasks.load_task`, such as ``train_size``, ``data_by_task`` those of one task. ``rate_by_task``
    is the learning rate of a task where it is not that of ``hyper`` (5.2: chosen on the selection split).
    ``levels_by_kind`` are the levels of a kind of tickets where they are not ``levels``. ``light`` are training sets on
    which the central claim, that light pruning beats the full model, is tested with power, ``map`` those of chapter 10
    (``map_cells``), ``audit`` those on which the choices ``audited`` are tried one by one (appendix A), ``audit_with``
    those of the tasks that share a model with the first there, ``search`` those of chapter 9's other ways to find a
    ticket. ``grid`` is what appendix B tunes beside the rates. ``choices`` are where all runs do as the published code
    (:data:`supertickets.runs.CHOICES`). ``large`` is to this profile as BERT-large to BERT-base, "" for none.
    """

    name: str
    encoder: str
    tasks: tuple[str, ...]
    seeds: tuple[int, ...]
    hyper: Hyper
    subsets: Subsets
    sets: TrainingSets
    adaptation: Adaptation
    rates: tuple[float, ...]
    lower_rates: tuple[float, ...] = ()
    levels: tuple[float, ...] = LEVELS
    across: tuple[str, ...] = ()
    across_size: int = 500
    data: Mapping[str, Any] = field(default_factory=dict)
    data_by_task: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    rate_by_task: Mapping[str, float] = field(default_factory=dict)
    levels_by_kind: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    light: tuple[TrainingSets, ...] = ()
    map: tuple[TrainingSets, ...] = ()
    audit: tuple[TrainingSets, ...] = ()
    audit_with: tuple[TrainingSets, ...] = ()
    audited: tuple[str, ...] = CASES
    search: tuple[TrainingSets, ...] = ()
    grid: Grid = field(default_factory=Grid)
    choices: tuple[str, ...] = ()
    large: str = ""

    def data_of(self, task: str) -> dict[str, Any]:
        """Further arguments of :func:`supertickets.tasks.load_task` for a task.

        >>> PROFILES["minilm"].data_of("QNLI")
        {'train_size': 500, 'dev_size': 2000}
        """
        return {**self.data, **self.data_by_task.get(task, {})}

    def hyper_of(self, task: str) -> Hyper:
        """The hyper-parameters of a task's runs."""
        dropout = TASK_DROPOUT.get(task, self.hyper.task_dropout)
        rate = self.rate_by_task.get(task, self.hyper.learning_rate)
        return replace(self.hyper, learning_rate=rate, task_dropout=dropout)


GLUE = ("RTE", "MRPC", "CoLA", "SST-2", "STS-B", "QNLI", "QQP", "MNLI")
# MNLI's kin, since a choice is about its dropout; as noisy as the map's noisiest, for room to gain.
_TRIED = TrainingSets("inference", 200, 12, 3000, 0.4)
_LAB = Profile(
    "lab",
    "lab-base",
    ("entailment", "paraphrase", "acceptability"),
    (0, 1, 2, 3, 4),
    Hyper(learning_rate=1e-3, batch_size=16, max_length=64),
    Subsets("entailment", (150, 75)),
    # Few examples, many wrong labels: where the paper expects most. Chosen on training sets 0 to 7, reported on others.
    TrainingSets("paraphrase", 200, 12, first=100, noise=0.3),
    # The least of SNLI and the least two of SciTail are as large as the paper's; all is what the time allows.
    Adaptation(
        "inference",
        {"captions": (23, 549, None), "science": (23, 235, None)},
        2,
        3,
        (1e-3, 2e-3),
        {"train_size": 1000, "dev_size": 800},
    ),
    (5e-4, 1e-3, 2e-3),
    across=("sentiment", "similarity", "question_pairs", "question_answer", "inference"),
    data={"dev_size": 800},
    map=map_cells("paraphrase", MAP_SIZES, MAP_NOISES, 12),
    audit=(_TRIED,),
    audit_with=(replace(_TRIED, task="paraphrase"),),
    search=(_TRIED,),
    large="lab-large",
)
_FEW = {"SNLI": (50, 100, 500), "SciTail": (50, 100, 500)}
# All eight tasks, with room for an effect: the full model is far from the ceiling that the lab's own sizes lead to. The
# sizes and rates of wrong labels were chosen by its mean score on training sets 900 to 902, which nothing reports.
_FEW_AND_WRONG = dict.fromkeys(("entailment", "question_pairs", "question_answer", "inference"), (100, 0.4))
_FEW_AND_WRONG |= {"paraphrase": (100, 0.35), "similarity": (200, 0.2)}
_LAB_EIGHT = replace(
    _LAB,
    name="lab-eight",
    tasks=(*_LAB.tasks, *_LAB.across),
    data_by_task={task: {"train_size": size, "noise": noise} for task, (size, noise) in _FEW_AND_WRONG.items()},
    across=(),
    map=(),
    audit=(),
    search=(),
    large="",
)
_MINILM_FULL = Profile(
    "minilm-full",
    "minilm",
    GLUE[:5],
    (0, 1, 2),
    Hyper(learning_rate=3e-4, precision="bf16", max_length=256),
    Subsets("SST-2", (2_000, 500)),
    TrainingSets("SST-2", 500, 12),
    Adaptation("MNLI", _FEW, n_seeds=3),
    (1.5e-4, 3e-4, 6e-4),
)
# Few examples, where the paper expects most and a CPU can do it: recorded runs of these are in book/results. float32,
# since processors differ in what bf16 is worth; Figure 1 and its powered test were recorded in bf16 at one rate.
_MINILM = replace(
    _MINILM_FULL,
    name="minilm",
    tasks=GLUE,
    hyper=replace(_MINILM_FULL.hyper, precision="fp32"),
    sets=TrainingSets("SST-2", 500, 12, hyper=_MINILM_FULL.hyper),
    rates=(1.5e-4, 3e-4, 6e-4, 1.2e-3),
    data={"train_size": 500},
    # Of all of SNLI and SciTail subsets are drawn.
    data_by_task={name: {"dev_size": 2000} for name in ("QNLI", "QQP", "MNLI")}
    | {"SNLI": {"train_size": None, "dev_size": 2000}, "SciTail": {"train_size": None}},
    # Chosen by `rates`, as far as that is recorded.
    rate_by_task=dict.fromkeys(("SST-2", "STS-B", "QNLI", "MNLI"), 3e-4)
    | {"CoLA": 6e-4, "QQP": 6e-4, "MRPC": 1.5e-4, "RTE": 1.2e-3},
    light=(
        *(TrainingSets("SST-2", size, 60, hyper=_MINILM_FULL.hyper) for size in (500, 200, 100)),
        *(TrainingSets(task, 500, n) for task, n in (("CoLA", 17), ("QQP", 40), ("MNLI", 40))),
    ),
    # Table 1's own training sets and seeds, and the three choices that, alone, moved the lab's scores most.
    audit=(TrainingSets("SST-2", 500, 3), TrainingSets("CoLA", 500, 3)),
    audited=("paper", "replacement", "token_ffns", "weight_decay"),
    large="mpnet",
)
# The same recipe at BERT-base's size, 12 layers of 12 heads.
_MPNET = replace(
    _MINILM,
    name="mpnet",
    encoder="mpnet",
    tasks=("CoLA", "SST-2", "STS-B", "MRPC"),
    hyper=replace(_MINILM.hyper, learning_rate=1e-4),
    sets=TrainingSets("SST-2", 500, 8),
    rates=(5e-5, 1e-4, 2e-4),
    levels_by_kind={"random": (0.2, 0.5, 0.8), "losing": ()},
    rate_by_task={},
    light=(),
    audit=(),
    large="",
)
_PAPER = Profile(
    "paper-base",
    "google-bert/bert-base-uncased",
    GLUE,
    (0, 1, 2, 3, 4),
    Hyper(precision="bf16"),
    Subsets("SST-2", (20_000, 5_000, 1_000)),
    TrainingSets("SST-2", 4_000, 16),
    # The paper's 0.1%, 1%, 10% and all, and its rates (A.3.2).
    Adaptation(
        "MNLI",
        {"SNLI": (549, 5493, 54936, None), "SciTail": (23, 235, 2359, None)},
        rates=(5e-5, 1e-4, 5e-4),
    ),
    (5e-5, 1e-4, 2e-4),
    (1e-5, 2e-5),
    large="paper-large",
)
_FEWEST = {"train_size": 48, "dev_size": 100}
_SMOKE = replace(
    _LAB,
    name="smoke",
    tasks=("entailment", "similarity"),
    seeds=(0, 1),
    hyper=replace(_LAB.hyper, epochs=1),
    subsets=Subsets("entailment", (24,)),
    sets=TrainingSets("entailment", 32, 3, noise=0.3),
    adaptation=replace(_LAB.adaptation, sizes={"captions": (12, None), "science": (12, None)}, n_seeds=2, data=_FEWEST),
    rates=(1e-3, 2e-3),
    across=("paraphrase",),
    across_size=32,
    levels=(0.2, 0.5, 0.8),
    data=_FEWEST,
    light=(TrainingSets("entailment", 32, 2),),
    map=map_cells("paraphrase", MAP_SIZES[:1], MAP_NOISES[::4], 2, _LAB.hyper),  # some of the lab's: the same runs
    audit=tuple(replace(sets, n=1) for sets in _LAB.audit),
    audited=("paper", "replacement"),
    search=(),
    grid=Grid((16, 32), (0.1, 0.3), 2),
    large="smoke-large",
)
PROFILES: Mapping[str, Profile] = {
    profile.name: profile
    for profile in (
        _LAB,
        _LAB_EIGHT,
        replace(
            _LAB,
            name="lab-large",
            encoder="lab-large",
            tasks=("entailment", "paraphrase"),
            seeds=(0, 1, 2),
            rates=(5e-4, 1e-3),
            lower_rates=(1e-4, 2e-4),
            across=(),
            map=map_cells("paraphrase", MAP_SIZES[::2], MAP_NOISES, 12),
            audit=(),
            search=(),
            large="",
        ),
        _SMOKE,
        replace(_SMOKE, name="smoke-large", encoder="lab-large", seeds=(0, 1), rates=(1e-3,), large=""),
        _MINILM,
        _MINILM_FULL,
        _MPNET,
        replace(_MPNET, name="mpnet-full", hyper=replace(_MPNET.hyper, precision="bf16"), data={}, data_by_task={}),
        _PAPER,
        replace(_PAPER, name="paper-large", encoder="google-bert/bert-large-uncased", large=""),
    )
}


def get_profile(
    name: str,
    tasks: str | Sequence[str] = "",
    seeds: str | Sequence[int] = "",
    levels: str | Sequence[float] = "",
    train_size: int = 0,
    dev_size: int = 0,
    encoder: str = "",
    choices: str | Sequence[str] = "",
) -> Profile:
    """A profile by name, with other tasks, seeds, levels, encoder or choices where given (sequences, or texts with
    commas; the choice "published" stands for all of the published code's).

    ``train_size`` and ``dev_size`` keep at most so many examples of every task; 0 leaves the profile's choice.

    >>> get_profile("lab", tasks="entailment, paraphrase", seeds=[7]).tasks
    ('entailment', 'paraphrase')
    """
    if name not in PROFILES:
        raise SuperticketsError(f"Unknown profile {name!r}; known: {', '.join(PROFILES)}.")
    profile = PROFILES[name]
    sizes = {key: size for key, size in (("train_size", train_size), ("dev_size", dev_size)) if size}
    return replace(
        profile,
        encoder=encoder or profile.encoder,
        tasks=listed(tasks) or profile.tasks,
        seeds=seed_numbers(seeds) if seeds != "" else profile.seeds,
        levels=listed(levels, float, "Seeds are whole numbers and levels shares") or profile.levels,
        data={**profile.data, **sizes},
        choices=choices_of(choices),
    )


def with_subsets(profile: Profile, sizes: str | Sequence[int] = "") -> Profile:
    """The profile with other training sizes for Figure 5 where they are given.

    >>> with_subsets(get_profile("lab"), "100, 50").subsets.sizes
    (100, 50)
    """
    chosen = listed(sizes, int, "Training sizes are whole numbers") or profile.subsets.sizes
    return replace(profile, subsets=replace(profile.subsets, sizes=chosen))


def with_training_sets(profile: Profile, task: str = "", size: int = 0, n: int = 0, kinds: str = "") -> Profile:
    """The profile with other training sets for Figure 1 where they are given, and with these kinds of tickets only.

    >>> with_training_sets(get_profile("lab"), task="paraphrase", n=4).sets.n
    4
    >>> with_training_sets(get_profile("lab"), kinds="winning, random").levels_by_kind
    {'losing': ()}
    """
    sets, wanted = profile.sets, listed(kinds) or KINDS
    if unknown := [kind for kind in wanted if kind not in KINDS]:
        raise SuperticketsError(f"Unknown kind of ticket {unknown[0]!r}; known: {', '.join(KINDS)}.")
    left_out = {kind: () for kind in KINDS if kind not in wanted}
    sets = replace(sets, task=task or sets.task, size=size or sets.size, n=n or sets.n)
    return replace(profile, sets=sets, levels_by_kind={**profile.levels_by_kind, **left_out})


def with_adaptation(
    profile: Profile,
    targets: str | Sequence[str] = "",
    sizes: str | Sequence[int | None] = "",
    train_size: int = 0,
    dev_size: int = 0,
) -> Profile:
    """The profile with other targets, or sizes of their subsets or splits, for Table 4 where they are given.

    >>> with_adaptation(get_profile("lab"), targets="science", sizes="50, all").adaptation.sizes
    {'science': (50, None)}
    """
    chosen = profile.adaptation
    limits = {key: size for key, size in (("train_size", train_size), ("dev_size", dev_size)) if size}
    what = "Sizes of subsets are numbers of examples, or all"
    given = listed(sizes, lambda size: None if size in ("all", None) else int(size), what)
    usual = next(iter(chosen.sizes.values()))
    by_target = {target: given or chosen.sizes.get(target, usual) for target in listed(targets) or chosen.sizes}
    return replace(profile, adaptation=replace(chosen, sizes=by_target, data={**chosen.data, **limits}))


def multi_task_hyper(hyper: Hyper) -> Hyper:
    """The single-task settings for training together: at most 5 epochs (A.2.1)."""
    return replace(hyper, epochs=min(5, hyper.epochs))


def default_hyper(encoder: str, precision: str = "", **given: float | None) -> Hyper:
    """Hyper-parameters to start from: those of the profile that uses this encoder, else the paper's.

    ``precision`` "auto" is what the device is faster at, but for the lab's encoders; what is ``given`` and not None
    takes the place of the usual.

    >>> default_hyper("lab-base", batch_size=8, epochs=None)
    Hyper(learning_rate=0.001, batch_size=8, epochs=6, patience=2, warmup=0.1, clip=1.0, task_dropout=0.1,
          weight_decay=0.0, max_length=64, precision='fp32')
    """
    if precision == "auto":
        from supertickets.engines import best_precision  # needs torch, which profiles do not

        precision = "" if encoder in encoder_names() else best_precision()
    usual = next((profile.hyper for profile in PROFILES.values() if profile.encoder == encoder), Hyper())
    settings = {**given, "precision": precision}
    return replace(usual, **{name: value for name, value in settings.items() if value not in (None, "")})

"""A chapter's runs at every scale that has some: recorded ones of real encoders first, then those carried out here."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from supertickets.chapters.display import tabs
from supertickets.runs import Record, RunStore, SharingSpec, Spec, task_of
from supertickets.studies import Inputs, Profile, at_hand, get_profile, recorded, stages

RECORDED = {"minilm": "MiniLM on GLUE", "mpnet": "MPNet on GLUE", "lab-eight": "Lab, eight tasks"}
"""Profiles of which runs are recorded in ``book/results``, with their titles."""
MAPS = {"lab": "Lab, base", "lab-large": "Lab, large"}
"""Those of the lab that are recorded too: runs of the map and the audit, which no build makes anew."""
TAKEN = ("lab-eight.zip", "lab-rates.zip")
"""Packs from which a build takes the lab's own runs too: of a task that both profiles train alike, at other rates."""


@dataclass(frozen=True, eq=False)
class Scale:
    """A profile with the store of its runs; ``live``: what is missing of them is carried out, by ``workers``."""

    title: str
    profile: Profile
    store: RunStore
    inputs: Inputs
    live: bool = False
    workers: int | None = None
    _specs: dict[str, list[list[Spec]]] = field(default_factory=dict, repr=False)
    _frames: dict[tuple[str, int], pd.DataFrame] = field(default_factory=dict, repr=False)

    @property
    def key(self) -> str:
        """The scale's name in files and in the address of its tabs."""
        return self.profile.name

    def carried_out(self, specs: Sequence[Spec]) -> pd.DataFrame:
        """The rows of these runs, those that there are; a live scale carries out the others first."""
        self._carry_out(specs)
        return self.store.frame(specs)

    def _carry_out(self, specs: Sequence[Spec]) -> None:
        if self.live and not all(spec.id in self.store for spec in specs):
            from supertickets.engines import run_all  # needs torch, which takes seconds and reading runs does not need

            # Whoever runs a notebook by hand sees how far it is; an executed page has no use for that.
            watched = "SUPERTICKETS_QUIET" not in os.environ
            run_all(specs, self.store, self.workers, description=self.title, progress=watched)

    def specs(self, experiment: str) -> list[list[Spec]]:
        """The runs of an experiment (:data:`supertickets.studies.experiments.EXPERIMENTS`), stage by stage."""
        if experiment not in self._specs:
            found: list[list[Spec]] = []
            for stage in stages(experiment, self.profile, self.store, self.inputs):
                found.append(list(stage))
                self._carry_out(found[-1])
            self._specs[experiment] = found
        return self._specs[experiment]

    def frame(self, experiment: str, stage: int = -1) -> pd.DataFrame:
        """The rows of an experiment's runs, of its last stage unless another is asked for.

        Of recorded runs, those of every task and seed whose runs are all there; of training together, at a rate.
        """
        return self._whole(experiment, stage, lambda spec: (spec.data, spec.seed, _rate(spec)))

    def judged(self, experiment: str, stage: int = -1) -> pd.DataFrame:
        """The same of tasks whose runs are all there: a part of the planned seeds is no reason for a verdict."""
        return self._whole(experiment, stage, lambda spec: (task_of(spec), _rate(spec)))

    def so_far(self, experiment: str, stage: int = -1) -> str:
        """How many of the planned tasks, or else rates, :meth:`judged` has, for a caption; empty if it has all."""
        specs, frame = self.specs(experiment)[stage], self.judged(experiment, stage)
        there = set(frame["run"]) if len(frame) else set()
        for what, of in (("tasks", task_of), ("learning rates", _rate)):
            judged, planned = {of(spec) for spec in specs if spec.id in there}, {of(spec) for spec in specs}
            if not self.live and judged != planned:
                return f"So far {len(judged)} of {len(planned)} planned {what}."
        return ""

    def by_task_and_size(self, experiment: str) -> dict[tuple[str, int], pd.DataFrame]:
        """The rows of an experiment's first stage by task and training size, as planned, where all runs are there.

        Where the number of runs was fixed beforehand, a part of them is no reason for a verdict.
        """
        frame = self._whole(experiment, 0, lambda spec: (task_of(spec), getattr(spec.data, "train_size", None)))
        groups: Any = frame.groupby(["task", "train_size"], sort=False) if len(frame) else ()
        return {(str(task), int(size)): own for (task, size), own in groups}

    def _whole(self, experiment: str, stage: int, group: Callable[[Spec], Any]) -> pd.DataFrame:
        """The rows of the groups of runs that are all there; where runs are carried out, of what there is."""
        specs = self.specs(experiment)[stage]
        if (experiment, stage) not in self._frames:
            self._frames[experiment, stage] = self.store.frame(specs)
        frame, groups = self._frames[experiment, stage], {}
        if self.live or frame.empty:
            return frame
        for spec in specs:
            groups.setdefault(group(spec), set()).add(spec.id)
        there = set(frame["run"])
        return frame.loc[frame["run"].isin([run for ids in groups.values() if ids <= there for run in ids])]

    def records(self, experiment: str, stage: int = -1) -> Iterator[Record]:
        """The records, with their arrays, whose rows :meth:`frame` has."""
        frame = self.frame(experiment, stage)
        return self.store.records(list(dict.fromkeys(frame["run"])) if len(frame) else (), arrays=True)

    def told(self, experiment: str, stage: int = -1) -> str:
        """What there is of an experiment: how many runs, what they took, on which devices, which tasks have none.

        The pages of the runs tell what else is missing.
        """
        specs = self.specs(experiment)[stage]
        records = list(self.store.records([spec.id for spec in specs]))
        if not records:
            return f"{self.title}: {'no runs recorded yet' if specs else 'no such runs planned'}."
        devices = sorted({record.environment.get("device", "unknown").split(" (")[0] for record in records})
        minutes = sum(record.timings.get("total", 0.0) for record in records) / 60
        there = {task_of(record.spec) for record in records}
        none = [task for task in dict.fromkeys(map(task_of, specs)) if task not in there]
        return (
            f"{self.title}: {len(records)} of {len(specs)} runs, {minutes:.0f} minutes of training in all "
            f"({', '.join(devices)})." + (f" None yet of {', '.join(none)}." if none else "")
        )


def _rate(spec: Spec) -> float | None:
    """The rate of training together, which is tried by itself: models are compared at one before others are there."""
    return spec.hyper.learning_rate if isinstance(spec, SharingSpec) else None


@dataclass(frozen=True)
class Chapter:
    """What a chapter's parameters say: the profile carried out here, its store, and the folder of recorded runs.

    >>> chapter = Chapter(get_profile("smoke"), "runs", results="nowhere")
    >>> [scale.key for scale in chapter.scales("table1")]
    ['smoke']
    """

    profile: Profile
    store: str
    results: str = ""
    data_dir: str = ""
    workers: int = 0

    def here(self) -> Scale:
        """The scale that is carried out here."""
        return self._here

    def at(self, profile: Profile) -> Scale:
        """A profile carried out here. Recorded runs are not repeated, but those of the chapter's own lab.

        Of these only what :data:`TAKEN` has is taken as recorded, so that a build ends in half an hour.
        """
        found = profile.name in RECORDED or profile.name != self.profile.name
        packs = (pack for pack in self._packs() if found or Path(pack).name in TAKEN)
        stores = ",".join([_place(self.store), *packs])
        title = RECORDED.get(profile.name, profile.name.capitalize())
        return Scale(title, profile, RunStore(stores), at_hand(self.data_dir), True, self.workers or None)

    def scales(self, experiment: str, stage: int = -1) -> list[Scale]:
        """The scales at which there are runs of a stage of an experiment: recorded ones, then that carried out here."""
        others = [scale for scale in self.recorded.values() if len(scale.frame(experiment, stage))]
        return [*others, self._here]

    def told(self, experiment: str, stage: int = -1) -> str:
        """What there is of a stage of an experiment at every scale, recorded yet or not: :meth:`Scale.told`."""
        return "\n".join(scale.told(experiment, stage) for scale in (*self.recorded.values(), self._here))

    @cached_property
    def recorded(self) -> dict[str, Scale]:
        """The scales of real encoders, by profile; without any run where the folder has no packs."""
        if not self.results:
            return {}
        scales = _recorded(",".join(self._packs()) or _place(self.results), RECORDED)
        return {scale.key: scale for scale in scales if scale.key != self.profile.name}

    @cached_property
    def _here(self) -> Scale:
        return self.at(self.profile)

    def _packs(self) -> list[str]:
        return sorted(str(path) for path in Path(_place(self.results)).glob("*.zip")) if self.results else []


def recorded_scales(results: str, experiment: str) -> list[Scale]:
    """The scales, those of real encoders first, of which the packs in a folder have runs of an experiment.

    >>> recorded_scales("nowhere", "map")
    []
    """
    if not (packs := ",".join(sorted(map(str, Path(_place(results)).glob("*.zip")))) if results else ""):
        return []
    return [s for s in _recorded(packs, RECORDED | MAPS) if len(s.carried_out(s.specs(experiment)[-1]))]


def _recorded(stores: str, profiles: Mapping[str, str]) -> list[Scale]:
    store = RunStore(stores)
    inputs = recorded(record.spec for record in store.records())
    return [Scale(title, get_profile(name), store, inputs) for name, title in profiles.items()]


def _place(path: str) -> str:
    """A place named from the notebooks' folder, as it is seen from the root, where plain papermill starts kernels."""
    return ",".join(part.removeprefix("../") if Path("notebooks").is_dir() else part for part in path.split(","))


def each(scales: Iterable[Scale]) -> Iterator[Scale]:
    """The scales one after another; what is shown for each goes into a tab of its own.

    >>> [scale.title for scale in each([])]
    []
    """
    with tabs() as tab:
        for scale in scales:
            with tab(scale.key, scale.title):
                yield scale

"""A chapter's runs at every scale that has some: recorded ones of real encoders first, then those carried out here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pandas as pd

from supertickets.chapters.display import tabs
from supertickets.runs import Record, RunSpec, RunStore, Spec, missing_sentence
from supertickets.studies import Inputs, Profile, at_hand, get_profile, recorded, stages

RECORDED = {"minilm": "MiniLM on GLUE", "mpnet": "MPNet on GLUE", "lab-eight": "Lab, eight tasks"}
"""Profiles of which runs are recorded in ``book/results``, with their titles."""


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

    @property
    def key(self) -> str:
        """The scale's name in files and in the address of its tabs."""
        return self.profile.name

    def carried_out(self, specs: Sequence[Spec]) -> pd.DataFrame:
        """The rows of these runs, those that there are; a live scale carries out the others first."""
        self._carry_out(specs)
        return self.store.frame(specs)

    def _carry_out(self, specs: Sequence[Spec]) -> None:
        if self.live:
            from supertickets.engines import run_all  # needs torch, which reading recorded runs does not

            run_all(specs, self.store, self.workers, progress=False)

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
        """The rows of an experiment's runs, of its last stage unless another is asked for."""
        return self.store.frame(self.specs(experiment)[stage])

    def by_train_size(self, experiment: str) -> dict[int, pd.DataFrame]:
        """The rows of an experiment's first stage by training size, largest first, of sizes whose runs are all there.

        Where the number of runs was fixed beforehand, a part of them is no reason for a verdict.
        """
        planned = Counter(spec.data.train_size for spec in self.specs(experiment)[0] if isinstance(spec, RunSpec))
        frame = self.frame(experiment, 0)
        found = {size: frame.loc[frame["train_size"] == size] for size in planned if size and len(frame)}
        return {size: found[size] for size in sorted(found, reverse=True) if len(found[size]) == planned[size]}

    def records(self, experiment: str, stage: int = -1) -> Iterator[Record]:
        """The records of an experiment's runs with their arrays."""
        return self.store.records([spec.id for spec in self.specs(experiment)[stage]], arrays=True)

    def told(self, experiment: str, stage: int = -1) -> str:
        """What there is of an experiment: how many runs, what they took, where they were carried out, what is missing.

        The devices are those that the records name.
        """
        specs = self.specs(experiment)[stage]
        records = list(self.store.records([spec.id for spec in specs]))
        if not records:
            return f"{self.title}: none of {len(specs)} runs."
        devices = sorted({record.environment.get("device", "unknown") for record in records})
        minutes = sum(record.timings.get("total", 0.0) for record in records) / 60
        return (
            f"{self.title}: {len(records)} of {len(specs)} runs, {minutes:.0f} minutes of training in all "
            f"({'; '.join(devices)}). {missing_sentence(pd.DataFrame({'run': [x.id for x in records]}), specs)}"
        )


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
        return self.at(self.profile)

    def at(self, profile: Profile) -> Scale:
        """Another profile carried out here; recorded runs of it are not repeated."""
        stores = ",".join([self.store, *(self._packs() if profile.name in RECORDED else ())])
        title = RECORDED.get(profile.name, profile.name.capitalize())
        return Scale(title, profile, RunStore(stores), at_hand(self.data_dir), True, self.workers or None)

    def scales(self, experiment: str) -> list[Scale]:
        """The scales at which there are runs of an experiment: recorded ones, then the one carried out here."""
        others = [scale for scale in self._recorded if scale.key != self.profile.name]
        return [scale for scale in others if len(scale.frame(experiment, 0))] + [self.here()]

    def _packs(self) -> list[str]:
        return sorted(str(path) for path in Path(self.results).glob("*.zip")) if self.results else []

    @cached_property
    def _recorded(self) -> list[Scale]:
        if not (packs := ",".join(self._packs())):
            return []
        store = RunStore(packs)
        inputs = recorded(record.spec for record in store.records())
        return [Scale(title, get_profile(name), store, inputs) for name, title in RECORDED.items()]


def each(scales: Iterable[Scale]) -> Iterator[Scale]:
    """The scales one after another; what is shown for each goes into a tab of its own.

    >>> [scale.title for scale in each([])]
    []
    """
    with tabs() as tab:
        for scale in scales:
            with tab(scale.key, scale.title):
                yield scale

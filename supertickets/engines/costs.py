"""What runs cost: the seconds of those that finished tell those of the ones to come, the more alike the better."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from supertickets.runs import AdaptationSpec, RunSpec, Spec

Likeness = tuple[tuple[object, ...], ...]


@dataclass
class Costs:
    """Seconds of finished runs by how much a run is like them: the finest key that has any is used."""

    sums: dict[tuple[object, ...], tuple[float, int]] = field(default_factory=dict)

    def add(self, spec: Spec, seconds: float) -> None:
        """Takes account of a run that took so long on one worker; NaN says nothing."""
        for key in likeness(spec) if not math.isnan(seconds) else ():
            total, n = self.sums.get(key, (0.0, 0))
            self.sums[key] = total + seconds, n + 1

    def of(self, keys: Likeness) -> float:
        """Mean seconds of the runs most like one with these keys (:func:`likeness`), NaN if there are none."""
        total, n = next((self.sums[key] for key in keys if key in self.sums), (math.nan, 1))
        return total / n

    def total(self, runs: Iterable[tuple[Likeness, float]]) -> float:
        """Seconds of so many runs of each likeness; those of an unknown kind cost what the known ones do on average.

        NaN if nothing is known of any of them, 0 if there are none.
        """
        counted = [(self.of(keys), n) for keys, n in runs]
        known = [(cost, n) for cost, n in counted if not math.isnan(cost)]
        everything, n_known = sum(n for _, n in counted), sum(n for _, n in known)
        if not everything:
            return 0.0
        return sum(cost * n for cost, n in known) * everything / n_known if n_known else math.nan


def likeness(spec: Spec) -> Likeness:
    """Keys under which runs cost about the same, the finest first."""
    if isinstance(spec, RunSpec):
        kind, data = (spec.encoder_revision, "single"), (spec.data.name, spec.data.train_size)
        return ((*kind, *data, spec.ticket.kind, spec.ticket.level), (*kind, *data), kind)
    if isinstance(spec, AdaptationSpec):
        kind = (spec.source.encoder_revision, "adaptation", spec.data.name, spec.fraction, spec.size)
        return ((*kind, spec.model), kind)
    kind = (spec.encoder_revision, "shared", tuple(ref.name for ref in spec.data))
    return ((*kind, spec.model), kind)

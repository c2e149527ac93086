"""Statistics: intervals, tests, phases, and the decomposition into noise, bias and variance."""

from typing import TYPE_CHECKING

from supertickets.rooms import handed_on

if TYPE_CHECKING:
    from supertickets.statistics.decomposition import TERMS, Resampled, bias_variance, bootstrap, compare, resample
    from supertickets.statistics.intervals import (
        FEWEST_SEEDS,
        Interval,
        expanded_interval,
        expansion,
        holm,
        jackknife,
        mean_interval,
        mean_of_means,
        paired_difference,
        two_level_bootstrap,
    )
    from supertickets.statistics.phases import (
        Boundary,
        PhaseBoundaries,
        phase_boundaries,
        placebo_gain,
        rises_then_falls,
    )
    from supertickets.statistics.spread import (
        ALPHA,
        POWER,
        equal_variances,
        pitman_morgan,
        sd_interval,
        seeds_needed,
        spread_power,
    )
else:
    __getattr__, __dir__ = handed_on(__name__)

"""Statistics: intervals, tests, phases, and the decomposition into noise, bias and variance."""

from typing import TYPE_CHECKING

from supertickets.rooms import handed_on

if TYPE_CHECKING:
    from supertickets.statistics.decomposition import TERMS, bias_variance, bootstrap
    from supertickets.statistics.intervals import (
        Interval,
        PairedDifference,
        expanded_interval,
        expansion,
        holm,
        jackknife,
        mean_interval,
        paired_difference,
        t_p,
    )
    from supertickets.statistics.phases import (
        Boundary,
        PhaseBoundaries,
        phase_boundaries,
        placebo_gain,
        rises_then_falls,
    )
    from supertickets.statistics.spread import equal_variances, pitman_morgan, sd_interval, seeds_needed, spread_power
    from supertickets.statistics.two_levels import FEWEST_SEEDS, two_level_bootstrap
else:
    __getattr__, __dir__ = handed_on(__name__)

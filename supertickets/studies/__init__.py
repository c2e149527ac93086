"""Studies: which runs stand behind a table or figure, at which scale; sweeps, `find` and `share`."""

from typing import TYPE_CHECKING

from supertickets.rooms import handed_on

if TYPE_CHECKING:
    from supertickets.studies.choices import SEARCH_LEVELS, audit_runs, search_runs
    from supertickets.studies.experiments import (
        LIGHT_LEVELS,
        phase_transition,
        stages,
        ticket_sweep,
        training_set_sweeps,
    )
    from supertickets.studies.finding import Found, find
    from supertickets.studies.gains import predict_file, predict_texts
    from supertickets.studies.inputs import Inputs, at_hand, full_run, inputs_for, recorded, rewound
    from supertickets.studies.plans import plan, status
    from supertickets.studies.profiles import (
        TASK_DROPOUT,
        Profile,
        default_hyper,
        get_profile,
        multi_task_hyper,
        with_adaptation,
        with_subsets,
        with_training_sets,
    )
    from supertickets.studies.submitting import submit
    from supertickets.studies.sweeps import drift, sweep, verify
    from supertickets.studies.ticket_share import named_tickets, share
    from supertickets.studies.training_sets import TrainingSets, seed_numbers, some_cells, sparsity_levels
    from supertickets.studies.tuning import SETTINGS, at_chosen_rates, at_own_rates, chosen_rates
else:
    __getattr__, __dir__ = handed_on(__name__)

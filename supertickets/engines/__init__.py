"""Engines: who carries runs out, in which order, what that costs and how far it is."""

from typing import TYPE_CHECKING

from supertickets.rooms import handed_on

if TYPE_CHECKING:
    from supertickets.engines.engine import PROCESSES, Engine, Summary, run_all
    from supertickets.engines.execution import carry_out
    from supertickets.engines.progress import Costs, Progress, likeness
    from supertickets.engines.resources import best_precision, default_workers, gpu_memory, machine_memory
else:
    __getattr__, __dir__ = handed_on(__name__)

"""Tasks as data: examples, metrics, splits and samples, and where they come from."""

from typing import TYPE_CHECKING

from supertickets.rooms import handed_on

if TYPE_CHECKING:
    from supertickets.tasks.facts import (
        TaskFacts,
        best_constant,
        constant_score,
        data_notes,
        inferred,
        metric_names,
        split_arrays,
        task_facts,
    )
    from supertickets.tasks.files import cache_folder, read_table
    from supertickets.tasks.lab_tasks import LAB_TASKS
    from supertickets.tasks.published import benchmark, canonical_name
    from supertickets.tasks.sampling import nested_subset, shuffled, split_dev
    from supertickets.tasks.sources import DataRef, data_ref, load_task
    from supertickets.tasks.submission import answers, constant_answers, write_submission
    from supertickets.tasks.task import METRICS, Examples, Task, score
else:
    __getattr__, __dir__ = handed_on(__name__)

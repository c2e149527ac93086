"""Training of one task: batches, loop, optimiser, fine-tuning, rewinding, adaptation, step times."""

from typing import TYPE_CHECKING

from supertickets.rooms import handed_on

if TYPE_CHECKING:
    from supertickets.training.batching import Batch, EncodedSplit, cached_encode, encode, eval_batches, train_batches
    from supertickets.training.conditions import run_conditions
    from supertickets.training.fast import Replayed, graphs, said
    from supertickets.training.fine_tuning import adapt, fine_tune, fine_tuned
    from supertickets.training.loop import (
        best_device,
        epoch_values,
        evaluation,
        fit,
        predict,
        ready,
        scored_splits,
        training_step,
    )
    from supertickets.training.optimiser import adamax_step, warmup_then_decay
    from supertickets.training.timing import step_profile, step_times
else:
    __getattr__, __dir__ = handed_on(__name__)

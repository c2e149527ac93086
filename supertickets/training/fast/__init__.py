"""Cheaper steps: layers and passes by hand, a task's own vocabulary, replays on a GPU. They change no result."""

from typing import TYPE_CHECKING

from supertickets.rooms import handed_on

if TYPE_CHECKING:
    from supertickets.training.fast.forward import fast_forward
    from supertickets.training.fast.layers import ONE_DNN
    from supertickets.training.fast.replayed import (
        Capture,
        Replayed,
        Step,
        graphs,
        padded_widths,
        said,
        widths_that_pay,
    )
    from supertickets.training.fast.vocabulary import own_vocabulary
else:
    __getattr__, __dir__ = handed_on(__name__)

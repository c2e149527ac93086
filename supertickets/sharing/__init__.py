"""Ticket-Share: one encoder for many tasks, each with its own ticket."""

from typing import TYPE_CHECKING

from supertickets.rooms import handed_on

if TYPE_CHECKING:
    from supertickets.sharing.isolation import isolated
    from supertickets.sharing.loop import task_data, train_shared, train_together, trained_together
    from supertickets.sharing.model import ENCODER, save_shared, shared_model, using
else:
    __getattr__, __dir__ = handed_on(__name__)

"""Tickets in the files of the authors' repository."""

from __future__ import annotations

from pathlib import Path

from supertickets.errors import SuperticketsError
from supertickets.tickets import Ticket, mask_of, read_json


def load_authors_ticket(
    heads_path: str | Path, ffns_path: str | Path, shape: tuple[int, int], task: int | str = 0
) -> Ticket:
    """Reads the ``heads_to_mask.json`` and ``ffn_to_mask.json`` of the authors' repository (their units are *pruned*).

    Their files say neither the encoder nor its shape, so ``shape`` = (n_layers, n_heads) must be given; ``task`` is
    the key of the task in the files (a position, "0" for a single task).
    """
    masks = []
    for path in (heads_path, ffns_path):
        data = read_json(path)
        if not isinstance(data, dict) or str(task) not in data:
            known = sorted(data) if isinstance(data, dict) else []
            raise SuperticketsError(f"{path} has no task {task}; it has {', '.join(known) or 'none'}.")
        masks.append(data[str(task)])
    try:
        pruned_heads = mask_of(shape, [(int(layer), int(head)) for layer, row in masks[0].items() for head in row])
        pruned_ffns = mask_of(shape[:1], [(int(layer),) for layer in masks[1]])
    except (ValueError, IndexError, TypeError, AttributeError) as error:
        raise SuperticketsError(
            f"{heads_path} and {ffns_path} do not fit an encoder of {shape[0]} layers x {shape[1]} heads ({error})."
        ) from error
    return Ticket(~pruned_heads, ~pruned_ffns, provenance={"authors_files": [str(heads_path), str(ffns_path)]})

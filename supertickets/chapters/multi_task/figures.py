"""Figure 2 from real tickets: which heads and FFNs are used by which tasks."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from supertickets.chapters.drawing import COLOURS, UNUSED, draw_wheel, subplots, swatch, units_axis
from supertickets.errors import SuperticketsError
from supertickets.tickets import Ticket


def sharing_data(tickets: Mapping[str, Ticket]) -> pd.DataFrame:
    """Which tasks use which unit, the numbers behind Figure 2: one row per unit, a column of 0 and 1 per task.

    Columns: unit ("head" or "ffn"), layer, head (-1 for an FFN), one per task, and ``tasks``, how many use the unit.
    Raises SuperticketsError without tickets, or if they are of encoders of different shape.
    """
    n_layers, n_heads = _common_shape(tickets)
    places = [("head", layer, head) for layer in range(n_layers) for head in range(n_heads)]
    places += [("ffn", layer, -1) for layer in range(n_layers)]
    data = pd.DataFrame(places, columns=["unit", "layer", "head"])
    for task, ticket in tickets.items():
        data[task] = np.concatenate([ticket.heads.ravel(), ticket.ffns]).astype(int)
    data["tasks"] = data[list(tickets)].sum(axis=1)
    return data


def sharing_figure(tickets: Mapping[str, Ticket]) -> Figure:
    """Figure 2: every head and FFN as a disc with a wedge per task, coloured where the task's ticket has the unit.

    Layers go down, heads across, FFNs stand apart. A grey disc is used by no task: it is removed from the shared model.
    Up to eight tasks. Raises SuperticketsError as :func:`sharing_data` does.
    """
    if len(tickets) > len(COLOURS):
        raise SuperticketsError(f"Figure 2 tells {len(COLOURS)} tasks apart, not {len(tickets)}; draw fewer at once.")
    data = sharing_data(tickets)
    n_layers, n_heads = _common_shape(tickets)
    fig, axis = subplots(figsize=(0.46 * (n_heads + 3), 0.46 * n_layers + 1.2))
    units_axis(n_layers, n_heads, axis, size=8)
    axis.set(aspect="equal", ylabel="layer", xlabel="head")
    for row in data.to_dict("records"):
        column = n_heads + 0.6 if row["unit"] == "ffn" else row["head"]
        used = [colour if row[task] else UNUSED for task, colour in zip(tickets, COLOURS, strict=False)]
        draw_wheel(axis, (column, row["layer"]), 0.4, [(1 / len(used), colour) for colour in used], 0.6)
    handles = [swatch(colour, task) for task, colour in zip(tickets, COLOURS, strict=False)]
    handles.append(swatch(UNUSED, "not used"))
    fig.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 5), frameon=False, fontsize=9)
    return fig


def _common_shape(tickets: Mapping[str, Ticket]) -> tuple[int, int]:
    if not tickets:
        raise SuperticketsError("There is no ticket to draw; find the tasks' super tickets first.")
    shapes = {task: ticket.shape for task, ticket in tickets.items()}
    shape = next(iter(shapes.values()))
    for task, other in shapes.items():
        if other != shape:
            raise SuperticketsError(
                f"The ticket of task {task!r} is for an encoder of {other[0]} layers x {other[1]} heads, the others "
                f"for {shape[0]} x {shape[1]}: only tickets of one encoder can be shared."
            )
    return shape

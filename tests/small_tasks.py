"""Tasks of a few examples."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from supertickets.tasks import Examples, Task


def examples(n: int, classes: int = 2, **changes) -> Examples:
    made = Examples(tuple((f"left {i}", f"right {i}") for i in range(n)), np.arange(n) % classes)
    return replace(made, **changes)


def task(**changes) -> Task:
    made = Task("toy", "classification", ("no", "yes"), ("accuracy",), train=examples(8), dev=examples(40))
    return replace(made, **changes)

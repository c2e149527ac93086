"""The rooms of the package, from the ground up, and how each hands on what others may use of it."""

import ast
import inspect
import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any

ROOMS = (
    "errors rooms options|tickets statistics lab|tasks|runs models|training|sharing|engines|studies|chapters"
    "|cli notebooks"
)
"""Floor by floor. A room imports from lower floors only, and of their rooms what they hand on."""


def floors() -> dict[str, int]:
    """Every room's floor, in the order of the house.

    >>> floors()["errors"], floors()["runs"] == floors()["models"]
    (0, True)
    """
    return {room: floor for floor, rooms in enumerate(ROOMS.split("|")) for room in rooms.split()}


def handed_on(name: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` of the room ``name``: what it imports for type checkers, each loaded on first
    use. So whoever uses one of its files does not load the others.
    """

    @cache
    def homes() -> dict[str, str]:
        tree = ast.parse(inspect.getsource(sys.modules[name]))
        guarded = next(node for node in tree.body if isinstance(node, ast.If))
        imports = [node for node in guarded.body if isinstance(node, ast.ImportFrom)]
        return {alias.name: str(node.module) for node in imports for alias in node.names}

    def find(attribute: str) -> Any:
        if attribute.startswith("__") or attribute not in homes():
            raise AttributeError(f"module {name!r} has no attribute {attribute!r}")
        return getattr(import_module(homes()[attribute]), attribute)

    return find, lambda: sorted(homes())

"""The rooms: who may import from whom, what they hand on, what needs no torch, and that importing does nothing."""

from __future__ import annotations

import ast
import inspect
import json
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path

import pytest

import supertickets
from supertickets.rooms import ROOMS, floors

PACKAGE = Path(supertickets.__file__).parent
ROOT = PACKAGE.parent
FLOORS = floors()
FILES = sorted(set(PACKAGE.rglob("*.py")) - {PACKAGE / "__init__.py", PACKAGE / "__main__.py"})
HANDING_ON = [
    room for room in FLOORS if "handed_on(__name__)" in inspect.getsource(import_module(f"supertickets.{room}"))
]
WITHOUT_TORCH = ("errors", "rooms", "tickets", "statistics", "lab", "tasks", "runs", "chapters")

IMPORT = """
import json, random, socket, sys, warnings

def refuse(*args, **kwargs):
    raise OSError("the network was asked for")

socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
random.seed(1)
before = random.getstate(), list(warnings.filters)
import supertickets
json.dump({
    "loaded": [name for name in ("torch", "transformers", "datasets", "matplotlib", "pandas") if name in sys.modules],
    "random": random.getstate() == before[0],
    "filters": list(warnings.filters) == before[1],
}, sys.stdout)
"""

USE = """
import json, random, sys, warnings
import numpy, torch
random.seed(1), numpy.random.seed(2), torch.manual_seed(3)

def state():
    return random.getstate(), numpy.random.get_state()[1].tolist(), torch.random.get_rng_state().tolist()

def watched(change):
    def wrapper(*args, **kwargs):
        callers.append(sys._getframe(1).f_globals.get("__name__", ""))
        return change(*args, **kwargs)
    return wrapper

callers = []
warnings.filterwarnings, warnings.simplefilter = watched(warnings.filterwarnings), watched(warnings.simplefilter)
before, threads = state(), torch.get_num_threads()
from supertickets import *
json.dump({
    "random": state() == before,
    "filters set by": sorted(name for name in set(callers) if name.startswith("supertickets")),
    "watching": len(callers) > 0,
    "threads": torch.get_num_threads() == threads,
    "fine_tune": fine_tune.__module__,
}, sys.stdout)
"""


def in_a_fresh_process(code: str, *arguments: str) -> dict:
    command = [sys.executable, "-W", "ignore", "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[tuple[str, str]]:
    """(module, name) of everything that a file imports from the package, inside functions and for type checkers too.

    Of a module that it imports as a whole, what it uses of it.
    """
    nodes, whole = list(ast.walk(ast.parse(path.read_text(encoding="utf-8")))), {}
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "supertickets":
            names = [(str(node.module), alias.name) for alias in node.names]
            whole |= {name: f"{module}.{name}" for module, name in names if home_of(module, name) != module}
            yield from names
        elif isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names if alias.name.startswith("supertickets."))
    for node in nodes:
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in whole:
            yield whole[node.value.id], node.attr


def home_of(module: str, name: str) -> str:
    """The module that is imported: ``from supertickets.chapters import paper`` names a file, not something in one."""
    path = PACKAGE.joinpath(*module.split(".")[1:])
    return f"{module}.{name}" if (path / f"{name}.py").exists() or (path / name / "__init__.py").exists() else module


def test_every_file_is_in_a_room() -> None:
    assert {name_of(path).split(".")[1] for path in FILES} == set(FLOORS)
    assert len(ROOMS.split("|")) <= 10


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_file_imports_from_lower_floors_what_their_rooms_hand_on(path: Path) -> None:
    room = name_of(path).split(".")[1]
    for module, name in imports(path):
        home = home_of(module, name).split(".")
        if home[1] != room:
            assert FLOORS[home[1]] < FLOORS[room], f"{module}.{name}"
            assert len(home) == 2, f"{module} is a file of another room; import {name} from the room"


def test_no_room_has_a_circle_inside() -> None:
    known = {name_of(path) for path in FILES}
    graph = {name_of(path): {home_of(*each) for each in imports(path)} & known - {name_of(path)} for path in FILES}
    assert graph["supertickets.models.gates"]
    for room in HANDING_ON:  # what it hands on is no floor of its own
        graph[f"supertickets.{room}"] = set()
    assert set(TopologicalSorter(graph).static_order()) == known  # raises CycleError


@pytest.mark.parametrize("room", HANDING_ON)
def test_a_room_hands_on_what_others_use_and_nothing_else(room: str) -> None:
    module = f"supertickets.{room}"
    users = [path for path in FILES if name_of(path).split(".")[1] != room]
    users += [PACKAGE / "__init__.py"]
    users += [path for folder in ("notebooks", "tools", "book/_ext") for path in (ROOT / folder).glob("*.py")]
    used = {name for path in users for home, name in imports(path) if home == module == home_of(home, name)}
    own = set(vars(import_module(module)))
    assert set(dir(import_module(module))) == {name for name in used if name not in own}
    for name in used:
        value = getattr(import_module(module), name)
        assert not inspect.ismodule(value), f"a file of {room} is called {name} and hides what it hands on"


def test_the_map_in_contributing_is_that_of_the_code() -> None:
    lines = []
    for room, floor in sorted(FLOORS.items(), key=lambda item: -item[1]):
        purpose = (import_module(f"supertickets.{room}").__doc__ or "").splitlines()[0]
        lines.append(f"{floor}  {room:<12}{purpose}")
    house = "\n".join(lines)
    assert f"```\n{house}\n```" in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_rooms_of_values_and_chapters_need_no_torch() -> None:
    names = [name_of(path) for path in FILES if name_of(path).split(".")[1] in WITHOUT_TORCH]
    names += ["supertickets.studies.profiles", "supertickets.studies.experiments", "supertickets.models.encoder_files"]
    names.remove("supertickets.lab.pretrain")
    code = "import importlib, json, sys\nfor name in sys.argv[1:]: importlib.import_module(name)\n"
    code += "json.dump([name for name in ('torch', 'transformers') if name in sys.modules], sys.stdout)"
    assert len(names) > 60
    assert in_a_fresh_process(code, *names) == []


def test_every_public_name_is_there_and_says_what_it_is() -> None:
    assert len(dir(supertickets)) > 20
    for name in dir(supertickets):
        value = getattr(supertickets, name)
        assert value.__module__.startswith("supertickets."), name
        documentation = inspect.getdoc(value) or ""
        # A dataclass without a docstring gets its signature as one.
        assert len(documentation) > 20, name
        assert not documentation.startswith(f"{name}("), name


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'lucky_ticket'"):
        _ = getattr(import_module("supertickets.tickets"), "lucky_ticket")  # noqa: B009


def test_importing_is_light_and_offline() -> None:
    assert in_a_fresh_process(IMPORT) == {"loaded": [], "random": True, "filters": True}


def test_using_every_name_leaves_random_states_filters_and_threads_alone() -> None:
    found = in_a_fresh_process(USE)
    assert found.pop("fine_tune") == "supertickets.training.fine_tuning"
    assert found == {"random": True, "filters set by": [], "watching": True, "threads": True}

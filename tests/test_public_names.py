"""The names meant for use, what importing the package does (nothing), and the floors that modules stand on."""

from __future__ import annotations

import ast
import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

import supertickets

PACKAGE = Path(supertickets.__file__).parent

# A module imports from its own floor or from one below.
FLOORS = (
    "errors tickets authors losses phases decomposition statistics verdicts power paper provenance",
    "tasks benchmarks readers assembly sources submission batching encoders published lab",
    "importance gates compaction lean layers passes adamax",
    "runs training isolation checkpoints sharing multitask shared_runs adaptation specs",
    "memory store_files store claims run_logs status execution plans costs "
    "progress scheduling cluster engines profiles inputs experiments sweeps find share speed",
    "tables summaries figures trade_off observations sharing_figures multi_task_tables sensitivity_data sensitivity "
    "sensitivity_figures adaptation_tables task_shares share_claims share_figures speed_tables speed_claims "
    "speed_figures display report notebooks cli",
)
FLOOR_OF = {module: floor for floor, modules in enumerate(FLOORS) for module in modules.split()}

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
import supertickets
for name in supertickets.__all__:
    getattr(supertickets, name)
json.dump({
    "random": state() == before,
    "filters set by": sorted(name for name in set(callers) if name.startswith("supertickets")),
    "watching": len(callers) > 0,
    "threads": torch.get_num_threads() == threads,
}, sys.stdout)
"""


def in_a_fresh_process(code: str) -> dict:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


def imported(path: Path) -> set[str]:
    """Modules of the package, by their first name, that a file imports; what only type checkers read is left out."""
    found: set[str] = set()
    pending: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.ImportFrom) and node.module == "supertickets":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("supertickets."):
            found.add(str(node.module).split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("supertickets.")}
        pending += ast.iter_child_nodes(node)
    return found


def test_the_three_lists_of_public_names_agree() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    guarded = next(node for node in tree.body if isinstance(node, ast.If))
    seen_by_checkers = {
        alias.asname: str(node.module).removeprefix("supertickets.")
        for node in guarded.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen_by_checkers == supertickets._HOMES
    assert supertickets.__all__ == sorted(supertickets._HOMES, key=supertickets.__all__.index)
    assert len(supertickets.__all__) == len(set(supertickets.__all__)) == len(supertickets._HOMES) > 20


def test_every_public_name_is_there_and_says_what_it_is() -> None:
    for name in supertickets.__all__:
        value = getattr(supertickets, name)
        assert value.__module__ == f"supertickets.{supertickets._HOMES[name]}", name
        documentation = inspect.getdoc(value) or ""
        # A dataclass without a docstring gets its signature as one.
        assert len(documentation) > 20, name
        assert not documentation.startswith(f"{name}("), name


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'lucky_ticket'"):
        _ = supertickets.lucky_ticket


def test_importing_is_light_and_offline() -> None:
    assert in_a_fresh_process(IMPORT) == {"loaded": [], "random": True, "filters": True}


def test_using_every_name_leaves_random_states_filters_and_threads_alone() -> None:
    assert in_a_fresh_process(USE) == {"random": True, "filters set by": [], "watching": True, "threads": True}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_from_its_floor_or_below(path: Path) -> None:
    module = path.relative_to(PACKAGE).with_suffix("").parts[0]
    if module == "__init__":  # names are looked up on first use
        assert imported(path) == set()
        return
    assert module in FLOOR_OF, f"{module} has no floor yet"
    too_high = {name for name in imported(path) if FLOOR_OF[name] > FLOOR_OF[module]}
    assert too_high == set()

"""Fixtures for all tests; session-wide ones are read-only by rule."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import save_tiny_encoder, tiny_model, write_toy_task
from transformers import PreTrainedModel

torch.set_num_threads(1)


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist, which a GPU machine may do without
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Side by side, a file's tests stay in one process, and all of the book's in one: the site is built once."""
    from xdist.scheduler import LoadFileScheduling

    class ByFile(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return "tests/book" if file.startswith("tests/book/") else file

    return ByFile(config, log)


@pytest.fixture
def record_property(record_property: Callable[[str, Any], None]) -> Callable[[str, Any], None]:
    """A test's own figures for the JUnit file, as words: pytest-xdist hands on nothing of numpy's."""
    return lambda name, value: record_property(name, str(np.asarray(value)))


@pytest.fixture(scope="session")
def tiny_bert() -> PreTrainedModel:
    """A random 3-layer x 4-head BERT in float64, eval mode."""
    return tiny_model()


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a random 3-layer x 4-head encoder with a tokenizer for the toy task."""
    return save_tiny_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the toy task's train.csv and dev.csv."""
    return write_toy_task(tmp_path_factory.mktemp("toy"))

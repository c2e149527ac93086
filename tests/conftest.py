"""Fixtures for all tests; session-wide ones are read-only by rule."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny import save_tiny_encoder, tiny_model, write_toy_task
from transformers import PreTrainedModel

torch.set_num_threads(1)


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Side by side, a file's tests stay in one process, and those of the book all in one: the site is built once."""
    if config.pluginmanager.hasplugin("xdist"):  # a GPU machine may do without
        for item in items:
            group = "book" if "book" in item.path.parts else str(item.path)
            item.add_marker(pytest.mark.xdist_group(group))


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

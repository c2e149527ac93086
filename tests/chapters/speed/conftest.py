"""Rows as the benchmarks write them."""

import pytest
from bench_rows import written

from supertickets.chapters.speed.tables import read_benchmarks


@pytest.fixture
def frame(tmp_path):
    return read_benchmarks(written(tmp_path / "b.json")).frame

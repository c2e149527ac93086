"""Frames of records that the tests of this folder share."""

import pandas as pd
import pytest
from single_frames import frame_of


@pytest.fixture
def frame() -> pd.DataFrame:
    return frame_of({"winning": [0.85, 0.84, 0.70], "random": [0.75, 0.65, 0.55], "losing": [0.60, 0.55, 0.52]})


@pytest.fixture
def two_tasks(frame) -> pd.DataFrame:
    other = frame_of({"winning": [0.82, 0.80, 0.70], "random": [0.7, 0.65, 0.6]}, task="similarity", noise=0.02)
    return pd.concat([frame, other], ignore_index=True)

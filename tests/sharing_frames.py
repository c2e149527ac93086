"""Frames of made-up multi-task runs."""

import numpy as np
import pandas as pd


def made_up(gain: float, small: float = 0.0) -> pd.DataFrame:
    """Five seeds of two tasks by hand; Ticket-Share gains so much, and so much more on the small task."""
    rng = np.random.default_rng(0)
    rows = []
    for seed in range(5):
        for task in ("big", "tiny"):
            for model in ("MT-DNN", "Ticket-Share"):
                for stage in ("multi-task", "fine-tuned"):
                    score = 0.8 + 0.001 * rng.normal() + (model == "Ticket-Share") * (gain + small * (task == "tiny"))
                    row = {"model": model, "stage": stage, "task": task, "seed": seed, "report_score": score}
                    rows.append({**row, "run": f"{model} {seed}"})
    found = pd.DataFrame(rows).assign(average_compression=0.9, stored=1.0, learning_rate=1e-3)
    found = found.assign(selection_score=found["report_score"], selection_loss=1.0)
    return found.assign(train_examples=found["task"].replace({"big": 1000, "tiny": 10}))

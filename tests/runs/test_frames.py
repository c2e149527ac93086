"""Missing runs are named."""

import pandas as pd
from single_frames import LEVELS

from supertickets.runs import RunSpec, TicketRule, missing_sentence
from supertickets.tasks import DataRef


def specs_of(seeds: int) -> list[RunSpec]:
    rules = [TicketRule(), *(TicketRule(kind, level, "p") for kind in ("winning", "random") for level in LEVELS)]
    data = [DataRef("entailment"), DataRef("entailment", train_size=50)]
    return [RunSpec("lab-base", "1", ref, seed, ticket=rule) for ref in data for seed in range(seeds) for rule in rules]


def test_missing_runs_are_named():
    specs = specs_of(2)
    there = pd.DataFrame({"run": [spec.id for spec in specs if spec.seed == 0 or spec.ticket.kind == "full"]})
    sentence = "12 of 28 runs are missing: entailment (6 winning, 6 random; seed 1)."
    assert missing_sentence(there, specs) == sentence
    everything = pd.DataFrame({"run": [spec.id for spec in specs]})
    assert missing_sentence(everything, specs) == "All 28 runs are there."


def test_tasks_that_are_missing_altogether_are_named_together():
    specs = [RunSpec("lab-base", "1", DataRef(task), seed) for task in ("RTE", "MRPC", "CoLA") for seed in (0, 1, 2, 5)]
    there = pd.DataFrame({"run": [spec.id for spec in specs if spec.data.name == "CoLA" and spec.seed == 5]})
    sentence = "11 of 12 runs are missing: all of RTE, MRPC, CoLA (3 full; seeds 0 to 2)."
    assert missing_sentence(there, specs) == sentence

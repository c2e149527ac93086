"""A program: every table and figure from a store of made-up records, the runs of profile `smoke` with random outputs.

tests/chapters/test_without_torch.py runs it where torch cannot be imported.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pandas as pd

from supertickets.chapters import finding, paper
from supertickets.chapters.bias_variance import figures as figure1
from supertickets.chapters.bias_variance import tables as trade_off
from supertickets.chapters.bias_variance.claims import directions
from supertickets.chapters.claims import sentences
from supertickets.chapters.display import figure_html, table_html
from supertickets.chapters.domain_adaptation import claims as adaptation_claims
from supertickets.chapters.domain_adaptation import figures as adaptation_figures
from supertickets.chapters.domain_adaptation import tables as adaptation_tables
from supertickets.chapters.inconsistencies import paper_notes
from supertickets.chapters.multi_task import claims as sharing_claims
from supertickets.chapters.multi_task import figures as figure2
from supertickets.chapters.multi_task import tables as multi_task
from supertickets.chapters.sensitivity import claims as spread_claims
from supertickets.chapters.sensitivity import figures as rate_figures
from supertickets.chapters.sensitivity import tables as sensitivity
from supertickets.chapters.single_task import claims, examples, figures, tables
from supertickets.chapters.task_shares import claims as share_claims
from supertickets.chapters.task_shares import figures as figure6
from supertickets.chapters.task_shares import tables as task_shares
from supertickets.runs import AdaptationSpec, Record, RunStore, SharingSpec, missing_sentence
from supertickets.runs.spec import data_of
from supertickets.studies import at_own_rates, chosen_rates, get_profile
from supertickets.studies.experiments import EXPERIMENTS, stages
from supertickets.tasks import DataRef, score, split_arrays, split_dev, task_facts
from supertickets.tickets import EncoderShape, Scores

SHAPE = EncoderShape(6, 8, 2000, 16000, 12000, 4000)


def outputs(ref: DataRef, rng: np.random.Generator) -> tuple[dict[str, Any], dict[str, dict[str, float]]]:
    """Arrays and metrics of a task, as its run would leave them."""
    task = ref.load()
    selection = split_dev(task)
    logits = rng.normal(size=(len(task.dev), task.num_labels)).astype(np.float32)
    splits = {"selection": selection, "report": ~selection, "dev": np.ones_like(selection)}
    metrics = {
        name: {**score(task.metrics, task.dev.labels[rows], logits[rows]), "loss": rng.uniform()}
        for name, rows in splits.items()
    }
    arrays = {"dev_logits": logits, **split_arrays(task, selection)}
    if task.test is not None:
        found = rng.normal(size=(len(task.test), task.num_labels)).astype(np.float32)
        arrays["test_logits"] = found
        metrics["test"] = {**score(task.metrics, task.test.labels, found), "loss": 0.5}
    return arrays, metrics


def made_up(spec: Any, store: RunStore) -> Record:
    rng = np.random.default_rng(int(spec.id[:8], 16))
    size, arrays, metrics = {"weights_remaining": 1.0}, {}, {}
    if isinstance(spec, SharingSpec):
        size |= {"average_compression": 0.9, "stored": 0.95}
        for ref in spec.data:
            size[f"{ref.name}/weights_remaining"] = 0.9
            for stage in ("multi-task", *(f"fine-tuned@{hyper.learning_rate:g}" for hyper in spec.fine_tuning)):
                metrics |= {f"{stage}/{ref.name}/{name}": values for name, values in outputs(ref, rng)[1].items()}
    else:
        arrays, metrics = outputs(spec.data, rng)
        size["train_examples"] = 48.0
    if not isinstance(spec, SharingSpec | AdaptationSpec):
        parent = store[spec.ticket.parent] if spec.ticket.parent else None
        scores = Scores(rng.uniform(size=(6, 8)), rng.uniform(size=6))
        ticket = spec.ticket.ticket((6, 8), spec.seed, parent and parent.scores("example"))
        size["weights_remaining"] = ticket.weights_remaining(SHAPE)
        arrays |= {"heads": ticket.heads, "ffns": ticket.ffns}
        if spec.ticket.kind == "full":
            arrays |= {"importance/example/heads": scores.heads, "importance/example/ffns": scores.ffns}
            arrays["importance/example/n_examples"] = np.array([48])
    facts = {ref.name: task_facts(ref.load(), split_dev(ref.load())) for ref in data_of(spec)}
    return Record(spec, (), 1, metrics, size, arrays, {"total": 1.0}, {"task head": "new"}, tasks=facts)


def main(folder: str) -> None:
    scale, store = get_profile("smoke"), RunStore(folder)
    specs: dict[str, list[Any]] = {}
    for name in EXPERIMENTS:
        specs[name] = []
        for stage in stages(name, scale, store):
            for spec in stage:
                if spec.id not in store:
                    store.save(made_up(spec, store))
            specs[name] = list(stage)
    store = RunStore(folder)  # from here on only what is written there
    frame, sets = store.frame(specs["table1"]), store.frame(specs["figure1"])
    multi, adapted, subsets = (store.frame(specs[name]) for name in ("table3", "table4", "figure5"))
    own, tuning = at_own_rates(multi), store.frame(specs["rates"])
    full = frame.loc[frame["kind"] == "full", "run"]
    records = list(store.records(full, arrays=True))
    of_sets = list(store.records([spec.id for spec in specs["figure1"]], arrays=True))
    terms, changes = trade_off.trade_off(of_sets), directions(of_sets)
    luck = examples.luck_of_the_choice(store.records(frame["run"], arrays=True))
    units = task_shares.importance_table(records)
    shares, agreement = task_shares.task_shares(units), task_shares.rank_agreement(units)
    several = {record.spec.data.name: record.ticket() for record in records}
    shown = [
        *(pd.DataFrame(paper.table(n)) for n in range(1, 10)),
        *(tables.table1(frame, luck=luck), tables.table1_metrics(frame), tables.table2(store.frame(specs["table2"]))),
        *(multi_task.table3(multi), adaptation_tables.table4(adapted)),
        *(
            sensitivity.table5(sensitivity.tuned_single(tuning), own),
            tables.table6(frame),
            tables.table7(frame),
            sensitivity.table8(own),
        ),
        *(tables.table9(records), claims.phase_table(frame)),
        *(changes, claims.winners(frame), claims.transitions(frame), claims.light_pruning(frame)),
        *(claims.falls(frame), examples.optimism(frame), adaptation_claims.adaptation_claims(adapted)),
        *(
            sharing_claims.sharing_claims(multi),
            share_claims.share_claims(units, threshold=0.75),
        ),
        *(spread_claims.spread_tests(frame, own), spread_claims.rate_tests(own), spread_claims.matched_rates(tuning)),
        *(multi_task.rates_tried(multi), chosen_rates(tuning), claims.task_sizes(frame)),
        finding.ticket_sizes(SHAPE, scale.levels),
    ]
    drawn = [
        figure1.trade_off_figure(sets, terms),
        figure2.sharing_figure(several),
        figures.figure3(frame),
        figures.phase_transition_figure(frame),
        figures.shrinking_figure(subsets),
        figure6.pies_figure(shares),
        figure6.agreement_figure(agreement, list(several)),
        adaptation_figures.adaptation_figure(adapted),
        rate_figures.rates_figure(own),
        finding.importance_figure(records[0].scores("example")),
        finding.tickets_figure(list(several.values())),
    ]
    assert all(len(table_html(table, "A table.")) > 300 for table in shown)
    assert all(figure_html(figure, "A figure.").count("<path") > 5 for figure in drawn)
    said = [
        missing_sentence(frame, specs["table1"]),
        *paper_notes(["P1"]),
        *sentences(claims.transitions(frame)),
    ]
    print(f"{len(store)} runs, {len(shown)} tables, {len(drawn)} figures, {len(said)} sentences")


if __name__ == "__main__":
    main(sys.argv[-1])

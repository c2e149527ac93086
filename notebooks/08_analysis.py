# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 8 Analysis
#
# ```{admonition} In this chapter
# **You will see** Tables 5 and 8: how far scores spread over seeds and over
# learning rates, with tests of equal spread. Figure 6: which heads and
# feed-forward blocks matter to which task, beside how far two seeds of *one*
# task agree.
#
# **Claims under test** (section 8, A.4): super tickets and ticket sharing have
# "much smaller standard deviation"; Ticket-Share is more robust to the learning
# rate; many tickets have almost equal shares for most tasks, a few are
# dominated by a single one.
#
# **Cost**: beyond the runs of chapters 5 and 6, `supertickets plan rates` and
# `plan figure6`, with `--profile NAME`, say what a profile takes.
# ```

# %% tags=["parameters"]
profile = "lab"  # lab, minilm, paper-base, paper-large, or smoke
tasks = ""  # comma-separated; empty: the profile's
seeds = ""  # comma-separated; empty: the profile's
encoder = ""  # lab-base, minilm, a folder or a Hub id; empty: the profile's
train_size = 0  # training examples of a task at most; 0: the profile's
dev_size = 0  # dev examples of a task at most; 0: the profile's
store = "../runs"  # folder (or fsspec URL) of the run store
results = "../book/results"  # folder of recorded runs; empty: none
data_dir = ""  # folder with TASK/train.tsv ...; empty: the lab, or the Hub
workers = 0  # worker processes; 0: one per core

# %% tags=["hide-input"]
import numpy as np
import pandas as pd

from supertickets.chapters.chapter import Chapter, each
from supertickets.chapters.claims import sentences
from supertickets.chapters.display import (
    measured,
    show,
    show_claims,
    show_table,
)
from supertickets.chapters.sensitivity.claims import (
    matched_rates,
    paper_power,
    rate_tests,
    spread_tests,
)
from supertickets.chapters.sensitivity.figures import rates_data, rates_figure
from supertickets.chapters.sensitivity.tables import (
    table5,
    table8,
    tuned_single,
)
from supertickets.chapters.task_shares.claims import (
    CLAIMS,
    dominated_sentences,
    share_claims,
    sst2_claims,
)
from supertickets.chapters.task_shares.figures import (
    agreement_figure,
    close_ups_figure,
    pies_figure,
)
from supertickets.chapters.task_shares.tables import (
    close_up_units,
    cluster_tasks,
    dominated_units,
    importance_table,
    rank_agreement,
    task_shares,
)
from supertickets.studies import at_own_rates, chosen_rates, get_profile

limits = {"train_size": train_size, "dev_size": dev_size}
chosen = get_profile(
    profile, tasks=tasks, seeds=seeds, encoder=encoder, **limits
)
chapter = Chapter(chosen, store, results, data_dir, workers)
scales, shared = chapter.scales("table1"), chapter.scales("table3")
print(f"At several rates\n{chapter.told('rates')}\n")
print(f"Of several tasks\n{chapter.told('table3')}")
tuning = {scale: scale.judged("rates") for scale in scales}
# Without runs at other rates, Table 1's, which are at the chosen ones.
single = {
    scale: tuned_single(x)
    if len(x := tuning[scale])
    else scale.judged("table1")
    for scale in scales
}
multi = {scale: at_own_rates(scale.frame("table3")) for scale in shared}
for scale in shared:
    tuned = multi[scale]["stage"] == "fine-tuned"
    rates = multi[scale].loc[tuned, "learning_rate"].unique()
    listed = ", ".join(f"{rate:g}" for rate in rates)
    print(f"{scale.title}: fine-tuned at learning rates {listed}")
scales = [scale for scale in scales if len(single[scale]) or scale in multi]

# %% [markdown]
# ## Sensitivity to the random seed (Table 5)
#
# ```{admonition} The paper says
# :class: paper
# "SuperT and Ticket-Share induce much smaller standard deviation in validation
# results." Table 5: standard deviations over five seeds of BERT-large on five
# small tasks, such as 0.16 against 0.17 on SST-2.
# ```
#
# A standard deviation over five seeds is itself uncertain: its 95% interval
# runs from 0.6 to 2.9 times the estimate. A multi-task model's score is that
# after fine-tuning it on the single task, averaged over the learning rates
# (A.4.1). Single-task models, ST-DNN and SuperT alike, have the learning rate
# that the selection split chooses (5.2). The paper's values are those of
# BERT-large.

# %%
caption = "Table 5: standard deviation of the report score over seeds, points."
for scale in each(scales):
    if len(tuning[scale]):
        full = tuning[scale][tuning[scale]["kind"] == "full"]
        show_table(
            chosen_rates(full),
            "Full models at every learning rate, mean scores.",
            "rates-tried",
            decimals=3,
        )
    show_table(table5(single[scale], multi.get(scale)), caption, "table-5")

# %% [markdown]
# Do the models with tickets spread less? Two tests answer, and the larger p of
# the two counts. Brown-Forsythe is not misled by a single run that failed;
# Pitman-Morgan makes use of the pairing by seed. The claims, about all tasks
# together, stand first.

# %%
caption = (
    "Spread over seeds with tickets against without: ratio of standard "
    "deviations."
)
spread = {}
complete = {scale for scale in shared if len(scale.judged("table3"))}
for scale in each(scales):
    if len(single[scale]) or scale in complete:
        spread[scale] = spread_tests(
            single[scale], multi[scale] if scale in complete else None
        )
        show_claims(
            spread[scale], caption, "spread-tests", scale.so_far("table1")
        )

# %% [markdown]
# ### What five seeds can tell
#
# Suppose the paper's standard deviations were the true ones. With what
# probability would five seeds show the difference, and how many would be needed
# for four chances in five?

# %%
power = pd.DataFrame(paper_power())
show_table(power, "Power of an F test at 5% for the pairs of Table 5.", "power")
measured(
    f"If the paper's spreads were the true ones, five seeds would tell a pair"
    f" apart with a probability of {power['power'].min():.0%} to"
    f" {power['power'].max():.0%} ({len(power)} pairs)."
)

# %% [markdown]
# ## Sensitivity to the learning rate (Table 8)
#
# Fine-tuning from the shared weights at several learning rates: the standard
# deviation over the rates of the score averaged over seeds. Even if the rate
# did not matter, it would not be zero: *by chance* is what the seeds' noise
# alone would give. Of two models the noisier one would seem more sensitive. So
# that part is subtracted before they are compared, variance against variance.

# %%
alt = (
    "Report score against the learning rate of fine-tuning, one panel per "
    "task, MT-DNN and Ticket-Share."
)
caption = (
    "Ticket-Share minus MT-DNN: variance over learning rates beyond chance, "
    "squared points."
)
by_rate = {}
for scale in each(shared):
    frame = multi[scale]
    show_table(
        table8(frame),
        "Table 8: standard deviation over learning rates, points.",
        "table-8",
    )
    if scale in complete:
        by_rate[scale] = rate_tests(frame)
        show_claims(by_rate[scale], caption, "rate-tests")
    flat = "A flat line does not depend on the learning rate."
    show(
        rates_figure(frame), alt, rates_data(frame), name="rates", caption=flat
    )

# %% [markdown]
# ### Matched and mismatched rates (A.2.1)
#
# ```{admonition} The paper says
# :class: paper
# "Rewinding the super tickets selected under a matched optimization settings
# usually outperforms those selected under a mismatched settings (i.e. using two
# different learning rates in single-task fine-tuning and rewinding/multi-task
# learning)."
# ```
#
# Light winning tickets found at the learning rate at which they are rewound,
# against those found at the profile's rate farthest from it: the mean over the
# light levels, none of which is chosen.

# %%
at_match = {
    scale: matched_rates(tuning[scale])
    for scale in scales
    if len(tuning[scale])
}
caption = (
    "Matched minus mismatched tickets, points, 95% t intervals over seeds."
)
for scale in each(at_match):
    show_claims(at_match[scale], caption, "matched-rates")

# %% [markdown]
# ## Tickets' importance across tasks (Figure 6)
#
# For every head and feed-forward block: its *Ticket Importance*, the mean over
# tasks of its importance, is the area of a pie, and its *Task Shares*, each
# task's part of the sum, are the slices. Scores are normalised as the paper
# does for pruning: heads by layer, FFNs not at all. The losses of different
# tasks have different scales, and an FFN's shares reflect these too. So the
# claims are repeated under two other rules at the end of this section.

# %%
print(chapter.told("figure6"))
every = [
    (scale, list(scale.records("figure6")))
    for scale in chapter.scales("figure6")
]
tables = {scale: importance_table(records) for scale, records in every}
tables = {
    scale: table
    for scale, table in tables.items()
    if table["task"].nunique() > 1
}
shares = {scale: task_shares(table) for scale, table in tables.items()}
records = {scale: found for scale, found in every if scale in tables}
for scale, _ in every:
    if scale not in tables:
        print(f"{scale.title}: the full models of one task; shares need two")

# %% tags=["hide-input"]
caption = (
    "Figure 6: large pies matter most; a pie of one colour belongs to one task."
)
for scale in each(tables):
    alt = (
        f"A pie for every head and FFN of {scale.profile.encoder}, by layer; "
        "slices are the shares of the tasks."
    )
    show(
        pies_figure(shares[scale]),
        alt,
        shares[scale],
        name="figure-6",
        caption=caption,
    )

# %%
alt = (
    "Close-ups of four kinds of units: shared evenly, and dominated by one or "
    "by two tasks, with percentages."
)
caption = "Single units close up, as in the paper's Figure 6 (a) to (d)."
# Of two tasks, one nearly always holds more than half.
thresholds = {
    scale: max(0.5, 1.5 / table["task"].nunique())
    for scale, table in tables.items()
}
dominated = {
    scale: dominated_units(shares[scale], thresholds[scale]) for scale in tables
}
for scale in each(tables):
    drawn = close_ups_figure(shares[scale], close_up_units(shares[scale]))
    show(drawn, alt, shares[scale], name="figure-6-close-ups", caption=caption)
    rule = (
        f"dominated by one task (more than {thresholds[scale]:.0%} of the "
        "share) or by two together."
    )
    if len(units := dominated[scale]):
        units = units.assign(head=units["head"].where(units["head"] > 0, ""))
        show_table(units, f"Units {rule}", "dominated")
    else:
        measured(f"No unit is {rule}")

# %% [markdown]
# ### How alike are two tasks, and how alike could they be?
#
# What the paper lacks is a ceiling: importance also differs between two seeds
# of *one* task. Off the diagonal is the rank correlation of the heads'
# importance between tasks, on it that between seeds of the same task.

# %%
alt = (
    "Heat map of rank correlations of head importance between tasks, with the "
    "seeds' own agreement on the diagonal."
)
ceiling = (
    "How alike tasks rank the heads; framed, two seeds of one task, the most "
    "that can be expected."
)
caption = "Rank correlation of head importance, 95% intervals over seeds."
judged = {}
for scale in each(tables):
    agreement = rank_agreement(tables[scale])
    order = cluster_tasks(tables[scale])
    show(
        agreement_figure(agreement, order),
        alt,
        agreement,
        name="agreement",
        caption=ceiling,
    )
    pairs = agreement.rename(columns={"a": "task", "b": "and task"})
    show_table(pairs, caption, "agreement-table")
    claims = share_claims(tables[scale], threshold=thresholds[scale])
    claims = claims[claims["n"] > 0]
    beside = "The claims about shares, beside the same among seeds of one task."
    show_claims(claims, beside, "share-claims", scale.so_far("figure6"))
    measured(*dominated_sentences(dominated[scale]))
    judged[scale] = claims

# %% [markdown]
# ### The verdicts depend on the normalisation
#
# The claims of {shown}`table-share-claims` again ("paper"), with FFNs divided
# by their l2 norm over layers too ("all"), and with nothing divided ("raw").

# %%
for scale in each(tables):
    lines = []
    for normalisation in ("paper", "all", "raw"):
        table = importance_table(records[scale], normalisation=normalisation)
        found = share_claims(table, threshold=thresholds[scale])
        words = zip(CLAIMS, found["verdict"], found["where"], strict=False)
        told = "; ".join(
            f"{text}: {word} ({where})" for text, word, where in words
        )
        lines.append(f'"{normalisation}": {told}.')
    measured(*lines)

# %% [markdown]
# ## Exercises
#
# **Quick check.** The paper prints 0.16 for the spread of SuperT on SST-2 and
# 0.17 for that of ST-DNN, over five seeds each. Does SuperT spread less? (a)
# yes; (b) five seeds cannot tell; (c) only on the test set.
#
# ```{admonition} Answer
# :class: dropdown
# (b). The power of that pair stands in {shown}`table-power`: even if these were
# the true spreads, five seeds would hardly ever show it.
# ```
#
# **Quick check.** The heads' importance has a rank correlation of 0.40 between
# two tasks, and of 0.45 between two seeds of one of them. How alike are the
# tasks? (a) hardly; (b) about as alike as one task is to itself; (c) not at
# all: 0.40 is below one half.
#
# ```{admonition} Answer
# :class: dropdown
# (b). What two seeds of one task agree on is the most that can be expected of
# two tasks.
# ```
#
# **1.** Two models have scores of exactly the same spread. How often is the
# standard deviation of one, over five seeds, less than half the other's?

# %% tags=["hide-cell"]
rng = np.random.default_rng(0)
for n in (5, 20):
    sds = rng.normal(size=(20_000, 2, n)).std(axis=-1, ddof=1)
    half = (sds.min(axis=1) < sds.max(axis=1) / 2).mean()
    print(f"{n} seeds: in {half:.0%} of the pairs")

# %% [markdown]
# **2.** The learning rate does not matter at all, and scores spread over seeds
# by 1 point. What standard deviation over five rates does a table like the
# paper's Table 8 show, if each rate's score is the mean of five seeds?

# %% tags=["hide-cell"]
means = rng.normal(size=(20_000, 5, 5)).mean(axis=-1)
print(f"{means.std(axis=1, ddof=1).mean():.2f} points, and not 0")

# %% [markdown]
# **3.** If a unit mattered equally to all tasks, each would have the same
# share. Which unit is farthest from that, and which is nearest?

# %% tags=["hide-cell"]
for scale in tables:
    units = shares[scale].set_index(["unit", "layer", "head"]).dropna()
    largest = units.drop(columns="importance").max(axis=1)
    for word, unit in (
        ("evenest", largest.idxmin()),
        ("most uneven", largest.idxmax()),
    ):
        share = f"largest share {largest[unit]:.0%}"
        print(f"{scale.title}, {word}: {unit[0]} of layer {unit[1]}, {share}")

# %% [markdown]
# ## What was found

# %% tags=["hide-input"]
found = (spread, by_rate, at_match, judged)
found += ({scale: sst2_claims(table) for scale, table in tables.items()},)
for scale in each(dict.fromkeys((*scales, *tables))):
    said = []
    for rows in (own[scale] for own in found if scale in own):
        detail = rows.get("detail", pd.Series(False, rows.index))
        said += sentences(
            rows[~detail.astype(bool)]
        )  # the rest: by task, above
    measured(*said)

# %% [markdown]
# Whether multi-task models with tickets also score higher is in
# {shown}`6#table-claims`.
#
# **What differs from the paper, and why.** The paper's Figure 6 shows BERT-base
# and eight GLUE tasks. The further tasks of this figure have fewer training
# examples here than in the other chapters, so that it costs a minute. A
# standard deviation of scores near a perfect one is small for every model,
# which says nothing about tickets.
#
# **Next**: [discussion](09_discussion).

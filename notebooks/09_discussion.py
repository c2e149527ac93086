# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 9 Discussion and conclusion
#
# ```{admonition} In this chapter
# **You will see** what the paper's section 9 answers and what it leaves open:
# how far structured tickets go, whether another score, another pruning schedule
# or a later rewinding finds better ones, and whether the level can be known
# early. Then what others found since, and what neither the paper nor this book
# can say.
#
# **Claims under test** (section 9): structured tickets that match the full
# model exist. Of what the paper leaves "for future works" nothing is claimed.
#
# **Cost**: beyond the runs of chapter 5; tickets found in other ways are
# recorded, and `supertickets plan search --profile lab` says what they take.
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

import supertickets as st
from supertickets.chapters import paper
from supertickets.chapters.chapter import Chapter, each, recorded_scales
from supertickets.chapters.choices.searching import (
    agreement_figure,
    agreement_sentences,
    agreement_table,
    in_words,
    search_claims,
    search_scores,
    ways_figure,
)
from supertickets.chapters.claims import (
    HOLDS,
    REVERSED,
    UNKNOWN,
    claim,
    judged,
    sentences,
)
from supertickets.chapters.display import (
    measured,
    show,
    show_claims,
    show_table,
)
from supertickets.chapters.single_task.claims import contrasts
from supertickets.studies import get_profile
from supertickets.tickets import EncoderShape

limits = {"train_size": train_size, "dev_size": dev_size}
chosen = get_profile(
    profile, tasks=tasks, seeds=seeds, encoder=encoder, **limits
)
chapter = Chapter(chosen, store, results, data_dir, workers)
here = chapter.here()
print(chapter.told("table1"))
whole = {scale: scale.judged("table1") for scale in chapter.scales("table1")}
frames = {scale: frame for scale, frame in whole.items() if len(frame)}
scales = list(frames)

# %% [markdown]
# ## Structured lottery tickets
#
# ```{admonition} The paper says
# :class: paper
# "[...] we question whether a subset of structured weight matrices, e.g., FFN
# layers and attention heads, can also be trained to match the full model's
# performance. [...] Our results give a positive answer to this question, while
# previous works show that the structured tickets do not exist in highly
# compressed models." (9)
# ```
#
# Matching is a claim of no loss: winning ticket minus full model, averaged over
# the tasks within a seed, may not lie below minus one point. Each level is
# asked, and all are corrected together. No level is chosen, so luck has no
# say.

# %%
text, matched = "the winning ticket matches", {}
for scale, frame in frames.items():
    rows = []
    for level in scale.profile.levels:
        by_task = contrasts(frame, "winning", levels=[level])
        means = pd.concat(by_task, axis=1).dropna().mean(axis=1)
        rows.append(claim(text, f"{level:.0%}", means, limit=-1.0))
    matched[scale] = judged(rows)

# %% tags=["hide-input"]
caption = (
    "Winning ticket minus full model, points, 95% t intervals over seeds; no"
    " more than a point may be lost."
)
levels = {}
for scale in each(scales):
    show_claims(matched[scale], caption, "matching", scale.so_far("table1"))
    at = matched[scale].groupby("verdict")["where"].apply(", ".join)
    told = (f"at {at.get(word, 'no level')}" for word in (HOLDS, REVERSED))
    levels[scale] = (
        "That the winning ticket loses no more than a point holds here {}, and"
        " is reversed here {}; at the other levels these runs cannot tell."
    ).format(*told)
    measured(levels[scale])

# %% [markdown]
# Matching says that a ticket is as good and not that it is faster: what the
# smaller matrices save is in {shown}`D#table-step-table`.
#
# ## Searching better tickets
#
# ```{admonition} The paper says
# :class: paper
# "We leave other importance measures and pruning schedules, which may help
# identifying better generalized super tickets, for future works." (9)
# ```
#
# One thing is changed at a time, on the same training sets and seeds:
#
# - **the score** of a unit: every estimator of {shown}`3#table-estimators`;
#   leaving each unit out is the truth that the others stand in for;
# - **what it reads**: a few examples in place of all, or a model that has been
#   trained for one epoch;
# - **the schedule**: all units at once, or a tenth after the other with
#   retraining in between, where every step scores what the one before left and
#   starts from the pre-trained weights;
# - **the rewinding**: to the weights that the full model had after its first
#   epoch, with the learning-rate schedule going on from there.
#
# *Drawn at random* is the baseline without any score. The runs are the lab's,
# recorded (`supertickets sweep search --profile lab`): a task with few examples
# and many wrong labels, where the choice of a ticket has room to matter.

# %% tags=["hide-input"]
searched = recorded_scales(results, "search")
ways = {scale: search_claims(search_scores(scale)) for scale in searched}
for scale in searched:
    print(scale.told("search"))

# %% [markdown]
# **How many examples does a score need?** The paper scores with the whole
# training set. Below, the first few of its examples score alone: how well their
# ranks agree with those of all, and how much of what the two tickets keep is
# the same.

# %% tags=["hide-input"]
agreed = {scale: agreement_table(scale) for scale in searched}
alt = (
    "Two panels against the number of examples scored, on a logarithmic axis:"
    " rank correlation with the full score, and the overlap of the tickets at"
    " three levels with that of random tickets as dotted lines."
)
for scale in each(searched):
    if len(agreed[scale]):
        show(
            agreement_figure(agreed[scale]),
            alt,
            agreed[scale],
            name="examples-scored",
            caption="If few examples are enough, the lines are near one from"
            " the start. Means over training sets, 95% intervals for heads; of"
            " the units kept the Jaccard index, dotted that of random tickets.",
        )
        show_table(
            in_words(agreed[scale]),
            "Agreement of scores with the paper's: rank correlation of heads"
            " and of FFNs, and the overlap of what tickets keep.",
            "agreement-of-scores",
        )
        measured(*agreement_sentences(agreed[scale]))

# %% [markdown]
# **What do such tickets reach?** An order may differ and cost nothing. Each way
# is set beside the paper's own, training set by training set; the claims are
# corrected together, and beside each stands the power to see a difference as
# large as the gain that the paper reports.

# %% tags=["hide-input"]
alt = (
    "A line per way to find a ticket: difference of its score from that of the"
    " paper's tickets at two levels, with 95% intervals around a line at zero."
)
asked = {
    scale: found[~found["detail"].astype(bool)] for scale, found in ways.items()
}
for scale in each(searched):
    found = ways[scale]
    if len(found):
        show(
            ways_figure(found),
            alt,
            found,
            name="ways",
            caption="Right of the line a ticket is better than that of the"
            " paper's method at the same level.",
        )
        show_claims(
            asked[scale],
            "Tickets found in other ways minus the paper's, points, 95% t"
            " intervals over training sets.",
            "measures",
        )
        measured(*sentences(asked[scale]))

# %% [markdown]
# ## Searching efficiently
#
# ```{admonition} The paper says
# :class: paper
# "Determining the compression ratio of the super tickets requires rewinding
# models at multiple sparsity levels. [...] a potential direction of research is
# to find heuristics to determine this ratio prior or early-on in training." (9)
# ```
#
# The simplest heuristic costs nothing to test, since every record has its
# scores epoch by epoch: stop all tickets after their first epoch, keep the one
# with the best selection score, and train it alone to the end. *Regret* is what
# this loses against the full search, on the report split.

# %%
text, regrets = "one epoch is enough to choose the level", {}
for scale, frame in frames.items():
    kept = frame[frame["kind"].isin(["full", "winning"])].set_index("run")
    records = scale.store.records(list(kept.index))
    early = {run.id: run.epochs[0]["selection_score"] for run in records}
    groups = kept.assign(early=pd.Series(early)).groupby(["seed", "task"])
    score = 100 * kept["report_score"]
    best, soon = (
        score[groups[name].idxmax()].to_numpy()
        for name in ("selection_score", "early")
    )
    lost = pd.Series(soon - best, groups.size().index)
    regrets[scale] = judged(
        [claim(text, "all tasks", lost.groupby("seed").mean(), limit=-1.0)]
    )

# %% tags=["hide-input"]
for scale in each(scales):
    show_claims(
        regrets[scale],
        "Score of the level chosen after one epoch minus that of the full"
        " search, points; no more than a point may be lost.",
        "regret",
        scale.so_far("table1"),
    )
    epochs = scale.profile.hyper.epochs
    n = len(scale.profile.levels)
    measured(
        *sentences(regrets[scale]),
        f"The search would cost {n + epochs - 1} epochs of tickets, not"
        f" {n * epochs}.",
    )

# %% [markdown]
# ## What others found since
#
# **The gain.** Jin et al. {cite:p}`jin2022pruning` ask why pruning improves
# generalisation, for networks that classify images. Fewer weights alone do not
# explain it, they find: at some sparsities training gets better, at others the
# pruned network suffers less from wrong labels. {shown}`10#figure-map` asks
# the same of tickets.
#
# **Spread.** Fine-tuning scores differ widely with the seed, for the weights
# drawn and for the order of the data {cite:p}`dodge2020fine`; much of that is
# optimisation that failed {cite:p}`mosbach2021stability`. MultiBERTs
# {cite:p}`sellam2022multiberts` add the seed of *pre-training*, which neither
# the paper nor this book varies.
#
# **Structured pruning.** Movement pruning {cite:p}`sanh2020movement` scores
# weights by where fine-tuning moves them; block pruning
# {cite:p}`lagunas2021block` does so for blocks, and CoFi
# {cite:p}`xia2022structured` learns masks of layers, heads and dimensions
# together, with distillation. Kwon et al. {cite:p}`kwon2022fast` prune heads
# and FFN filters without training again, by the squared gradients of masks: the
# `squared` score above. These aim at small models that lose little, where the
# paper aims at models that get better. For large language models the same
# structures go at once, with little training after {cite:p}`ma2023llm`.
#
# ## Limitations
#
# - One pre-trained checkpoint for each encoder. What its seed would change is
#   not known here.
# - The recorded real encoders have few training examples, where the paper
#   expects most. What it says of large tasks is not tested.
# - The lab's language is small and its encoders know it well. It shows when a
#   method works, not how large the effect is elsewhere.
# - English, classification and similarity only, as in the paper.
# - "Cannot tell" is no evidence of absence. The power beside it says what could
#   have been seen.
#
# ## Exercises
#
# **Quick check.** Another score puts the heads in another order. Are its
# tickets worse? (a) yes, their score was computed otherwise; (b) no, order does
# not matter; (c) that is known once they are trained.
#
# ```{admonition} Answer
# :class: dropdown
# (c). Units may change places in the order without changing which of them are
# kept, and two different tickets may reach the same score.
# ```
#
# **Quick check.** At 40% the interval of ticket minus full model runs from -0.8
# to +0.6 points. Does the ticket match? (a) yes; (b) no; (c) cannot tell.
#
# ```{admonition} Answer
# :class: dropdown
# (a), if that is still so after the correction over levels. *Matching* means
# that no more than one point is lost, and all of the interval lies above -1.
# ```
#
# **1.** Half of all heads, or half of all FFNs: which takes more weights off
# BERT-base?

# %% tags=["hide-cell"]
base = EncoderShape(12, 12, 4 * 768 * 64, 2 * 768 * 3072, 0, 0)
whole = np.ones(12, dtype=bool)
heads = st.Ticket(np.arange(144).reshape(12, 12) % 2 == 0, whole)
ffns = st.Ticket(np.ones((12, 12), dtype=bool), np.arange(12) % 2 == 0)
for name, ticket in (("heads", heads), ("FFNs", ffns)):
    print(
        f"half of the {name} gone: {ticket.weights_remaining(base):.1%} remain"
    )

# %% [markdown]
# **2.** The paper's tasks, seeds and levels: how many fine-tunings does it take
# to find all super tickets of Table 1, and how many would one epoch of each
# ticket save?

# %% tags=["hide-cell"]
told = paper.paper_facts()["hyperparameters"]
n, epochs = len(told["sparsity_levels"]), told["max_epochs"]
pairs = len(paper.TASKS) * told["seeds"]
print(f"{pairs} full models and {pairs * n} tickets")
saved = 1 - (n + epochs - 1) / (n * epochs)
print(f"{saved:.0%} of the epochs of tickets")

# %% [markdown]
# **3.** Would two epochs do better than one? Count, for the lab.

# %% tags=["hide-cell"]
kept = frames[here][frames[here]["kind"].isin(["full", "winning"])]
kept = kept.set_index("run")
for n in range(here.profile.hyper.epochs):
    early = {
        run.id: max(epoch["selection_score"] for epoch in run.epochs[: n + 1])
        for run in here.store.records(list(kept.index))
    }
    groups = kept.assign(early=pd.Series(early)).groupby(["seed", "task"])
    mean = kept.loc[groups["early"].idxmax(), "report_score"].mean()
    print(f"chosen after {n + 1} epochs: mean report score {mean:.2%}")

# %% [markdown]
# ## What was found
#
# ```{admonition} The paper says
# :class: paper
# "We observe that the generalization performance of the winning tickets
# exhibits a phase transition phenomenon, suggesting pruning can improve
# generalization when models are lightly compressed. [...] we further propose a
# tickets sharing strategy to improve multi-task fine-tuning." (10)
# ```
#
# What became of each of these claims stands, with its evidence, on [the front
# page](../index). Of section 9 itself:

# %% tags=["hide-input"]
for scale in each(scales):
    measured(levels[scale], *sentences(regrets[scale]))
for scale in each(searched):
    told = asked[scale][asked[scale]["verdict"] != UNKNOWN]
    measured(
        f"In {len(told)} of {len(asked[scale])} comparisons another way to find"
        " a ticket can be told from the paper's.",
        *sentences(told),
    )

# %% [markdown]
# **What differs from the paper, and why.** Section 9 has no numbers of its own;
# its positive answer rests on the best level of each task, ours on every level
# with a margin of a point. Where it leaves questions for future works, short
# answers stand above, from one task or from records at hand.
#
# **Next**: [when super tickets exist](10_map).

# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 1 Introduction: the phase transition, measured
#
# ```{admonition} In this chapter
# **You will see** Figure 1 of the paper with all three panels measured: the
# score of winning, random and losing tickets, and the bias and the variance
# behind it, from models trained on many independent training sets.
#
# **Claims under test** (section 1): the score of winning tickets rises, then
# falls; while a model shrinks, its variance falls and its bias rises.
#
# **Cost**: `supertickets plan figure1 --profile NAME` says what a profile
# takes; a run that is in the store, or recorded, is never repeated.
# ```
#
# A pre-trained language model fine-tuned on a small task has far more
# parameters than the task has examples. Liang et al. {cite:p}`liang2021super`
# prune whole attention heads and feed-forward layers (FFNs) by their
# importance, rewind what is left to its pre-trained weights and fine-tune
# again. A *unit* is a head or an FFN. The units that survive are a *ticket*:
# *winning* if the most important ones were kept, *losing* if the least
# important ones, *random* if they were drawn at random.
#
# ```{admonition} The paper says
# :class: paper
# "[...] phase transition phenomenon: As the compression ratio increases,
# generalization performance of the winning tickets first improves then
# deteriorates after a certain threshold."
# ```
#
# The paper reads this as a trade-off: light pruning lowers the *variance* of
# the model (how much it depends on the training set it happened to see) before
# it raises its *bias* (how wrong it is on average). Its Figure 1 draws the
# score from experiments, but the bias and the variance by hand: on GLUE nobody
# knows the true distribution of labels, and there is one training set. Here all
# three panels are measured, twice. For a **real encoder**, MiniLM, the real
# data of SST-2 are cut into many training sets of 500 sentences, none of them
# in two sets; these runs are recorded, and every build of this book reads them.
# In the **lab**, a small artificial English ([chapter 11](11_lab)), training
# sets are drawn afresh at will and the probability of every label is known;
# every build carries these runs out anew.

# %% tags=["parameters"]
profile = "lab"  # carried out here: lab, minilm, paper-base, smoke ...
encoder = ""  # lab-base, minilm, a folder or a Hub id; empty: the profile's
task = ""  # name of one task; empty: the profile's
train_size = 0  # examples in a training set; 0: the profile's
dev_size = 0  # dev examples of a task at most; 0: the profile's
n_sets = 0  # number of training sets; 0: the profile's
kinds = "winning, random, losing"  # kinds of tickets, comma-separated
# The figure's: brier, cross_entropy, zero_one; squared for regression.
loss = ""  # empty: brier, or squared
store = "../runs"  # folder (or fsspec URL) of the run store
results = "../book/results"  # folder of recorded runs; empty: none
data_dir = ""  # folder with TASK/train.tsv ...; empty: the lab, or the Hub
workers = 0  # worker processes; 0: one per core

# %% tags=["hide-input"]
from dataclasses import replace

import numpy as np

from supertickets.chapters.bias_variance.claims import directions, disagreements
from supertickets.chapters.bias_variance.figures import trade_off_figure
from supertickets.chapters.bias_variance.tables import (
    predictions_of,
    trade_off,
    usable_runs,
    variance_parts,
)
from supertickets.chapters.chapter import Chapter, each
from supertickets.chapters.claims import sentences
from supertickets.chapters.display import (
    measured,
    show,
    show_claims,
    show_table,
)
from supertickets.chapters.single_task.claims import (
    boundaries,
    larger_models,
    phase_sentence,
    transitions,
)
from supertickets.studies import (
    get_profile,
    training_set_sweeps,
    with_training_sets,
)

chosen = get_profile(profile, encoder=encoder, dev_size=dev_size)
chosen = with_training_sets(chosen, task, train_size, n_sets, kinds)
chapter = Chapter(chosen, store, results, data_dir, workers)
# Drawn and judged once all of the planned training sets are there.
known, here = chapter.scales("figure1"), chapter.here()
scales = [scale for scale in known if len(scale.judged("figure1"))]
print(chapter.told("figure1"))
if wrong := chosen.sets.noise:
    print(
        f"In training sets made here {wrong:.0%} of the labels are wrong on "
        "purpose."
    )
    print(
        "The score counts true labels; the loss counts labels as wrong as "
        "those trained on."
    )

# %% [markdown]
# ## Score, variance and bias (Figure 1)
#
# Every training set goes through the whole procedure on its own: fine-tune the
# full model, score its units, and at each of the sparsity levels prune, rewind
# and fine-tune the three kinds of tickets. Each set has random numbers of its
# own. All models are evaluated on the same examples, which none of them
# has seen, and for each of these examples $x$ with true label distribution
# $q(x)$ and predictions $p_1(x), \dots, p_T(x)$ the expected loss splits into
#
# $$
# \underbrace{1 - \sum_y q_y^2}_{\text{noise}}
# + \underbrace{\sum_y (\bar p_y - q_y)^2}_{\text{bias}^2}
# + \underbrace{
# \frac{1}{T} \sum_t \sum_y (p_{t,y} - \bar p_y)^2}_{\text{variance}}
# $$
#
# This is the Brier form. Bias and variance are corrected for the finite number
# of training sets ({func}`supertickets.bias_variance`). On real data nobody
# knows $q(x)$: the label that was given takes its place, so that noise counts
# as bias. The shaded phases are the paper's. Phase I lasts up to the best
# level, Phase II until the winning tickets meet the random ones, and Phase III
# lies beyond. Their boundaries are estimated from the runs.

# %%
records = {scale: list(scale.records("figure1")) for scale in scales}
terms = {
    scale: trade_off(records[scale], loss if scale.live else "")
    for scale in scales
}

# %% tags=["hide-input"]
alt = (
    "Three panels against the weights remaining, 100 per cent at the left: "
    "score, variance and squared bias of winning "
    "tickets in blue with circles, random ones in orange with squares, losing "
    "ones in green with triangles; the full "
    "model is a dashed grey line. Phases I, II and III are shaded in rising "
    "grey."
)
for scale in each(scales):
    frame = scale.frame("figure1")
    both = {"winning", "random"} <= set(frame["kind"])
    phases = boundaries(frame) if both else None
    drawn = trade_off_figure(frame, terms[scale], phases)
    show(
        drawn,
        alt,
        terms[scale],
        name="figure-1",
        caption="Figure 1: if the paper is right, the score rises, then falls; "
        "variance falls, bias rises.",
    )
    if phases is not None:
        measured(phase_sentence(phases))

# %% [markdown]
# ## Does it add up?
#
# Noise, bias and variance are estimated from averages of the predictions; the
# expected loss is computed from the predictions directly. The largest
# difference between the sum and the loss, over all points of
# {shown}`figure-figure-1`:

# %%
for scale in scales:
    residual = terms[scale]["residual"].abs().max()
    print(
        f"{scale.title}: |noise + bias^2 + variance - loss| <= {residual:.1e}"
    )
    assert residual < 1e-6

# %% tags=["hide-input"]
columns = ["kind", "level", "n_sets"]
parts = ["noise", "bias2", "variance", "error"]
caption = (
    "Terms of the expected loss by kind and sparsity level; on real data noise "
    "cannot be told from bias."
)
for scale in each(scales):
    wide = terms[scale].pivot_table("value", columns, "term", sort=False)
    wide = wide.reset_index().rename_axis(columns=None)
    show_table(wide[[*columns, *parts]], caption, "terms", decimals=4)

# %% [markdown]
# ## Does variance fall, and does bias rise?
#
# Two curves can have overlapping bands although one lies above the other on
# every training set. So we look at differences: winning ticket against full
# model, on the same training set and examples, averaged over the levels. An
# example: if pruning lowers the variance by 0.1, 0.2 and 0.3 on three training
# sets, it is the mean fall of 0.2 and its interval that count, however far the
# three sets lie apart. We ask by every loss, since "bias" and "variance" mean
# something else for each. Brier loss and cross-entropy grade how sure an answer
# is, 0-1 loss, the loss behind the score, only which answer it is. The claims
# are in {shown}`table-directions`; {shown}`table-directions-by-level` has the
# levels one by one. Who asks many questions finds something by chance: the
# column *p (Holm)* corrects for the number of claims that belong together. The
# intervals are bootstrap intervals; *p* is that of a t test with the
# bootstrap's standard error and a degree of freedom less than there are
# training sets, which errs less with so few. A verdict needs both. That
# variance falls *before* bias rises is no claim of its own here: it would show
# among the light levels.

# %%
changes = {scale: directions(records[scale]) for scale in scales}

# %% tags=["hide-input"]
for scale in each(scales):
    detail = changes[scale]["detail"].astype(bool)
    claims, levels = changes[scale][~detail], changes[scale][detail]
    show_claims(
        claims,
        "Changes of bias and variance, hundredths of the loss, 95% intervals; "
        "negative: it falls.",
        "directions",
    )
    show_claims(
        levels,
        "The same, winning tickets level by level.",
        "directions-by-level",
    )

# %% [markdown]
# ### Is it more pronounced in the larger model?
#
# Light pruning's gain, and what the super tickets keep, in the two real
# encoders: the same training sets, of which each gives a difference between the
# two.

# %%
real = {scale.profile.name: scale for scale in scales}
pairs = {
    scale: real[large]
    for scale in scales
    if (large := scale.profile.large) in real
}
if not pairs:
    print("a large model's runs on these training sets are not recorded yet")
for scale, large in pairs.items():
    told = larger_models(scale.frame("figure1"), large.frame("figure1"))
    show_claims(
        told,
        f"{large.title} minus {scale.title}, 95% t intervals over training "
        "sets.",
        "larger",
    )
    measured(*sentences(told))

# %% [markdown]
# ### Whose variance is it?
#
# A model varies because its training set does, and because its task head and
# the order of its examples are drawn. A second seed for every training set
# tells the two parts apart (law of total variance), for the full model and the
# winning ticket that loses least. Second seeds are there for the runs of this
# build alone.

# %%
few = replace(here.profile, levels=here.profile.levels[:1])
twice = training_set_sweeps(few, here.inputs, ["winning"], repeats=2)
found = here.carried_out(twice)
parts = variance_parts(here.store.records(found["run"], arrays=True), loss)
show_table(
    parts,
    "Variance split into the training set's part and the seed's (two seeds a "
    "set).",
    "parts",
    decimals=4,
)
lines = []
for row in parts.to_dict("records"):
    share = min(max(row["initialisation"] / row["variance"], 0), 1)
    model = f"{row['kind']} tickets at {row['level']:.0%}"
    lines.append(
        f"{share:.0%} of the variance of "
        f"{model if row['level'] else 'full models'} is the seed's: it would "
        "be there with one and the same training set "
        f"({row['sets']} sets, {row['seeds']} seeds each)."
    )
measured(*lines)

# %% [markdown]
# ## Exercises
#
# **Quick check.** Light pruning lowers the variance of a model. What does that
# mean? (a) its scores on the dev examples lie closer together; (b) models
# trained on different training sets give more similar answers; (c) the model is
# wrong less often.
#
# ```{admonition} Answer
# :class: dropdown
# (b). In the formula the variance compares each model's probabilities $p_t(x)$
# with their mean $\bar p(x)$; the label does not occur in it. How often a model
# is wrong is the loss, of which variance is one part of three.
# ```
#
# **Quick check.** Why has Figure 1 no noise for a real encoder? (a) nobody
# knows how probable each label of a sentence is; (b) people's labels are all
# right; (c) noise is the same in all models.
#
# ```{admonition} Answer
# :class: dropdown
# (a). Without $q(x)$ the label that was given takes its place, and the noise is
# counted as bias. In the lab $q(x)$ is known.
# ```
#
# **1.** A committee answers with the mean of the probabilities of the full
# models of all training sets. Which of the three terms does it lower, and by
# how much? Guess from the formula, then count.

# %% tags=["hide-cell"]
usable, first, report, kind, _ = usable_runs(records[here], loss)
full = usable["full", 0.0].values()
answers = np.stack([predictions_of(run, first, report, kind) for run in full])
answers = answers.reshape(*answers.shape[:2], -1)  # a score is one number
labels = first.arrays["dev_labels"][report]
best = labels[:, None]
if kind != "squared":
    best = np.eye(answers.shape[-1])[labels]
alone = ((answers - best) ** 2).sum(-1).mean()
together = ((answers.mean(axis=0) - best) ** 2).sum(-1).mean()
spread = answers.var(axis=0, ddof=1).sum(-1).mean()
print(
    f"on true labels, one model loses {alone:.4f}, all together {together:.4f}"
)
print(f"the variance is {spread:.4f}; of that 1/{len(answers)} stays")
assert abs(alone - together - (1 - 1 / len(answers)) * spread) < 1e-9

# %% [markdown]
# **2.** How sure could one be with a third of the training sets?

# %% tags=["hide-cell"]
for scale in scales:
    drawn = sorted({run.spec.data.train_seed for run in records[scale]})
    some = drawn[: max(3, len(drawn) // 3)]
    less = [run for run in records[scale] if run.spec.data.train_seed in some]
    for number, found in ((len(drawn), changes[scale]), (len(some), None)):
        row = (directions(less) if found is None else found).iloc[0]
        ends = f"{row['low']:+.2f} to {row['high']:+.2f}"
        print(f"{scale.title}, {number} sets: {row['claim']}, {ends}")

# %% [markdown]
# **3.** A model of the lab answers 94% of the true labels of a two-class task
# right. The labels it is judged on by the 0-1 loss are wrong as often as those
# it was trained on. What is its error on them?

# %% tags=["hide-cell"]
for share in (0.0, wrong or 0.3):
    error = 0.94 * share + 0.06 * (1 - share)
    print(f"{share:.0%} of the labels wrong: error {error:.0%}")
print("So a score of .94 and a loss near the noise are no contradiction.")

# %% [markdown]
# ## What was found

# %% tags=["hide-input"]
for scale in each(scales):
    claims = changes[scale][~changes[scale]["detail"].astype(bool)]
    claims = claims[claims["claim"].isin(["variance falls", "bias rises"])]
    rise = sentences(transitions(scale.frame("figure1")))
    measured(*rise, *sentences(claims), *disagreements(changes[scale]))

# %% [markdown]
# **What differs from the paper, and why.** The paper's middle and right panels
# are sketches, and its training set is one; here each point is an average over
# training sets, so the left panel's spread contains what a new training set
# would change, not only a new seed. MiniLM is much smaller than BERT-base
# ({shown}`2#table-units`); its training sets are parts of SST-2, its labels
# those that people gave. A lab encoder has been taught by its
# pre-training to compare sentences, so that fine-tuning has less to learn from
# the examples than BERT has: its variance is small, and so is what pruning can
# take from it. {shown}`10#figure-map` has both terms at other sizes and noises.
#
# **Next**: [the background](02_background), or at once
# [how super tickets are found](03_finding_super_tickets).

# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 10 When do super tickets exist?
#
# ```{admonition} In this chapter
# **You will see** a map that nobody has drawn: what light pruning gains over
# the full model, from 50 to 1,600 training examples and from no wrong labels to
# 40% of them, with the variance and the bias behind every gain; and where real
# encoders lie on it.
#
# **Claim under test** (sections 1 and 5.3): light tickets are better *because*
# pruning lowers the variance of the model before it raises the bias.
#
# **Cost**: of the few runs that every build carries out anew; `supertickets
# plan map --profile lab` says what the whole map of 1,440 runs takes.
# ```
#
# ```{admonition} The paper says
# :class: paper
# "performance gain of the super tickets is more significant in small tasks.
# [...] These observations suggest that for small tasks, model variance is
# large, and removing non-expressive tickets reduces variance and improves
# generalization. For large tasks, model variance is low, and all tickets are
# expressive to some extent." (5.3)
# ```
#
# The paper finds its gains on eight tasks of GLUE, where nobody can change how
# many labels are wrong. In the [lab](11_lab) both can be set: the number
# of training examples and the rate of wrong labels. If the explanation is
# right, gains belong where variance is large: few examples, many wrong labels.
# Every cell of the map is 12 training sets of its own, drawn independently; on
# each the full model is fine-tuned and its winning tickets at 10%, 20% and 30%
# are rewound. The **gain** is the mean score of the three minus the full
# model's: no level is chosen, so that none is chosen by luck.

# %% tags=["parameters"]
profile = "lab"  # whose cells are carried out here: lab or smoke
sizes = "50"  # training-set sizes of the cells made here, comma-separated
noises = "0, 0.4"  # and their rates of wrong labels
n_sets = 2  # and how many of their training sets
store = "../runs"  # folder (or fsspec URL) of the run store
results = "../book/results"  # folder of recorded runs; empty: none
workers = 0  # worker processes; 0: one per core

# %% tags=["hide-input"]
from dataclasses import replace

import pandas as pd

from supertickets.chapters.chapter import Chapter, each, recorded_scales
from supertickets.chapters.claims import sentences
from supertickets.chapters.display import (
    measured,
    show,
    show_claims,
    show_table,
)
from supertickets.chapters.map.claims import (
    agreement_sentence,
    explained_sentence,
    explanation_claims,
    gains,
    larger_model,
    neighbours,
)
from supertickets.chapters.map.figures import (
    explanation_figure,
    map_data,
    map_figure,
)
from supertickets.chapters.map.tables import (
    agreement,
    cells,
    map_table,
)
from supertickets.studies import get_profile, some_cells

few = get_profile(profile)
few = replace(few, map=some_cells(few.map, sizes, noises, n_sets))
chapter = Chapter(few, store, results, workers=workers)
here = chapter.here()
again = here.frame("map")  # carried out now, whatever is recorded
scales = recorded_scales(results, "map") or [here]
for scale in scales:
    print(scale.told("map"))

# %% [markdown]
# ## The map
#
# Blue speaks for light pruning, orange against it. The fall of variance is the
# full model's variance minus the mean of the tickets', the rise of bias the
# reverse; both are terms of the Brier loss, as in {shown}`1#table-terms`,
# in hundredths. A number is bold, with a star, where its 95% interval excludes
# zero. With 30 cells one or two are starred by chance: a frame says that the
# gain, or loss, stands after the correction over all cells (Holm), the one rule
# of this book.

# %%
found = {scale: cells(scale.records("map")) for scale in scales}
judged = {scale: gains(found[scale]) for scale in scales}
data = {
    scale: map_data(map_table(found[scale]), judged[scale]) for scale in scales
}

# %% tags=["hide-input"]
alt = (
    "Three heat maps, training examples from few above to many below, share of "
    "wrong labels rising to the right: gain "
    "of light pruning in points, fall of variance and rise of squared bias in "
    "hundredths, a number in every cell."
)
for scale in each(scales):
    show(
        map_figure(data[scale]),
        alt,
        data[scale],
        name="map",
        caption="If the paper is right, gains are where variance falls most "
        "and bias rises least. Gain in points, "
        "terms in hundredths of the loss; star: 95% interval without zero; "
        "frame: stands after the correction.",
    )
    whole = judged[scale]
    show_claims(
        whole[~whole["detail"].astype(bool)],
        "All cells together: the k-th training sets of all make a mean.",
        "gains",
    )

# %% [markdown]
# ## Is it more pronounced in the larger model?
#
# The lab's large model has a smaller map, over the same training sets, so that
# each set gives a difference between the two. The paper finds a larger gain in
# the larger model (5.4, observation 3).

# %% tags=["hide-input"]
of = {scale.profile.name: scale for scale in scales}
pairs = [
    (scale, of[scale.profile.large])
    for scale in scales
    if scale.profile.large in of
]
if not pairs:
    print("the large model's cells are not recorded yet")
greater = []
for scale, large in pairs:
    more = larger_model(found[scale], found[large])
    greater.append(more[~more["detail"].astype(bool)])
    words = f"{large.title} minus {scale.title}, in points."
    show_claims(greater[-1], words, "larger")

# %% [markdown]
# ## Is it the variance?
#
# If the paper is right, the gain of a cell grows with the fall of variance and
# shrinks with the rise of bias. Over the cells of {shown}`figure-map`, the gain
# is regressed on both
# (a cell counts by the precision of its gain). This is no identity: the gain is
# one of the *score*, on clean labels, the terms are those of a loss that grades
# how sure an answer is. But gain and terms come from the same runs, and what
# happens to them by chance may tie them together; so the same is done with the
# gain from one half of the training sets and the terms from the other, as a
# detail.

# %%
slopes = {scale: explanation_claims(found[scale]) for scale in scales}

# %% tags=["hide-input"]
for scale in each(scales):
    show_claims(
        slopes[scale],
        "Slopes: points of gain per hundredth of variance or bias.",
        "slopes",
    )

# %% [markdown]
# ## Where real encoders lie
#
# Variance needs no true labels, only several training sets: so MiniLM's and
# MPNet's runs on parts of SST-2 and other tasks have a place beside the cells
# of the lab, by what pruning does to their variance. The rate of wrong labels
# is unknown there, and what is wrong in the dev set counts as bias; so no place
# on the map's grid is claimed for them.

# %%
runs = {}
for name in ("light", "figure1"):
    for scale in (scale for scale in chapter.scales(name) if not scale.live):
        whole = scale.by_task_and_size(name)  # where all planned runs are there
        real = (run for run in scale.records(name) if not run.spec.data.in_lab)
        for run in real:
            if (run.spec.data.name, run.spec.data.train_size) in whole:
                runs[run.id] = run
# As in chapter 5, each is a test and a family of its own.
alone = [[cell] for cell in cells(runs.values())]
others = [map_data(map_table(cell), gains(cell)) for cell in alone]
beside = pd.concat(others, ignore_index=True) if others else pd.DataFrame()
beside = beside.replace({"encoder": {"minilm": "MiniLM", "mpnet": "MPNet"}})

# %% tags=["hide-input"]
alt = (
    "Every cell a point: gain against the fall of variance, with intervals; "
    "lighter colours have more wrong labels, "
    "larger points more training examples. Real encoders are orange, a shape "
    "for each task; the legend has their numbers of training examples."
)
columns = [
    "encoder",
    "task",
    "train_size",
    "n",
    "ST-DNN",
    "gain",
    "gain: low",
    "gain: high",
    "verdict",
]
columns += ["variance", "variance's share", "fall of variance", "rise of bias"]
for scale in each(scales):
    show(
        explanation_figure(data[scale], beside),
        alt,
        data[scale],
        name="gain-and-variance",
        caption="If the paper is right, the points rise to the right, those of "
        "real encoders too. Long intervals leave the picture; the data have "
        "them.",
    )
    if len(beside):
        measured(*neighbours(data[scale], beside))
if len(beside):
    caption = (
        "Real encoders: scores and gains in points, terms in hundredths of the "
        "Brier loss."
    )
    show_table(beside[columns], caption, "real-encoders")

# %% [markdown]
# ## A few cells, carried out now
#
# The map is recorded, and a record that cannot be made again is worth little.
# The first training sets of a few cells went through the procedure in this
# build. On the kind of machine that made the record the scores are the same; on
# another, rounding differs, and training drifts apart as between two seeds.

# %% tags=["hide-input"]
for scale in scales:
    both = agreement(again, scale.frame("map"))
    if not scale.live and len(both):
        show_table(
            both[[*both.columns[1:], "run"]],
            "Runs carried out here and their records, report scores in points.",
            "again",
        )
        measured(agreement_sentence(both))

# %% [markdown]
# ## Exercises
#
# **Quick check.** A cell has a star and no frame. What does that say? (a) its
# own interval excludes zero, which chance does to one or two cells of 30; (b)
# its gain stands after the correction over all cells; (c) its variance falls.
#
# ```{admonition} Answer
# :class: dropdown
# (a). With many cells some intervals exclude zero by chance. The frame is for
# those that stand after Holm's correction.
# ```
#
# **Quick check.** Why is the gain the mean of three levels, and not the best of
# them? (a) the best level is always 20%; (b) the best of three looks better
# than it is; (c) the mean is larger.
#
# ```{admonition} Answer
# :class: dropdown
# (b). Chosen by its score, a level is chosen by luck too. The mean of levels
# fixed beforehand is not.
# ```
#
# **1.** If light pruning did nothing anywhere, how many of 30 independent
# cells would have a star? With what probability would none?

# %% tags=["hide-cell"]
print(f"{30 * 0.05:.1f} on average; none with probability {0.95**30:.0%}")

# %% [markdown]
# **2.** What gain does {shown}`table-slopes` promise where pruning takes two
# hundredths off the variance and leaves the bias alone? How sure is that?

# %% tags=["hide-cell"]
for scale in scales:
    row = slopes[scale].iloc[0]
    print(
        f"{scale.title}: {row['claim']}, {2 * row['effect']:+.2f} points",
        end="",
    )
    print(f" ({2 * row['low']:+.2f} to {2 * row['high']:+.2f})")

# %% [markdown]
# **3.** Carry out a cell of your own: 100 examples, 20% of the labels wrong,
# two training sets. Is it like its neighbours?

# %% tags=["hide-cell"]
planned = get_profile("lab").map
own = replace(few, map=some_cells(planned, "100", "0.2", 2))
mine = Chapter(own, store, workers=workers).here().records("map")
cell = map_table(cells(mine))
print(cell.drop(columns=["encoder", "task"], errors="ignore").T.to_string())

# %% [markdown]
# ## What was found

# %% tags=["hide-input"]
for scale in scales:
    claims = pd.concat([judged[scale], slopes[scale]])
    said = sentences(claims[~claims["detail"].astype(bool)])
    said += explained_sentence(found[scale])
    measured(*(f"{scale.title}: {line}" for line in said))
measured(*(line for more in greater for line in sentences(more)))

# %% [markdown]
# **What differs from the paper, and why.** The paper infers variance from
# gains; here both are measured, on a task whose answers are known, with models
# of less than a hundredth of BERT's size that need few examples to learn it.
# The map is of one task and one recipe: another learning rate or more epochs
# would move its borders. It says where to look for super tickets, not how large
# they are elsewhere.
#
# **Next**: [the lab](11_lab), where all of this is measured.

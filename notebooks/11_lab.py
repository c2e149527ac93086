# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 11 The lab
#
# ```{admonition} In this chapter
# **You will see** the small world in which this book can measure what real
# data hide: its language, its ten tasks, its wrong labels, and the two
# encoders that were pre-trained on it.
#
# **Claims under test**: none of the paper's. That labels are true by
# construction, that noise is what it says, and what fine-tuning can reach.
#
# **Cost**: of the six short runs of the learning curve.
# ```
#
# ## Why a lab
#
# The paper explains its gains by bias and variance, and draws them as a
# sketch. To *measure* them one needs many independent training sets and the
# true answer to each example. GLUE gives one training set, and labels that
# people may have got wrong. So we made a language of which we know
# everything, and small BERTs that know nothing else.

# %% tags=["parameters"]
profile = "lab"  # lab or smoke
task = "paraphrase"  # the task of the learning curve
seed = 0  # whole number: of the examples shown and of the runs
store = "../runs"  # folder (or fsspec URL) of the run store
workers = 0  # worker processes; 0: one per core

# %% tags=["hide-input"]
from random import Random

import numpy as np
import pandas as pd

import supertickets as st
from supertickets.chapters.chapter import Chapter
from supertickets.chapters.display import measured, show, show_table
from supertickets.chapters.lab import (
    example_table,
    pretraining_figure,
    pretraining_logs,
    task_table,
)
from supertickets.lab.language import draw_clause, sentence
from supertickets.studies import full_run, get_profile

scale = get_profile(profile)
here = Chapter(scale, store, workers=workers).here()

# %% [markdown]
# ## A language
#
# A sentence starts as a *meaning*: who does what to whom, how, where and
# when. It is then put into words, with a choice among synonyms, active and
# passive voice, and word orders. One meaning, six wordings:

# %%
rng = Random(seed + 3)
meaning = draw_clause(rng, "village")
print(
    f"{meaning.subject}\n  {meaning.verb} "
    f"({meaning.adverb or 'no adverb'})\n{meaning.object}\n"
)
for wording in sorted({sentence(rng, meaning) for _ in range(30)})[:6]:
    print(wording)

# %% [markdown]
# Whether one sentence follows from another is decided on meanings, by a small
# logic of broader and narrower words, quantifiers and negation: if every
# robber is chased, then some robber is. So every label is right by
# construction.
#
# ## Ten tasks
#
# Eight mirror the tasks of GLUE in kind, metric and relative size. Two more
# are for adaptation ([chapter 7](07_domain_adaptation)).

# %% tags=["hide-input"]
show_table(task_table(), "The tasks of the lab.", "tasks")
show_table(
    example_table(seed),
    "Two examples of each task with the true answer.",
    "examples",
)

# %% [markdown]
# ## Wrong labels, at a known rate
#
# A share of the *training* labels is wrong: each is replaced, with the
# probability that {shown}`table-tasks` calls noise, by another class. Labels
# for evaluation are right. So the best possible answer is known, and so is the
# part of the loss that no model can avoid. With two classes and 20% of labels
# wrong, the best probabilities are 0.8 and 0.2. Judged on labels that are
# wrong at that rate too, they cost $2 \cdot 0.2 \cdot 0.8 = 0.32$ in Brier
# score.

# %%
drawn = st.load_task("entailment", train_size=4000, dev_size=200, noise=0.2)
true = drawn.train.probabilities.argmax(axis=1)
wrong = (drawn.train.labels != true).mean()
best = drawn.train.probabilities
cost = ((best - np.eye(2)[drawn.train.labels]) ** 2).sum(axis=1).mean()
print(f"wrong training labels: {wrong:.3f} of {len(true)}, set to 0.2")
print(f"Brier score of the best probabilities on noisy labels: {cost:.3f}")

# %% [markdown]
# ## Training sets at will
#
# `train_seed` draws another training set and leaves dev and test alone. No
# training example occurs in them. {shown}`1#figure-figure-1` rests on this.

# %%
sets = [
    st.load_task("entailment", train_size=300, train_seed=k) for k in range(3)
]
for k, one in enumerate(sets):
    new = {*one.train.texts} - {*sets[0].train.texts}
    print(f"training set {k}: {len(new)} of 300 examples are not in set 0")
    assert one.dev.texts == sets[0].dev.texts
    assert not {*one.train.texts} & {*one.dev.texts}

# %% [markdown]
# ## Two encoders
#
# `lab-base` has 6 layers of 8 heads. `lab-large` is bigger, as BERT-large is
# to BERT-base. Both were pre-trained by us on sentences of the lab:
# guess masked words (`mlm`), say how two sentences are related (`pair`), and
# which words of one sentence occur in the other in a broader, narrower or
# opposite form (`match`). The script, the logs and the weights ship with the
# package.

# %% tags=["hide-input"]
logs = pretraining_logs()
alt = (
    "Three panels of falling loss curves over the steps of pre-training: masked"
    " words, pairs and matches; one line per encoder."
)
show(
    pretraining_figure(logs),
    alt,
    logs,
    name="pretraining",
    caption="Losses of pre-training: both encoders learn the lab's language.",
)
last = logs[logs["step"] == logs.groupby("encoder")["step"].transform("max")]
ends = last.pivot_table(index="encoder", columns="objective", values="loss")
show_table(
    ends.reset_index(),
    "Losses at the end of pre-training, nats.",
    "ends",
    decimals=4,
)

# %% [markdown]
# ## How much there is to learn
#
# Full models of one task, with more and more examples, without wrong labels
# and with many. Scores are on clean dev labels, so noise does not lower the
# best possible score, which is 100%. It only makes learning harder.

# %%
sizes = (50, 200, 800) if profile == "lab" else (16, 32)
grid = [(size, noise) for size in sizes for noise in (0.0, 0.3)]
specs = [
    full_run(
        scale.encoder,
        here.inputs.data(
            task, **{**scale.data_of(task), "train_size": size, "noise": noise}
        ),
        seed,
        scale.hyper_of(task),
    )
    for size, noise in grid
]
frame = here.carried_out(specs).set_index("run")
curve = pd.DataFrame(
    {
        "training examples": size,
        "wrong labels": f"{noise:.0%}",
        "score": f"{frame.loc[spec.id, 'report_score']:.1%}",
    }
    for (size, noise), spec in zip(grid, specs, strict=True)
)
show_table(curve, f"Full models of {task}, one run each.", "curve")
measured(
    f"With {sizes[-1]} clean examples {scale.encoder} reaches"
    f" {frame.loc[specs[-2].id, 'report_score']:.1%} of {task} right; with"
    f" {sizes[0]}, of which 30% are wrong,"
    f" {frame.loc[specs[1].id, 'report_score']:.1%} (one run each)."
)

# %% [markdown]
# ## What the lab can show, and what it cannot
#
# It **can** show whether a method does what it says: whether masks are exact,
# whether an interval covers the truth as often as it promises, how bias and
# variance move with pruning when both are known, and when light pruning helps
# by the size and the noise of the training set ({shown}`10#figure-map`).
#
# It **cannot** show that BERT on GLUE does the same. Its encoders are less than
# a hundredth of BERT's size and were taught, by their pre-training, the very
# comparisons that its tasks ask for. Fine-tuning mostly reads out what is
# there. So a model of the lab has little variance, and pruning has little of
# it to take away. Real encoders, on real data, stand first on the pages of
# this book wherever we have runs of them.

# %% [markdown]
# ## Exercises
#
# **Quick check.** A share of 30% of the training labels is wrong. What is the
# best accuracy on the dev examples? (a) 70%; (b) 85%; (c) 100%.
#
# ```{admonition} Answer
# :class: dropdown
# (c). Labels for evaluation are right. Wrong labels make learning harder, and
# leave the best possible score where it is.
# ```
#
# **1.** Draw twenty pairs of the task `inference` and answer them yourself.
# How often are you right?

# %% tags=["hide-cell"]
quiz = st.load_task("inference", train_size=30, dev_size=20, seed=seed)
for texts, label in zip(quiz.dev.texts, quiz.dev.labels, strict=True):
    print(f"{texts[0]}\n  {texts[1]}\n    -> {quiz.label_names[label]}")

# %% [markdown]
# **2.** What does always answering the more frequent class score on each task
# that is judged by accuracy? Compute it from the labels.

# %% tags=["hide-cell"]
for name in ("sentiment", "paraphrase", "question_answer", "inference"):
    labels = st.load_task(name, train_size=30, dev_size=600).dev.labels
    print(f"{name:16} {np.bincount(labels).max() / len(labels):.1%}")

# %% [markdown]
# **3.** What is the highest accuracy *on noisy labels* when 30% of two-class
# labels are wrong? And the Brier score of a model that is sure and always
# right about the truth?

# %% tags=["hide-cell"]
noise = 0.3
print(f"accuracy at most {1 - noise:.0%}")
print(
    f"Brier {noise * 2:.2f}; with honest probabilities "
    f"{2 * noise * (1 - noise):.2f}"
)

# %% [markdown]
# ## What was found
#
# In the lab the truth is known: labels, noise and the best possible score.
# Training sets can be drawn at will. That makes bias and variance measurable.
# The price is distance from real language.
#
# **What differs from the paper, and why.** The paper has no such lab. Its
# Figure 1 (middle and right) is a sketch; we wanted numbers.
#
# **Next**: [explore the records](../explore) unit by unit and cell by cell.

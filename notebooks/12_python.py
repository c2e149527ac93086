# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 12 From Python
#
# ```{admonition} In this chapter
# **You will see** each step of `supertickets find` as a call of its own, on a
# data frame: for whoever wants a step done otherwise.
#
# **Claims under test**: none.
#
# **Cost**: of a few short runs of the lab.
# ```

# %% tags=["parameters"]
profile = "lab"  # lab or smoke
encoder = "lab-base"  # minilm, a local folder, a Hub id ...
seed = 0  # whole number: of the task head, batches and dropout

# %% tags=["hide-input"]
import os
from tempfile import mkdtemp

import pandas as pd
import torch

import supertickets as st

folder = mkdtemp()
os.environ["SUPERTICKETS_CACHE"] = folder  # so that nothing is left behind

# %% [markdown]
# ## Data
#
# A file, a data frame or a data set of the `datasets` library. Here a frame is
# made of the lab's pairs of sentences; dev is cut from it. The score may be a
# function of yours, named by its module.

# %%
size = 100 if profile == "smoke" else 600
pairs = st.load_task("entailment", train_size=size)
frame = pd.DataFrame(pairs.train.texts, columns=["first", "second"])
frame["follows"] = ["no" if label else "yes" for label in pairs.train.labels]
data = st.data_ref(
    "pairs",
    train=frame,
    dev_share=0.3,
    text=("first", "second"),
    label="follows",
    metrics="sklearn.metrics:balanced_accuracy_score",
)
task = data.load()
print(task.label_names, len(task.train), len(task.dev))

# %% [markdown]
# ## A run, and its model
#
# A spec says what determines the result.
# {func}`~supertickets.training.fine_tuned` carries it out and hands back the
# model with the record; {func}`~supertickets.training.fine_tune` gives the
# record alone.

# %%
hyper = st.Hyper(learning_rate=1e-3, batch_size=16, epochs=6, max_length=64)
full = st.full_run(encoder, data, seed, hyper)
model, record = st.fine_tuned(full)
print(f"report score {record.metrics['report']['score']:.3f}")

# %% [markdown]
# ## Answers
#
# `encode` and `predict` work on splits; the outputs keep the split's order.

# %%
tokenizer = st.load_tokenizer(encoder)
outputs = st.predict(model, st.encode(task.dev, tokenizer, 64))
right = (outputs.argmax(axis=1) == task.dev.labels).mean()
print(f"{right:.1%} of all dev pairs are answered rightly")

# %% [markdown]
# ## Importance
#
# The record has the scores of the training set. Of other texts they are had
# from batches as a `DataLoader` yields them.

# %%
few = frame.head(32)
columns = few["first"].tolist(), few["second"].tolist()
batch = dict(tokenizer(*columns, padding=True, return_tensors="pt"))
labels = [task.label_names.index(answer) for answer in few["follows"]]
own = st.importance_scores(model, [{**batch, "labels": torch.tensor(labels)}])
scores = record.scores("example")
print("the most important head (layer, head):", end=" ")
print(*(divmod(int(s.heads.argmax()), s.heads.shape[1]) for s in (scores, own)))

# %% [markdown]
# ## The ticket, rewound
#
# The smaller model is trained from the pre-trained weights again. What is saved
# of it answers new texts, with the probability of every class.

# %%
smaller, pruned = st.fine_tuned(st.rewound(full, "winning", 0.3), scores)
ticket = st.winning_ticket(scores, 0.3)
assert (ticket.heads == pruned.arrays["heads"]).all()
print(f"report score {pruned.metrics['report']['score']:.3f}", end=", ")
print(f"{pruned.size['weights_remaining']:.0%} of the weights")

st.save_compacted(smaller, ticket, f"{folder}/model", tokenizer)
texts = list(zip(*columns, strict=True))[:3]
answers = st.predict_texts(f"{folder}/model", texts).round(2)
answers.columns = answers.columns.str.removeprefix("probability_")
print(answers.to_string(index=False))

# %% [markdown]
# `st.find(data, encoder, out="found")` does all of this at eight levels,
# chooses one, and reports; [Use it on your data](../use_it) has the command.
#
# **Next**: [what this copy of the book rests on](../status).

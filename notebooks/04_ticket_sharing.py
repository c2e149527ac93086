# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 4 Ticket sharing
#
# ```{admonition} In this chapter
# **You will see** Figure 2 drawn from real tickets (which heads and FFNs are
# used by which tasks), Algorithm 1 beside the code that carries it out, and
# what "only $\theta_i$ is updated" means for an optimiser with momentum.
#
# **Claim under test** (section 4): tasks can share one encoder although each
# uses its own super ticket; what the tickets have in common is shared, what
# only one has is that task's alone. Whether that is *better* is for
# [chapter 6](06_multi_task), {shown}`6#table-claims`.
#
# **Cost**: the super tickets of one seed, which are in the store if chapter 5
# has run.
# ```

# %% tags=["parameters"]
profile = "lab"  # lab, minilm, paper-base, paper-large, or smoke
tasks = ""  # comma-separated; empty: the profile's
seed = 0  # of the single-task runs whose super tickets are shared
encoder = ""  # lab-base, minilm, a folder or a Hub id; empty: the profile's
train_size = 0  # training examples of a task at most; 0: the profile's
dev_size = 0  # dev examples of a task at most; 0: the profile's
store = "../runs"  # folder (or fsspec URL) of the run store
data_dir = ""  # folder with TASK/train.tsv ...; empty: the lab, or the Hub
workers = 0  # worker processes; 0: one per core

# %% tags=["hide-input"]
import pandas as pd
import torch

import supertickets as st
from supertickets.chapters.chapter import Chapter
from supertickets.chapters.display import (
    inconsistencies,
    measured,
    show,
    show_table,
)
from supertickets.chapters.inconsistencies import paper_notes
from supertickets.chapters.multi_task.figures import (
    sharing_data,
    sharing_figure,
)
from supertickets.models import example_losses
from supertickets.runs import super_tickets
from supertickets.sharing import isolated, shared_model, task_data, using
from supertickets.studies import get_profile, phase_transition
from supertickets.tickets import shared_units
from supertickets.training import train_batches

limits = {"train_size": train_size, "dev_size": dev_size}
scale = get_profile(
    profile, tasks=tasks, seeds=[seed], encoder=encoder, **limits
)
here = Chapter(scale, store, data_dir=data_dir, workers=workers).here()
specs = phase_transition(scale, ["winning"], here.inputs)
chosen = super_tickets(here.carried_out(specs)).set_index("task")
tickets = {
    task: here.store[chosen.loc[task, "run"]].ticket() for task in scale.tasks
}
for task, ticket in tickets.items():
    print(
        f"{task}: super ticket at {ticket.level:.0%}, {ticket.kept_heads} "
        f"heads and {ticket.kept_ffns} FFNs kept"
    )

# %% [markdown]
# ## Who uses what (Figure 2)
#
# ```{admonition} The paper says
# :class: paper
# "For a certain network structure (e.g., an attention head), if it is
# identified as super tickets by multiple tasks, then its weights are jointly
# updated by these tasks; if it is only selected by one specific task, then its
# weights are updated by that task only; otherwise, its weights are completely
# pruned."
# ```
#
# The paper's Figure 2 is a drawing. This is the real thing, for the super
# tickets just found: every disc is a head or an FFN, every wedge a task.

# %% tags=["hide-input"]
alt = (
    "A disc for every head and FFN, layers down and heads across, with one "
    "coloured wedge per task that uses the unit: "
    + ", ".join(tickets)
    + "; grey where a task does not."
)
show(
    sharing_figure(tickets),
    alt,
    sharing_data(tickets),
    name="figure-2",
    caption="Figure 2: a disc of one colour belongs to one task alone; a grey "
    "one is not in the shared model.",
)

# %%
names = {
    task: here.store[chosen.loc[task, "run"]].tasks[task].num_labels
    for task in scale.tasks
}
shared = shared_model(scale.encoder, names, tickets, seed)
shape = st.shape_of(st.load_encoder(scale.encoder, 2, seed))
units = shared_units(tickets)
parts = [
    ("used by some task (stored)", units.union),
    ("used by all tasks", units.intersection),
]
parts += [
    (f"used by {task} alone", ticket)
    for task, ticket in units.exclusive.items()
]
show_table(
    pd.DataFrame(
        {"units": name, "heads": part.kept_heads, "FFNs": part.kept_ffns}
        for name, part in parts
    ),
    "The tickets together: union, intersection and what only one task uses.",
    "shared-units",
)
stored, average = units.stored(shape), units.average_compression(shape)
measured(
    f"The shared encoder stores {stored:.1%} of the weights (the union of "
    f"{len(tickets)} tickets). The paper's "
    "'average compression', the mean of what each ticket keeps, would be "
    f"{average:.1%}: no model has so few."
)
inconsistencies(*paper_notes(["P10"]))

# %% [markdown]
# ## Algorithm 1
#
# ```{admonition} The paper says
# :class: paper
# For each task $i$, initialise $\theta_i = M(\theta, \Omega_i)$. In each epoch
# shuffle the data; for each minibatch $b_i$ of task $i$: compute the loss
# $\mathcal{L}_i(\theta_i)$, compute its gradient, update $\theta_i$. (Retold.)
# "The parameters to be updated in task $i$ are denoted as
# $\theta_i = M(\theta, \Omega_i)$."
# ```
#
# | Algorithm 1 | here |
# |---|---|
# | $M(\theta, \Omega_i)$ | {func}`~supertickets.sharing.using`: the gates |
# | minibatch $b_i$ | {func}`~supertickets.sharing.loop.multi_task_batches` |
# | update $\theta_i$ | {func}`~supertickets.sharing.isolated`: its own Adamax |
#
# A gradient of zero is not enough: an optimiser with momentum moves a parameter
# after its gradient has become zero, and weight decay moves it always. The
# published code leaks both ways. Here the other tasks' parameters do not move.
#
# Three steps of two tasks, momentum and weight decay switched on. Beside the
# package's steps stands Algorithm 1 written out in double precision: a mask
# picks $\theta_i$, and Adamax {cite:p}`kingma2015adam` works on it alone.

# %%
tokenizer = st.load_tokenizer(scale.encoder)
refs = {spec.data.name: spec.data for spec in specs}
data = {
    task: task_data(ref.load(), tokenizer, scale.hyper.max_length)
    for task, ref in refs.items()
}
first, second = scale.tasks[0], scale.tasks[-1]
rate, decay = scale.hyper.learning_rate, 0.01
for model in shared.models.values():
    model.double()  # so that rounding cannot be taken for a difference
with isolated(shared) as whole:
    theta = whole.vector.clone()
    momentum, norm, updates = (torch.zeros_like(theta) for _ in range(3))
    for name in (first, second, first):
        batch = next(
            iter(
                train_batches(data[name].train, scale.hyper.batch_size, seed, 0)
            )
        )
        with using(shared, name) as model:
            example_losses(
                model(**batch.inputs).logits, batch.labels
            ).mean().backward()
        whole.collect()  # all gradients into one vector

        mine = torch.from_numpy(whole.owned(name))  # M(theta, Omega_i)
        g = whole.gradient[mine]
        g = g * min(1.0, 1.0 / (float(g.norm()) + 1e-6))  # clipped
        g = g + decay * theta[mine]
        momentum[mine] = 0.9 * momentum[mine] + 0.1 * g
        norm[mine] = torch.maximum(0.999 * norm[mine], g.abs() + 1e-8)
        updates[mine] += 1
        step = momentum[mine] / norm[mine] / (1 - 0.9 ** updates[mine])
        theta[mine] -= rate * step

        before = whole.vector.clone()
        steps = whole.coming(name)  # how often each part has been updated
        whole.update(name, steps, rate, clip=1.0, weight_decay=decay)
        moved = whole.vector != before
        print(
            f"step of {name}: moved {int(moved[mine].sum()):,} of its"
            f" {int(mine.sum()):,} parameters, {int(moved[~mine].sum())} of "
            "the others"
        )
        assert not moved[~mine].any()
    gap = float((whole.vector - theta).abs().max())
    print(
        "after three steps the package and Algorithm 1 written out differ by "
        f"{gap:.1e} at most"
    )
    assert gap < 1e-9

# %% [markdown]
# ## Exercises
#
# **Quick check.** Two of three tasks keep a head. Whose minibatches update it?
# (a) those of both; (b) those of all three; (c) those of the task that comes
# first.
#
# ```{admonition} Answer
# :class: dropdown
# (a). "If it is identified as super tickets by multiple tasks, then its weights
# are jointly updated by these tasks." The third task does not even use it.
# ```
#
# **Quick check.** How large is the shared encoder? (a) as large as the mean of
# the tickets; (b) as large as what all tickets have in common; (c) as large as
# the union of the tickets.
#
# ```{admonition} Answer
# :class: dropdown
# (c). Whatever any task uses must be stored. The paper's *average compression*
# is the mean, which is smaller.
# ```
#
# **1.** How much of the encoder do two of the tasks' tickets have in common?
# Compare with two random tickets of the same sizes.

# %% tags=["hide-cell"]
one, two = tickets[first], tickets[second]
common = (one.heads & two.heads).sum() / one.heads.sum()
chance = two.heads.mean()
print(
    f"{common:.0%} of the heads of {first} are used by {second} too; at random "
    f"it would be {chance:.0%}"
)

# %% [markdown]
# **2.** What would Ticket-Share be if every ticket were full? And with one task
# only?

# %% tags=["hide-cell"]
full = st.full_ticket(one.shape)
print(shared_units({first: full, second: full}).stored(shape))
print(
    "Everything is shared: multi-task training (MT-DNN). One task: rewinding."
)

# %% [markdown]
# **3.** A third task joins, whose ticket lies within the union. How much bigger
# does the stored encoder get?

# %% tags=["hide-cell"]
third = st.random_ticket(one.shape, 0.8, seed=seed).intersection(units.union)
more = shared_units({**tickets, "third": third})
print(
    f"stored {units.stored(shape):.1%} before, {more.stored(shape):.1%} after: "
    "only its task head comes on top"
)

# %% [markdown]
# ## What was found
#
# Sharing by tickets needs no copy of the model per task and no masks on the
# weights: gates on the heads, FFNs skipped, and an optimiser that knows which
# stretches of the parameter vector a task owns. With full tickets for all tasks
# it is MT-DNN, with one task it is rewinding; both are tested to the last bit
# or to rounding.
#
# **What differs from the paper.** The size of the shared model is that of the
# union of the tickets ({shown}`table-shared-units`); the paper's Table 3 gives
# the mean of the tickets. In the authors' code a step of one task also moves
# parameters outside its ticket, by momentum and weight decay.
#
# **Next**: [single task experiments](05_single_task), and then
# [the multi-task model trained](06_multi_task).

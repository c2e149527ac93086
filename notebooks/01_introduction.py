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
# **You will see** Figure 1 of the paper with all three panels measured: the score of winning, random and losing
# tickets, and the bias and the variance behind it, from models trained on many independent training sets.
#
# **Claims under test** (section 1): the score of winning tickets rises, then falls; while a model shrinks, its variance
# falls and its bias rises.
#
# **Cost**: profile `lab` a few minutes on two CPU cores; `minilm` hours on a CPU, minutes on a GPU; `paper-base` about
# a GPU-day.
# ```
#
# A pre-trained language model fine-tuned on a small task has far more parameters than the task has examples. Liang et
# al. {cite:p}`liang2021super` prune whole attention heads and feed-forward layers (FFNs) by their importance, rewind
# what is left to its pre-trained weights and fine-tune again. The surviving structure is a *ticket*: *winning* if the
# most important units were kept, *losing* if the least important ones, *random* if drawn at random.
#
# ```{admonition} The paper says
# :class: paper
# "[...] phase transition phenomenon: As the compression ratio increases, generalization performance of the winning
# tickets first improves then deteriorates after a certain threshold."
# ```
#
# The paper reads this as a trade-off: light pruning lowers the *variance* of the model (how much it depends on the
# training set it happened to see) before it raises its *bias* (how wrong it is on average). Its Figure 1 draws the
# score from experiments, but the bias and the variance by hand: on GLUE nobody knows the true distribution of labels,
# and there is one training set. In the lab ([the glossary](../glossary) says what it is) both can be had: training sets
# are drawn afresh at will, and the probability of every label is known.

# %% tags=["parameters"]
profile = "lab"  # lab, minilm, paper-base, paper-large, or smoke
encoder = ""  # lab-base, minilm, a local folder or a Hub id; empty: the profile's
task = ""  # name of one task; empty: the profile's
train_size = 0  # examples in a training set; 0: the profile's
dev_size = 0  # at most so many dev examples; 0: the profile's choice
n_sets = 0  # number of training sets; 0: the profile's
kinds = "winning, random, losing"  # kinds of tickets, comma-separated
loss = ""  # the figure's: brier, cross_entropy, zero_one, or squared for regression; empty: brier, or squared
store = "../runs"  # folder (or fsspec URL) of the run store
data_dir = ""  # folder with TASK/train.tsv and so on; empty: the lab, or the Hub
workers = 0  # worker processes; 0: one per core

# %%
from dataclasses import replace

from supertickets.chapters.bias_variance.claims import directions, disagreements
from supertickets.chapters.bias_variance.figures import trade_off_figure
from supertickets.chapters.bias_variance.tables import trade_off, variance_parts
from supertickets.chapters.claims import sentences
from supertickets.chapters.display import measured, show, show_claims, show_table
from supertickets.chapters.single_task.claims import boundaries, phase_sentence, transitions
from supertickets.engines import run_all
from supertickets.runs import RunStore, missing_sentence
from supertickets.studies import at_hand, get_profile, training_set_sweeps, with_training_sets

scale = with_training_sets(get_profile(profile, encoder=encoder, dev_size=dev_size), task, train_size, n_sets)
inputs = at_hand(data_dir)
specs = training_set_sweeps(scale, inputs, [kind.strip() for kind in kinds.split(",")])
run_store = RunStore(store)
summary = run_all(specs, run_store, workers=workers or None, progress=False)
frame = run_store.frame(specs)
print(f"{len(frame)} of {len(specs)} runs: {scale.sets.n} training sets of {scale.sets.size} examples of the task")
print(f"{scale.sets.task}; training time in all: {frame['seconds'].sum() / 60:.1f} core-minutes; {scale.encoder}")
print(missing_sentence(frame, specs))

# %% [markdown]
# ## Figure 1
#
# Every training set goes through the whole procedure on its own: fine-tune the full model, score its units, and at each
# of the sparsity levels prune, rewind and fine-tune the three kinds of tickets. No two training sets share their
# randomness. All models are evaluated on the same examples, which none of them has seen, and for each of these
# examples $x$ with true label distribution $q(x)$ and predictions $p_1(x), \dots, p_T(x)$ the expected loss splits into
#
# $$
# \underbrace{1 - \sum_y q_y^2}_{\text{noise}}
# + \underbrace{\sum_y (\bar p_y - q_y)^2}_{\text{bias}^2}
# + \underbrace{\frac{1}{T} \sum_t \sum_y (p_{t,y} - \bar p_y)^2}_{\text{variance}}
# $$
#
# (the Brier form; bias and variance are corrected for the finite number of training sets,
# {func}`supertickets.bias_variance`). Phases as the paper defines them: I up to the best level, II until the winning
# tickets meet the random ones, III beyond; the boundaries are estimated from the runs.

# %%
records = list(run_store.records([spec.id for spec in specs], arrays=True))
terms = trade_off(records, loss)
both = {"winning", "random"} <= set(frame["kind"])
phases = boundaries(frame) if both else None
alt = (
    "Three panels against the weights remaining, 100 per cent at the left: score, variance and squared bias of winning "
    "tickets in blue with circles, random ones in orange with squares, losing ones in green with triangles; the full "
    "model is a dashed grey line. Phases I, II and III are shaded in rising grey."
)
show(trade_off_figure(frame, terms, phases), alt, terms, name="figure-1")

# %%
if phases is not None:
    measured(phase_sentence(phases))

# %% [markdown]
# ## Does it add up?
#
# Noise, bias and variance are estimated from averages of the predictions; the expected loss is computed from the
# predictions directly. The largest difference between the sum and the loss, over all points of the figure:

# %%
print(f"largest |noise + bias^2 + variance - loss|: {terms['residual'].abs().max():.1e}")
assert terms["residual"].abs().max() < 1e-6
wide = (
    terms.pivot_table(index=["kind", "level", "n_sets"], columns="term", values="value", sort=False)
    .reset_index()
    .rename_axis(columns=None)
)
show_table(
    wide[["kind", "level", "n_sets", "noise", "bias2", "variance", "error"]],
    "Terms of the expected loss by kind and sparsity level; n_sets: training sets behind a row.",
    "terms",
    decimals=4,
)

# %% [markdown]
# ## Does variance fall, and does bias rise?
#
# Bands of single levels overlap even where every training set agrees, so the question is put to differences: the same
# training sets and examples, winning ticket against full model, on the mean of the levels; and by every loss, since
# "bias" and "variance" mean something else for each. Brier loss and cross-entropy grade how sure an answer is, 0-1
# loss, the loss behind the score, only which answer it is. The levels are details, a family of their own.

# %%
changes = directions(records)
claims, details = (changes.loc[changes["detail"] == detail] for detail in (False, True))
show_claims(claims, "Changes of bias and variance, hundredths of the loss, 95% intervals.", "directions")
show_claims(details, "The same, winning tickets level by level.", "directions-by-level")

# %% [markdown]
# ### Whose variance is it?
#
# A model varies because its training set does, and because its task head and the order of its examples are drawn. A
# second seed for every training set tells the two parts apart (law of total variance), for the full model and the
# lightest winning ticket.

# %%
few = replace(scale, levels=scale.levels[:1])
twice = training_set_sweeps(few, inputs, ["winning"], repeats=2)
run_all(twice, run_store, workers=workers or None, progress=False)
parts = variance_parts(run_store.records([spec.id for spec in twice], arrays=True), loss)
show_table(parts, "Variance split into the training set's part and the seed's (two seeds a set).", "parts", decimals=4)

# %% [markdown]
# ## What was found

# %%
measured(*sentences(transitions(frame)), *sentences(claims), *disagreements(changes))

# %% [markdown]
# **What differs from the paper, and why.** The paper's middle and right panels are sketches, and its training set is
# one; here each point is an average over training sets, so the left panel's spread contains what a new training set
# would change, not only a new seed. A lab encoder has been taught by its pre-training to compare sentences, so that
# fine-tuning has less to learn from the examples than BERT has: its variance is small, and so is what pruning can take
# from it. Where a claim of the paper does not show here, the box above says so.
#
# **Next**: [how super tickets are found](03_finding_super_tickets).

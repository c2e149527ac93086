# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 3 Finding super tickets
#
# ```{admonition} In this chapter
# **You will see** the method of section 3 step by step, each equation beside
# the code that carries it out: masks, importance, pruning, rewinding, and the
# choice of the super ticket.
#
# **Claims under test**: that masking is exact and equals removal; that the
# importance score says which units matter; that rewinding starts from the
# pre-trained weights and nothing else.
#
# **Cost**: of one seed of one task; a run that is in the store is never
# repeated.
# ```

# %% tags=["parameters"]
profile = "lab"  # lab, minilm, paper-base, paper-large, or smoke
task = ""  # one task of the profile; empty: its first
seed = 0  # whole number: task head, batches, dropout
store = "../runs"  # folder (or fsspec URL) of the run store
data_dir = ""  # folder with TASK/train.tsv ...; empty: the lab, or the Hub
workers = 0  # worker processes; 0: one per core

# %% tags=["hide-input"]
import numpy as np
import torch
from torch.nn.functional import cross_entropy

import supertickets as st
from supertickets.chapters.chapter import Chapter
from supertickets.chapters.display import measured, show, show_table
from supertickets.chapters.finding import (
    estimator_agreement,
    importance_figure,
    ticket_sizes,
    tickets_figure,
)
from supertickets.chapters.single_task.figures import (
    phase_transition_data,
    phase_transition_figure,
)
from supertickets.runs import super_tickets
from supertickets.studies import full_run, get_profile, ticket_sweep
from supertickets.tickets import ESTIMATORS
from supertickets.training import cached_encode, eval_batches

scale = get_profile(profile)
name = task or scale.tasks[0]
hyper = scale.hyper_of(name)
here = Chapter(scale, store, data_dir=data_dir, workers=workers).here()
data = here.inputs.data(name, **scale.data_of(name))
examples = data.load()
noisy = data.in_lab and data.noise != 0
wrong = " (some labels are wrong on purpose)" if noisy else ""
print(f"{name}: {len(examples.train)} training examples{wrong}, for instance")
for texts, label in list(
    zip(examples.train.texts, examples.train.labels, strict=True)
)[:3]:
    print(
        "  " + " | ".join(texts),
        "->",
        examples.label_names[label]
        if examples.label_names
        else round(float(label), 2),
    )

# %% [markdown]
# ## Masks
#
# ```{admonition} The paper says
# :class: paper
# In each Transformer layer, "we associate mask variables $\xi_h$ to each
# attention head and $\nu$ to the FFN":
#
# $$
# \mathrm{MHA}(Q, x) = \sum_{h}^{H} \xi_h H_h(Q, x, W_h^{\{Q,K,V\}}) W_h^O,
# \qquad \mathrm{FFN}(z) = \nu\,\mathrm{FFN}(z),
# $$
#
# "where $\xi_h, \nu \in \{0, 1\}$, and a 0 value indicates that the
# corresponding structure is pruned."
# ```
#
# A set of masks is a {class}`~supertickets.tickets.Ticket`. `masked` puts it on
# a live model: a head's mask multiplies what its attention gathered, before the
# output projection; an FFN's multiplies its output, before the residual sum.
# `compact` removes the same units for good. In double precision the two agree
# to rounding:

# %%
model = (
    st.load_encoder(scale.encoder, num_labels=examples.num_labels, seed=seed)
    .double()
    .eval()
)
shape = st.shape_of(model)
ticket = st.random_ticket((shape.n_layers, shape.n_heads), level=0.5, seed=seed)
tokenizer = st.load_tokenizer(scale.encoder)
batch = next(
    iter(
        eval_batches(
            cached_encode(examples, "dev", tokenizer, hyper.max_length)
        )
    )
)
with torch.no_grad():
    plain = model(**batch.inputs).logits
    with st.masked(model, ticket):
        by_mask = model(**batch.inputs).logits
    by_removal = st.compact(model, ticket)(**batch.inputs).logits
    with st.masked(model, st.full_ticket((shape.n_layers, shape.n_heads))):
        all_ones = model(**batch.inputs).logits
print(
    f"{shape.n_layers} layers x {shape.n_heads} heads; kept: "
    f"{ticket.kept_heads} heads, {ticket.kept_ffns} FFNs"
)
print(
    "masks of ones change the logits by exactly "
    f"{float((all_ones - plain).abs().max())}"
)
print(
    "the ticket changes them by up to         "
    f"{float((by_mask - plain).abs().max()):.3g}"
)
print(
    "masked and compacted differ by at most   "
    f"{float((by_mask - by_removal).abs().max()):.3g}"
)
assert torch.equal(all_ones, plain)
assert (by_mask - by_removal).abs().max() < 1e-10

# %% [markdown]
# ## Importance
#
# ```{admonition} The paper says
# :class: paper
# "The importance score is defined as the expected sensitivity of the model
# outputs with respect to the mask variables":
#
# $$
# I^h_{\mathrm{MHA}} = \mathop{\mathbb{E}}_{x \sim \mathcal{D}_x}
# \left| \frac{\partial \mathcal{L}(x)}{\partial \xi_h} \right|,
# \qquad
# I_{\mathrm{FFN}} = \mathop{\mathbb{E}}_{x \sim \mathcal{D}_x}
# \left| \frac{\partial \mathcal{L}(x)}{\partial \nu} \right| .
# $$
#
# "We compute the importance scores for all the mask variables in a single
# backward pass at the end of fine-tuning."
# ```
#
# In words: scale a unit a little and see how the loss of one example moves, up
# or down. The average size of that move is the unit's importance; the units
# that move it least are pruned first. Here is the definition, taken word by
# word: mask variables on the lab's BERT, a backward pass for one example after
# the other, absolute values, the mean.

# %%
by_hand = st.load_encoder("lab-base", num_labels=2, seed=seed).double().eval()
layers, n_heads = by_hand.bert.encoder.layer, by_hand.config.num_attention_heads
xi = torch.ones(len(layers), n_heads, dtype=torch.float64, requires_grad=True)
nu = torch.ones(len(layers), dtype=torch.float64, requires_grad=True)
size = by_hand.config.hidden_size // n_heads
for i, layer in enumerate(layers):
    layer.attention.output.dense.register_forward_pre_hook(
        lambda _, context, i=i: (context[0] * xi[i].repeat_interleave(size),)
    )
    layer.output.dense.register_forward_hook(
        lambda _, given, out, i=i: nu[i] * out
    )

pairs = st.load_task("entailment", train_size=200, dev_size=64)
lab_tokens = cached_encode(pairs, "dev", st.load_tokenizer("lab-base"), 64)
few = next(iter(eval_batches(lab_tokens)))
of_heads, of_ffns = torch.zeros_like(xi), torch.zeros_like(nu)
for example in range(len(few.labels)):
    one = slice(example, example + 1)
    inputs = {key: value[one] for key, value in few.inputs.items()}
    loss = cross_entropy(by_hand(**inputs).logits, few.labels[one])
    slopes = torch.autograd.grad(loss, (xi, nu))
    of_heads += slopes[0].abs() / len(few.labels)
    of_ffns += slopes[1].abs() / len(few.labels)

# %% [markdown]
# The absolute value comes before the mean, so the gradient of a whole batch
# will not do: ups and downs would cancel. The package gives every example mask
# variables of its own. Then a single backward pass over a batch yields one
# gradient per example: {func}`~supertickets.models.importance_scores`. It is
# the same number, many times faster:

# %%
plain_model = st.load_encoder("lab-base", num_labels=2, seed=seed).double()
ours = st.importance_scores(plain_model, [few])
gap = max(
    abs(of_heads.detach().numpy() - ours.heads).max(),
    abs(of_ffns.detach().numpy() - ours.ffns).max(),
)
print(f"by hand and `importance_scores` differ by {gap:.1e} at most")
assert gap < 1e-12

# %% [markdown]
# Now for real: fine-tune, then score on the training set.

# %%
small = (
    shape.n_layers * shape.n_heads <= 48
)  # the truth costs one pass over the data for every unit
estimators = tuple(
    name for name in ESTIMATORS if small or name != "leave_one_out"
)
scored = full_run(scale.encoder, data, seed, hyper, estimators)
here.carried_out([scored])
record = here.store[scored.id]
scores = record.scores("example")
print(
    f"fine-tuned for {len(record.epochs)} epochs, kept epoch "
    f"{record.best_epoch}"
)
print(f"report score {record.metrics['report']['score']:.3f}")

# %% tags=["hide-input"]
alt = (
    f"Importance of every head of {scale.encoder} on {name}, layer by layer "
    "after l2 normalisation, and of every FFN."
)
show(
    importance_figure(scores),
    alt,
    name="importance",
    caption="How much the loss reacts to each unit: dark cells and long bars "
    "are kept longest.",
)

# %% [markdown]
# The score is a first-order stand-in for what removal would really do. On a
# small model the truth can be had: mask one unit at a time and see by how much
# the training loss rises (`leave_one_out`). {shown}`table-estimators` gives
# Spearman's rank correlation between the estimators, heads (normalised by
# layer, as they are ranked) and FFNs apart. `example` is the paper's score,
# `token` what the authors' code computes, the absolute value taken per token;
# `signed` leaves the absolute value out, `squared` takes the square instead;
# `magnitude` is the size of a unit's weights, without any example.

# %%
agreement = estimator_agreement(record)
show_table(
    agreement, "Rank correlation between importance estimators.", "estimators"
)
told = {
    row["estimator"]: f"{row['estimator']} heads at "
    f"{row['leave_one_out: heads']:.2f}, FFNs at "
    f"{row['leave_one_out: FFNs']:.2f}"
    for row in agreement.to_dict("records")
    if "leave_one_out: FFNs" in row
}
told.pop("leave_one_out", None)
if told:
    measured(
        "How well a score ranks units, beside what their removal does to the "
        f"loss (1: the same order): {'; '.join(told.values())} ({name}, one "
        f"run of {shape.n_layers} layers)."
    )

# %% [markdown]
# ## Pruning
#
# ```{admonition} The paper says
# :class: paper
# "We perform one-shot pruning of the same percent of heads and feed-forward
# layers with the lowest importance scores."
# ```
#
# At level $p$ that is $\lfloor p \cdot \text{heads} \rfloor$ heads, ranked over
# all layers together after layer-wise $\ell_2$ normalisation, and
# $\lfloor p \cdot \text{layers} \rfloor$ FFNs. One head per layer always stays:
# the paper does not say so, the authors' code does it. *Losing* tickets prune
# from the other end, *random* ones draw without replacement; all three prune
# exactly as many.
#
# By hand: normalise by layer, walk up from the lowest score, and pass over a
# layer's last head.

# %%
ranked = scores.heads / np.linalg.norm(scores.heads, axis=1, keepdims=True)
kept = np.ones_like(ranked, dtype=bool)
to_prune = kept.size // 2
for unit in np.argsort(ranked, axis=None, kind="stable"):
    layer, head = divmod(int(unit), kept.shape[1])
    if to_prune and kept[layer].sum() > 1:
        kept[layer, head] = False
        to_prune -= 1
kept_ffns = np.ones(len(kept), dtype=bool)
kept_ffns[np.argsort(scores.ffns, kind="stable")[: len(kept) // 2]] = False

half = st.winning_ticket(scores, 0.5)
assert np.array_equal(kept, half.heads)
assert np.array_equal(kept_ffns, half.ffns)
print(
    f"{kept.sum()} of {kept.size} heads and {kept_ffns.sum()} of {len(kept)} "
    "FFNs stay, as `winning_ticket` says"
)

# %% tags=["hide-input"]
show_table(
    ticket_sizes(shape, scale.levels),
    "What each sparsity level prunes and keeps.",
    "sizes",
    decimals=3,
)
shown = [level for level in (0.2, 0.5, 0.8) if level in scale.levels]
alt = (
    "Kept heads and FFNs of the winning ticket, layer by layer, at "
    + ", ".join(f"{level:.0%}" for level in shown)
    + "."
)
show(
    tickets_figure([st.winning_ticket(scores, level) for level in shown]),
    alt,
    name="tickets",
    caption="What winning tickets keep, filled: each lies within the lighter "
    "one before it.",
)

# %% [markdown]
# ## Rewinding
#
# ```{admonition} The paper says
# :class: paper
# "We reset the parameters of the winning tickets to their values in the
# pre-trained weights, and subsequently fine-tune the subnetwork with the
# original learning rate schedule." {cite:p}`renda2020comparing`
# ```
#
# Starting again from the pre-trained encoder, cut down to the ticket, does just
# that. Every parameter that survives has its pre-trained value, bit by bit:

# %%
pretrained = st.load_encoder(
    scale.encoder, num_labels=examples.num_labels, seed=seed
)
rewound_start = st.compact(pretrained, st.winning_ticket(scores, 0.5))
whole = dict(pretrained.named_parameters())
same = {
    n: torch.equal(p, whole[n])
    for n, p in rewound_start.named_parameters()
    if p.shape == whole[n].shape
}
cut = [
    n for n, p in rewound_start.named_parameters() if p.shape != whole[n].shape
]
gone = len(whole) - len(same) - len(cut)
print(
    f"{len(same)} tensors kept whole, all equal: {all(same.values())}; "
    f"{len(cut)} cut to the kept heads; {gone} gone"
)
assert all(same.values())

# %% [markdown]
# ## The super ticket
#
# ```{admonition} The paper says
# :class: paper
# "The super tickets are selected as the winning tickets with the best rewinding
# validation performance."
# ```
#
# One seed of one task, winning tickets only; the star is the level with the
# best score on the selection split. The curve itself is of the report split,
# which the choice has not seen. One seed says little:
# {shown}`5#figure-figure-4` has several, with intervals and with random and
# losing tickets beside.

# %%
base = full_run(scale.encoder, data, seed, hyper)
specs = ticket_sweep(base, scale.levels, ("winning",))
frame = here.carried_out(specs)
alt = (
    f"Report score of the winning tickets of {name} against the weights "
    "remaining, the full model as a dashed line."
)
show(
    phase_transition_figure(frame),
    alt,
    phase_transition_data(frame),
    name="curve",
    caption="Where blue lies above the dashed line, the smaller model scores "
    "higher than the full one.",
)
row = super_tickets(frame).iloc[0]
measured(
    f"Super ticket: {row['level']:.0%} pruned, {row['weights_remaining']:.1%} "
    "of the weights remaining; report score "
    f"{row['report_score']:.3f} against "
    f"{here.store[base.id].metrics['report']['score']:.3f} of the full"
    " model (one seed)."
)

# %% [markdown]
# ## Exercises
#
# **Quick check.** The loss has the slope +0.2 in a head's mask variable on one
# example, and -0.2 on the other. What is the head's importance over the two?
# (a) 0; (b) 0.2; (c) 0.4.
#
# ```{admonition} Answer
# :class: dropdown
# (b). Absolute values come first, and then the mean: (0.2 + 0.2) / 2. The
# estimator `signed` would say 0.
# ```
#
# **Quick check.** BERT-base has 12 layers of 12 heads. Which heads does a
# ticket at 30% lose? (a) three or four of each layer; (b) the 44 with the
# lowest scores; (c) the 43 with the lowest scores, but one of each layer stays.
#
# ```{admonition} Answer
# :class: dropdown
# (c). $\lfloor 0.3 \cdot 144 \rfloor = 43$, ranked over all layers together. A
# layer's last head is passed over.
# ```
#
# **1.** Leave the absolute value out of the importance score. How different is
# the ranking of the heads?

# %% tags=["hide-cell"]
signed = st.importance_scores(plain_model, [few], estimator="signed")
order = [
    np.argsort(np.argsort(each, axis=None))
    for each in (ours.heads, abs(signed.heads))
]
print(
    f"rank correlation {np.corrcoef(order[0], order[1])[0, 1]:.2f}: ups and "
    "downs cancel, so much of the score is lost"
)

# %% [markdown]
# **2.** How many of the heads that the winning ticket keeps at 50% does a
# random ticket keep too, on average? Guess first.

# %% tags=["hide-cell"]
draws = [
    st.random_ticket(half.shape, 0.5, seed=draw).heads for draw in range(200)
]
common = np.mean(
    [(each & half.heads).sum() / half.heads.sum() for each in draws]
)
print(f"{common:.0%}: about half, as it must be")

# %% [markdown]
# **3.** Without protection of a layer's last head, would the ticket at 80% have
# a layer without heads?

# %% tags=["hide-cell"]
for protect in (1, 0):
    heads = st.winning_ticket(scores, 0.8, protect=protect).heads
    print(
        f"protected: {protect}; heads kept by layer "
        f"{heads.sum(axis=1).tolist()}"
    )

# %% [markdown]
# ## What was found
#
# Masking and removal are the same function, so the smaller model can be trained
# and shipped in place of the masked one. Rewinding is exact. How well the score
# predicts the effect of removal is in {shown}`table-estimators`; whether the
# super ticket beats the full model is not for one seed to say, but for
# {shown}`5#table-observations`.
#
# **What differs from the paper.** The score is reported on data that the choice
# has not seen. The last epoch is not taken blindly: the epoch with the best
# selection score is kept ("early stopping", section 5.2).
#
# **On your own data** all of this is one command:
#
# ```bash
# supertickets find --encoder minilm --train t.csv --dev d.csv \
#   --text a --text b --label y --out found
# ```
#
# **Next**: [ticket sharing](04_ticket_sharing).

# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 2 Background
#
# ```{admonition} In this chapter
# **You will see** what the rest of the book takes for granted, each with a
# drawing and a few lines that run: a Transformer layer with its heads and its
# FFN, lottery tickets, structured pruning, rewinding, and bias and variance.
#
# **Claims under test**: none of the paper's. What is said here is computed
# here: a layer written out by hand equals the library's, and a loss equals
# noise plus bias plus variance.
#
# **Cost**: the same at every profile.
# ```
#
# If you know these things, go on to [chapter 3](03_finding_super_tickets).

# %% tags=["parameters"]
profile = "lab"  # lab or smoke: the pages' small encoder shows it all
seed = 0  # whole number: task head, batches

# %% tags=["hide-input"]
import numpy as np
import pandas as pd
import torch
from torch.nn.functional import cross_entropy, gelu, softmax
from transformers import BertConfig, BertForSequenceClassification

import supertickets as st
from supertickets.chapters.background import (
    fits_figure,
    layer_figure,
    pruning_figure,
    recipe_figure,
    unit_sizes,
)
from supertickets.chapters.display import measured, show, show_table
from supertickets.studies import get_profile
from supertickets.training import cached_encode, eval_batches

scale = get_profile(profile)

# %% [markdown]
# ## A Transformer layer
#
# ```{admonition} The paper says
# :class: paper
# "Each layer consists of a multi-head attention module (MHA) followed by a
# feed-forward module (FFN), with a residual connection around each." (2.1)
#
# $$
# H_h(q, x) = \mathrm{Softmax}\left(
#   \frac{q W^Q_h (x W^K_h)^\top}{\sqrt{d_h}}\right) x W^V_h,
# \qquad
# \mathrm{MHA}(q, x) = \sum_h^H H_h(q, x)\, W^O_h .
# $$
# ```
#
# A layer takes one vector per token and gives back one vector per token. It
# works in two steps {cite:p}`vaswani2017attention`:
#
# - A **head** lets each token look at the others. It asks a question (query),
#   compares it with what every token offers (key), and takes a weighted mean
#   of what they carry (value). A layer has several heads side by side. Each
#   has weights of its own.
# - The **FFN** (feed-forward network) then works on each token alone: up to a
#   wider space, through a non-linear function, and down again.
#
# What each step finds is *added* to the vector that came in. That is the
# residual connection. It is why a head or an FFN can be left out at all: the
# vector still flows past it.

# %% tags=["hide-input"]
alt = (
    "A layer from left to right: the input goes into four heads side by side;"
    " each head's output is multiplied by its mask variable xi and summed;"
    " then the FFN, multiplied by nu. Arrows go around both: the residuals."
)
show(
    layer_figure(),
    alt,
    name="layer",
    caption="A Transformer layer: heads and FFN, each with its mask variable, "
    "and the residuals around them.",
    narrow=layer_figure(upright=True),
)

# %% [markdown]
# Here is the first layer of the lab's BERT, written out. The batch holds real
# sentences of the lab; $B$ is their number, $L$ their length, $H$ the number
# of heads.

# %%
encoder, task = "lab-base", "entailment"
examples = st.load_task(task, train_size=200, dev_size=64)
tokens = cached_encode(examples, "dev", st.load_tokenizer(encoder), 64)
batch = next(iter(eval_batches(tokens)))
model = st.load_encoder(encoder, num_labels=2, seed=seed).double().eval()
layer, H = model.bert.encoder.layer[0], model.config.num_attention_heads
attention = layer.attention

with torch.no_grad():
    inputs = {k: v for k, v in batch.inputs.items() if k != "attention_mask"}
    x = model.bert.embeddings(**inputs)  # (B, L, width)
    B, L, width = x.shape
    # Each projection holds all heads' weights: cut it into H pieces.
    q, k, v = (
        proj(x).view(B, L, H, width // H).transpose(1, 2)
        for proj in (
            attention.self.query,
            attention.self.key,
            attention.self.value,
        )
    )
    looks = q @ k.transpose(2, 3) / (width // H) ** 0.5  # (B, H, L, L)
    padding = batch.inputs["attention_mask"][:, None, None, :] == 0
    context = softmax(looks.masked_fill(padding, -torch.inf), dim=-1) @ v
    # W_O has one block of columns per head.
    output = attention.output.dense
    blocks = output.weight.view(width, H, width // H)
    of_head = torch.einsum("bhld,whd->hblw", context, blocks)  # H_h W_O_h
    attended = attention.output.LayerNorm(x + of_head.sum(0) + output.bias)
    ffn = layer.output.dense(gelu(layer.intermediate.dense(attended)))
    by_hand = layer.output.LayerNorm(attended + ffn)

    states = model(**batch.inputs, output_hidden_states=True).hidden_states
real = batch.inputs["attention_mask"].bool()  # what padding gets is of no use
gap = float((by_hand - states[1])[real].abs().max())
print(f"by hand against the library: {gap:.1e} at most")
assert gap < 1e-10

# %% [markdown]
# `of_head.sum(0)` is the point. The heads' outputs are **summed**, so leaving
# one out is leaving out a term. The mask variables of section 3 do just that:
# $\xi_h$ multiplies the term of head $h$, $\nu$ multiplies the FFN. With
# $\xi_3 = 0$ by hand, and with the package's mask (Python counts from 0):

# %%
heads = np.ones((model.config.num_hidden_layers, H), dtype=bool)
heads[0, 2] = False
ticket = st.Ticket(heads=heads, ffns=np.ones(len(heads), dtype=bool))
xi = torch.ones(H, 1, 1, 1, dtype=torch.float64)
xi[2] = 0

with torch.no_grad():
    attended = attention.output.LayerNorm(
        x + (xi * of_head).sum(0) + output.bias
    )
    ffn = layer.output.dense(gelu(layer.intermediate.dense(attended)))
    by_hand = layer.output.LayerNorm(attended + ffn)
    with st.masked(model, ticket):
        states = model(**batch.inputs, output_hidden_states=True).hidden_states
gap = float((by_hand - states[1])[real].abs().max())
print(f"head 3 left out, by hand against `masked`: {gap:.1e} at most")
assert gap < 1e-10

# %% [markdown]
# ### What a unit weighs
#
# The paper removes the same *percentage* of heads and of FFNs. They are not of
# the same size: an FFN holds as many weights as many heads, so most of what is
# saved comes from FFNs. {shown}`table-units` is counted from the models'
# shapes; no weights are needed for it.

# %%
sizes = {
    "MiniLM": (6, 12, 384, 1536),
    "BERT-base": (12, 12, 768, 3072),
    "BERT-large": (24, 16, 1024, 4096),
}
shapes = {encoder: st.shape_of(model)}
for name, (layers, n_heads, width, wide) in sizes.items():
    config = BertConfig(
        num_hidden_layers=layers,
        num_attention_heads=n_heads,
        hidden_size=width,
        intermediate_size=wide,
    )
    with torch.device("meta"):  # a shape without weights
        shapes[name] = st.shape_of(BertForSequenceClassification(config))
units = unit_sizes(shapes)
show_table(units, "What a head and an FFN weigh.", "units")
base = shapes["BERT-base"]
measured(
    "In BERT-base an FFN holds as many parameters as "
    f"{base.ffn_parameters / base.head_parameters:.0f} heads."
)

# %% [markdown]
# ## Lottery tickets
#
# ```{admonition} The paper says
# :class: paper
# "Most of existing results focus on finding unstructured winning tickets via
# iterative magnitude pruning and rewinding in randomly initialized networks
# [...], where each ticket is a single parameter. [...] Compared to
# unstructured tickets, training with structured tickets is memory efficient."
# (2.2)
# ```
#
# The lottery ticket hypothesis {cite:p}`frankle2018lottery` says: a large
# network holds a small one that, trained **from the same starting weights**,
# does as well as the whole. The small one has won the lottery of
# initialisation; it is a *winning ticket*. One finds it by looking back: train
# the whole, see which parts matter, keep those, put them back to their
# starting weights (**rewind**), and train again.
#
# With a pre-trained model the starting weights are not random. They are the
# pre-trained ones {cite:p}`chen2020lottery,prasanna2020bert`. The way is the
# same:

# %% tags=["hide-input"]
alt = (
    "Six boxes in a row: pre-trained model, fine-tune, score units, prune,"
    " rewind, fine-tune again. Rewinding puts kept units back to the"
    " pre-trained weights."
)
show(
    recipe_figure(),
    alt,
    name="recipe",
    caption="How a ticket is found: what each step does to the weights.",
    narrow=recipe_figure(upright=True),
)

# %% [markdown]
# ### Single weights, or whole units?
#
# A ticket can be made of single weights (*unstructured*) or of whole heads and
# FFNs (*structured*). The difference is practical. Here is the first FFN's
# weight matrix, one row per hidden unit. First the smaller half of its weights
# is removed, then the half of its rows with the smaller norms:

# %%
weights = layer.intermediate.dense.weight.detach().numpy()
norms = np.linalg.norm(weights, axis=1)
by_weight = abs(weights) > np.median(abs(weights))
by_row = norms > np.median(norms)
print(
    f"kept: {by_weight.mean():.0%} of the weights, {by_row.mean():.0%} of the "
    "rows"
)
print(f"a product with the first still has shape {weights.shape},")
print(f"with the second {weights[by_row].shape}: half the work and the memory")

# %% tags=["hide-input"]
alt = (
    "Three pictures of a weight matrix: whole; with half of its single weights"
    " missing all over; and with half of its rows, half as tall."
)
show(
    pruning_figure(weights, by_weight, by_row),
    alt,
    name="pruning",
    caption="A weight matrix whole, with single weights gone (blank), and with "
    "whole units gone.",
    narrow=pruning_figure(weights, by_weight, by_row, width=3.6),
)

# %% [markdown]
# Holes all over a matrix save nothing by themselves: a processor multiplies by
# zero as fast as by anything else. A matrix with fewer rows is smaller for
# everybody. The price is freedom: there are far fewer structured tickets to
# choose from. What heads and FFNs save is measured in {shown}`D#figure-steps`.

# %% [markdown]
# ### Rewinding
#
# Rewinding {cite:p}`renda2020comparing` in a few lines. Fine-tune a little,
# then put the pre-trained weights back. What was learned is gone, and only the
# *choice* of units remains of it. The ticket is then trained like any new
# model.

# %%
model = st.load_encoder(encoder, num_labels=2, seed=seed)
start = {name: value.clone() for name, value in model.state_dict().items()}
batches = eval_batches(
    cached_encode(examples, "train", st.load_tokenizer(encoder), 64)
)
(training,) = [b for i, b in enumerate(batches) if i == 0]
optimiser = torch.optim.Adamax(model.parameters(), lr=1e-3)
losses = []
for _ in range(30):
    loss = cross_entropy(model(**training.inputs).logits, training.labels)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    losses.append(loss.item())
model.load_state_dict(start)  # rewind
with torch.no_grad():
    rewound = cross_entropy(model(**training.inputs).logits, training.labels)
print(f"loss before {losses[0]:.3f}, after 30 steps {losses[-1]:.3f},")
print(f"rewound {rewound.item():.3f}")

# %% [markdown]
# ## Bias and variance
#
# Why should a smaller model be *better*? The paper's answer is a trade that
# statistics has known for long {cite:p}`hastie2009elements`. Train the same
# kind of model on many training sets. Then its expected squared loss at a
# point has three parts:
#
# $$
# \underbrace{\mathbb{E}(y - f)^2}_{\text{noise}}
# + \underbrace{(f - \mathbb{E}\hat f)^2}_{\text{bias}^2}
# + \underbrace{\mathbb{E}(\hat f - \mathbb{E}\hat f)^2}_{\text{variance}},
# $$
#
# where $f$ is the truth, $y$ a noisy observation of it, and $\hat f$ a trained
# model. *Noise* nobody can avoid. *Bias* is what the models get wrong
# together. *Variance* is how much they differ because they saw other data. In
# this picture a small model has much bias and little variance, a large one the
# reverse.
#
# Polynomials show it. There are 200 training sets of 15 noisy points each; a
# polynomial of each degree is fitted to every one ({shown}`figure-fits`):

# %%
rng = np.random.default_rng(seed)
x = np.linspace(-1, 1, 101)
truth, noise = np.sin(3 * x), 0.3
fits = {}
for degree in (1, 3, 9):
    curves = []
    for _ in range(200):
        at = rng.uniform(-1, 1, 15)
        y = np.sin(3 * at) + rng.normal(0, noise, 15)
        basis = np.vander(at, degree + 1)
        # A touch of shrinkage, or degree 9 would leave the page.
        inverse = np.linalg.inv(basis.T @ basis + 1e-3 * np.eye(degree + 1))
        curves.append(np.vander(x, degree + 1) @ inverse @ basis.T @ y)
    fits[degree] = np.array(curves)

# %% tags=["hide-input"]
alt = (
    "Three panels of fitted curves: straight lines lie together but miss the"
    " wave; cubic curves follow it; curves of degree 9 swing around it."
)
show(
    fits_figure(x, truth, fits),
    alt,
    name="fits",
    caption="Fits to independent training sets: bias is how far their mean is "
    "off, variance how they scatter.",
)

# %%
rows = []
for degree, curves in fits.items():
    parts = st.bias_variance(
        curves, truth, "squared", noise_variance=np.full(len(x), noise**2)
    )
    rows.append(
        {
            "degree": degree,
            "noise": parts.noise,
            "bias2": parts.bias2,
            "variance": parts.variance,
            "loss": parts.error,
        }
    )
    loss = (curves - truth) ** 2 + noise**2  # expected over new noise
    assert abs(loss.mean() - parts.noise - parts.bias2 - parts.variance) < 1e-10
table = pd.DataFrame(rows)
show_table(
    table,
    "Polynomials: the loss and its parts. An estimate of bias² that is next to "
    "zero may come out below it: it is corrected for the number of fits.",
    "polynomials",
    decimals=3,
)
best = table.loc[table["loss"].idxmin()]
measured(
    f"Degree {best['degree']:.0f} has the lowest loss, {best['loss']:.3f}."
    " Bias falls with the degree and variance rises, and they add up to the"
    " loss with the noise."
)

# %% [markdown]
# The paper's Figure 1 says that pruning walks this way from right to left:
# light pruning takes off variance, heavy pruning adds bias, and in between
# lies the super ticket. That is a sketch there; {shown}`1#figure-figure-1` has
# it measured.
#
# ### Classifiers
#
# A classifier gives probabilities, and its loss can be split in the same way.
# For the **Brier score**, the squared distance between the predicted
# probabilities and the label, it is the formula above, summed over classes.
# Below are two models and two examples. The first by hand: its label is class
# 0, of which they say 0.9 and 0.7. The mean is 0.8, so the bias is
# $2 \cdot 0.2^2 = 0.08$. The variance is $2 \cdot 0.02 = 0.04$, with the
# divisor $n - 1$ that makes it right on average. What that adds to the variance
# is taken from the bias: $0.08 - 0.04 / 2 = 0.06$.

# %%
models = [[[0.9, 0.1], [0.4, 0.6]], [[0.7, 0.3], [0.2, 0.8]]]
parts = st.bias_variance(models, [0, 1])
print("bias^2 per example  ", parts.per_example["bias2"].round(3))
print("variance per example", parts.per_example["variance"].round(3))
print(
    f"together {parts.bias2 + parts.variance:.3f}, the mean loss "
    f"{parts.error:.3f}"
)

# %% [markdown]
# ## Exercises
#
# **Quick check.** A head is masked. What does the rest of the layer receive?
# (a) nothing; (b) zeros in place of the vector that came in; (c) the vector
# that came in and the other heads' terms.
#
# ```{admonition} Answer
# :class: dropdown
# (c). The heads' outputs are summed, and the residual connection carries the
# vector past them. Leaving out a head leaves out one term of the sum.
# ```
#
# **Quick check.** A ticket is rewound. What is left of the fine-tuning before?
# (a) the weights of the kept units; (b) the choice of the kept units; (c) half
# of the weights.
#
# ```{admonition} Answer
# :class: dropdown
# (b). All kept weights get their pre-trained values again, so what they had
# learned is gone.
# ```
#
# **1.** BERT-base loses half of its heads and half of its FFNs. What share of
# its weights remains, with and without the embeddings?

# %% tags=["hide-cell"]
half = st.random_ticket((base.n_layers, base.n_heads), level=0.5, seed=0)
for embeddings in (True, False):
    share = half.weights_remaining(base, embeddings=embeddings)
    print(f"embeddings counted: {embeddings}; remaining {share:.1%}")

# %% [markdown]
# **2.** A mask variable need not be 0 or 1. Show that $\xi_3 = 1/2$ is the same
# as halving head 3's block of $W^O$.

# %% tags=["hide-cell"]
halved = blocks.detach().clone()
halved[:, 2] *= 0.5
xi = torch.ones(H, 1, 1, 1, dtype=torch.float64)
xi[2] = 0.5
scaled = torch.einsum("bhld,whd->blw", context, halved)
print(float((scaled - (xi * of_head).sum(0)).abs().max()))
assert torch.allclose(scaled, (xi * of_head).sum(0), atol=1e-12)

# %% [markdown]
# **3.** The best degree depends on how much data there is. Find it for
# training sets of 8, 15, 60 and 1,000 points. What does that say about pruning
# when data are few?

# %% tags=["hide-cell"]
for n in (8, 15, 60, 1000):
    loss = {}
    for degree in (1, 3, 5, 7, 9):
        at = rng.uniform(-1, 1, (200, n, 1))
        y = np.sin(3 * at) + rng.normal(0, noise, at.shape)
        basis = at ** np.arange(degree + 1)
        squares = basis.transpose(0, 2, 1) @ basis + 1e-3 * np.eye(degree + 1)
        weights = np.linalg.solve(squares, basis.transpose(0, 2, 1) @ y)
        curves = (x[:, None] ** np.arange(degree + 1) @ weights)[..., 0]
        loss[degree] = ((curves - truth) ** 2).mean()
    degree = min(loss, key=lambda key: loss[key])
    print(
        f"{n:5} points: degree {degree}, loss without noise {loss[degree]:.4f}"
    )
print("The fewer the data, the smaller the best model. So the paper expects")
print(
    "most of pruning where data are few; chapters 1, 5 and 10 put it to a test."
)

# %% [markdown]
# ## What was found
#
# A layer is a sum of heads and an FFN, each beside a residual connection, so
# leaving out a unit is exact and simple. Rewinding keeps the choice of units
# and forgets what was learned. The loss of a kind of model is noise plus bias
# plus variance, and the best size depends on the data.
#
# **What differs from the paper, and why.** The paper's section 2 is a page
# without pictures. The formulas are the same.
#
# **Next**: [finding super tickets](03_finding_super_tickets).

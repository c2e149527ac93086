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
# **You will see** Tables 5 and 8: how far scores spread over seeds and over learning rates, with tests of equal spread.
# Figure 6: which heads and feed-forward blocks matter to which task, beside how far two seeds of *one* task agree.
#
# **Claims under test** (section 8, A.4): super tickets and ticket sharing have "much smaller standard deviation";
# Ticket-Share is more robust to the learning rate; many tickets have almost equal shares for most tasks, a few are
# dominated by a single one.
#
# **Cost**: profile `lab` about three minutes on two CPU cores after chapters 5 and 6; `paper-base` twice as many runs
# of its tasks as Table 1 has without random and losing tickets.
# ```

# %% tags=["parameters"]
profile = "lab"  # lab, minilm, paper-base, paper-large, or smoke
tasks = ""  # comma-separated; empty: the profile's
seeds = ""  # comma-separated; empty: the profile's
encoder = ""  # lab-base, minilm, a local folder or a Hub id; empty: the profile's
train_size = 0  # at most so many training examples of every task; 0: the profile's choice
dev_size = 0  # at most so many dev examples of every task; 0: the profile's choice
store = "../runs"  # folder (or fsspec URL) of the run store
data_dir = ""  # folder with TASK/train.tsv and so on; empty: the lab, or the Hub
workers = 0  # worker processes; 0: one per core

# %% tags=["hide-input"]
import pandas as pd

from supertickets.chapters.chapter import Chapter
from supertickets.chapters.claims import sentences
from supertickets.chapters.display import measured, show, show_claims, show_table
from supertickets.chapters.sensitivity.claims import matched_rates, paper_power, rate_tests, spread_tests
from supertickets.chapters.sensitivity.figures import rates_data, rates_figure
from supertickets.chapters.sensitivity.tables import table5, table8, tuned_single
from supertickets.chapters.task_shares.claims import CLAIMS, dominated_sentences, share_claims, sst2_claims
from supertickets.chapters.task_shares.figures import agreement_figure, close_ups_figure, pies_figure
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
chosen = get_profile(profile, tasks=tasks, seeds=seeds, encoder=encoder, **limits)
here = Chapter(chosen, store, data_dir=data_dir, workers=workers).here()
tuning, multi = here.frame("rates"), at_own_rates(here.frame("table3"))
single = tuned_single(tuning)
print(here.told("rates"))
print(here.told("table3"))
rates = multi.loc[multi["stage"] == "fine-tuned", "learning_rate"].unique()
print(f"fine-tuned at learning rates {', '.join(f'{rate:g}' for rate in rates)}")

# %% [markdown]
# ## Sensitivity to the random seed (Table 5)
#
# ```{admonition} The paper says
# :class: paper
# "SuperT and Ticket-Share induce much smaller standard deviation in validation results." Table 5: standard deviations
# over five seeds of BERT-large on five small tasks, such as 0.16 against 0.17 on SST-2.
# ```
#
# A standard deviation over five seeds is itself uncertain: its 95% interval runs from 0.6 to 2.9 times the estimate.
# A multi-task result is that after single-task fine-tuning, averaged over the learning rates (A.4.1). The paper's
# values are those of BERT-large. Single tasks are at the learning rate that the selection split chooses (5.2), ST-DNN
# and SuperT alike.

# %%
full = tuning[tuning["kind"] == "full"]
show_table(chosen_rates(full), "Full models at every learning rate, mean scores.", "rates-tried", decimals=3)
show_table(table5(single, multi), "Table 5: standard deviation of the report score over seeds, points.", "table-5")

# %% [markdown]
# Do the models with tickets spread less? Two tests, and the larger p of the two: Brown-Forsythe does not mind a run
# that failed, Pitman-Morgan makes use of the pairing by seed. The claims, about all tasks together, stand first.

# %%
spread = spread_tests(single, multi)
show_claims(
    spread,
    "Spread over seeds with tickets against without: ratio of standard deviations.",
    "spread-tests",
)

# %% [markdown]
# ### What five seeds can tell
#
# Suppose the paper's standard deviations were the true ones. With what probability would five seeds show the
# difference, and how many would be needed for four chances in five?

# %%
power = pd.DataFrame(paper_power())
show_table(power, "Power of an F test at 5% for the pairs of Table 5.", "power")

# %% [markdown]
# ## Sensitivity to the learning rate (Table 8)
#
# Fine-tuning from the shared weights at several learning rates: the standard deviation over the rates of the score
# averaged over seeds. Even if the rate did not matter, it would not be zero: *by chance* is what the seeds' noise alone
# would give. Of two models the noisier one would seem more sensitive, so that part is taken off before they are
# compared, which is done in variances.

# %%
show_table(table8(multi), "Table 8: standard deviation over learning rates, points.", "table-8")
by_rate = rate_tests(multi)
caption = "Ticket-Share minus MT-DNN: variance over learning rates beyond chance, squared points."
show_claims(by_rate, caption, "rate-tests")
alt = "Report score against the learning rate of fine-tuning, one panel per task, MT-DNN and Ticket-Share."
show(rates_figure(multi), alt, rates_data(multi), name="rates")

# %% [markdown]
# ### Matched and mismatched rates (A.2.1)
#
# ```{admonition} The paper says
# :class: paper
# "Rewinding the super tickets selected under a matched optimization settings usually outperforms those selected under a
# mismatched settings (i.e. using two different learning rates in single-task fine-tuning and rewinding/multi-task
# learning)."
# ```
#
# Light winning tickets found at the learning rate at which they are rewound, against those found at the profile's rate
# farthest from it: the mean over the light levels, none of which is chosen.

# %%
at_match = matched_rates(tuning)
show_claims(at_match, "Matched minus mismatched tickets, points, 95% t intervals over seeds.", "matched-rates")

# %%
measured(*sentences(spread), *sentences(by_rate), *sentences(at_match))

# %% [markdown]
# ## Tickets' importance across tasks (Figure 6)
#
# For every head and feed-forward block: its *Ticket Importance*, the mean over tasks of its importance, is the area of
# a pie, and its *Task Shares*, each task's part of the sum, are the slices. Scores are normalised as the paper does for
# pruning: heads by layer, FFNs not at all. The losses of different tasks have different scales, so an FFN's shares tell
# of those too; the claims below stand under two other rules as well.

# %%
records = list(here.records("figure6"))
table = importance_table(records)
shares = task_shares(table)
print(f"{len(records)} full models of {table['task'].nunique()} tasks, {table['seed'].nunique()} seeds")
alt = f"A pie for every head and FFN of {chosen.encoder}, by layer; slices are the shares of the tasks."
show(pies_figure(shares), alt, shares, name="figure-6")

# %%
close_ups = close_up_units(shares)
alt = "Close-ups of four kinds of units: shared evenly, and dominated by one or by two tasks, with percentages."
show(close_ups_figure(shares, close_ups), alt, shares, name="figure-6-close-ups")
threshold = max(0.5, 1.5 / table["task"].nunique())  # of two tasks, one nearly always holds more than half
dominated = dominated_units(shares, threshold)
if len(dominated):
    caption = f"Units dominated by one task (more than {threshold:.0%} of the share) or by two together."
    show_table(dominated, caption, "dominated")
else:
    print(f"no unit is dominated by one task (more than {threshold:.0%} of the share) or by two together")

# %% [markdown]
# ### How alike are two tasks, and how alike could they be?
#
# What the paper lacks is a ceiling: importance also differs between two seeds of *one* task. Off the diagonal is
# the rank correlation of the heads' importance between tasks, on it that between seeds of the same task.

# %%
agreement = rank_agreement(table)
order = cluster_tasks(table).order
alt = "Heat map of rank correlations of head importance between tasks, with the seeds' own agreement on the diagonal."
show(agreement_figure(agreement, order), alt, agreement, name="agreement")
show_table(agreement, "Rank correlation of head importance, 95% intervals over seeds.", "agreement-table")
claims = share_claims(table, threshold=threshold)
show_claims(claims, "The claims about shares, beside the same among seeds of one task.", "share-claims")
about_sst2 = sst2_claims(table)
measured(*sentences(claims), *sentences(about_sst2), *dominated_sentences(dominated))

# %% [markdown]
# ### The verdicts depend on the normalisation
#
# The same claims as above ("paper"), with FFNs divided by their l2 norm over layers too ("all"), and with nothing
# divided ("raw").

# %%
lines = []
for normalisation in ("paper", "all", "raw"):
    found = share_claims(importance_table(records, normalisation=normalisation), threshold=threshold)
    words = zip(CLAIMS, found["verdict"], found["where"], strict=False)
    lines.append(f'"{normalisation}": ' + "; ".join(f"{text}: {word} ({where})" for text, word, where in words) + ".")
measured(*lines)

# %% [markdown]
# **What differs from the paper, and why.** The paper's Figure 6 shows BERT-base and eight GLUE tasks. The further tasks
# of this figure have fewer training examples here than in the other chapters, so that it costs a minute. A standard
# deviation of scores near a perfect one is small for every model, which says nothing about tickets.
#
# **Before**: [adaptation to other domains](07_domain_adaptation).

# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # B Hyper-parameters
#
# ```{admonition} In this appendix
# **You will see** the paper's settings (section 5.2, A.1 to A.3) beside those
# of each profile of this book. Both come from data: the paper's from its text,
# ours from the profiles that the runs are made of. And what the paper's tuning
# of learning rate, batch size and dropout would change in our results.
#
# **Claims under test**: none of the paper's; that profile `paper-base` is the
# paper's recipe, and where it is not; that full models are as good as tuned
# ones before anything is compared with them.
#
# **Cost**: that of its tables; the tuning is recorded, and `supertickets sweep
# tuning --profile lab` makes it anew.
# ```

# %% tags=["parameters"]
profile = "lab"  # beside the others: lab, minilm, paper-base, or smoke
others = "paper-base, mpnet, minilm, lab"  # profiles, comma-separated
results = "../book/results"  # folder of recorded runs; empty: none

# %% tags=["hide-input"]
from supertickets.chapters.chapter import each, recorded_scales
from supertickets.chapters.claims import sentences
from supertickets.chapters.display import measured, show_claims, show_table
from supertickets.chapters.hyperparameters import (
    departures,
    hyperparameter_table,
    tuned_sentences,
    tuned_settings,
    tuning_claims,
)
from supertickets.studies import get_profile

names = dict.fromkeys((*others.replace(" ", "").split(","), profile))
profiles = [get_profile(name) for name in names if name]
table = hyperparameter_table(profiles)

# %% [markdown]
# ## Side by side
#
# Several values are those that were tried; which of them a task's runs have is
# chosen on the selection split (10% of dev, [chapter 5](05_single_task)). Where
# the paper is silent, the profiles say what was done.

# %% tags=["hide-input"]
sections = [f" ({where})" if where else "" for where in table["section"]]
named = table.assign(setting=table["setting"] + sections)
show_table(
    named.drop(columns="section"),
    "Settings (section of the paper): the paper's and our profiles'.",
    "settings",
)

# %% [markdown]
# ## Where a profile departs from the paper

# %%
measured(
    *(
        f"{name} differs in: {', '.join(departures(table, name)) or 'nothing'}."
        for name in names
    )
)

# %% [markdown]
# ## What tuning would change
#
# ```{admonition} The paper says
# :class: paper
# "we tune the learning rate in {5 x 10^-5, 1 x 10^-4, 2 x 10^-4} and batch size
# in {8, 16, 32}" (5.2), and of multi-task models that are fine-tuned, "the
# dropout rate of all task specific layers in {0.05, 0.1, 0.2, 0.3}" (A.2.2).
# ```
#
# Baselines that are not tuned make whatever is compared with them look good.
# Here the full model of every task is tuned as in the paper: every learning
# rate of the profile with every batch size, then the dropouts at the best pair.
# The selection split chooses. What that would change is measured on the report
# split with seeds that chose nothing, of full models and of light tickets (the
# mean over 10%, 20% and 30%), found and rewound at the same settings.

# %%
frames = {
    scale: scale.judged("tuning")
    for scale in recorded_scales(results, "tuning")
    if not scale.so_far("tuning")  # one task of several is another question
}
print(*(scale.told("tuning") for scale in frames), sep="\n")

# %% tags=["hide-input"]
for scale in each(frames):
    tried = tuned_settings(frames[scale], scale.profile)
    title = "Full models at every setting tried, mean scores."
    show_table(tried, title, "tuned", decimals=3)
    claims = tuning_claims(frames[scale], scale.profile)
    title = "The profile's settings against tuned ones, points."
    show_claims(claims, title, "tuning")
    measured(
        *sentences(claims[~claims["detail"].astype(bool)]),
        *tuned_sentences(frames[scale], scale.profile),
    )

# %% [markdown]
# **Why not tune everywhere.** Tables keep the settings above, one for all
# tasks of the lab, so that every row is trained alike; the claims just above
# say what that costs. The lab's encoders are less than a hundredth of BERT's
# size and need larger rates and smaller batches. Real encoders with few
# examples need larger rates than BERT with many. What the learning rate does to
# the spread of results is measured in {shown}`8#table-rate-tests`.
#
# **Next**: [where the paper disagrees with itself](../inconsistencies).

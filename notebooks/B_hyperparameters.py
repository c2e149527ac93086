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
# ours from the profiles that the runs are made of.
#
# **Claim under test**: none of the paper's; that profile `paper-base` is the
# paper's recipe, and where it is not.
#
# **Cost**: the same at any profile: nothing is trained.
# ```

# %% tags=["parameters"]
profile = "lab"  # beside the others: lab, minilm, paper-base, or smoke
others = "paper-base, mpnet, minilm, lab"  # profiles, comma-separated

# %% tags=["hide-input"]
from supertickets.chapters.display import measured, show_table
from supertickets.chapters.hyperparameters import (
    departures,
    hyperparameter_table,
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
show_table(table, "Settings of the paper and of our profiles.", "settings")

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
# **Why.** The paper tunes the batch size too; at 500 examples a task we tune
# the learning rate only. The lab's encoders are a hundredth of BERT's size and
# need larger rates and smaller batches. Real encoders with few examples need
# larger rates than BERT with many. What the learning rate does to the results
# is measured in [chapter 8](08_analysis).
#
# **Next**: [where the paper disagrees with itself](../inconsistencies).

# %% [markdown]
# # Specimen
#
# Built by the tests only: everything a chapter may hold. Inline $x^2$, and
#
# $$
# I_h = \mathbb{E}_{x}\left| \frac{\partial \mathcal{L}(x)}{\partial \xi_h} \right|
# $$ (eq-specimen)
#
# See {eq}`eq-specimen`, {cite:t}`michel2019sixteen`, {term}`super ticket` and {py:func}`supertickets.winning_ticket`.
# {shown}`5#table-table-1-layout` is elsewhere, {shown}`table-nothing` nowhere. Chapter 5 and Table 1 are found too.
#
# :::{admonition} The paper says
# :class: paper
# A statement.
# :::
#
# :::{admonition} Measured here
# :class: measured
# A number.
# :::

# %% tags=["parameters"]
profile = "lab"  # which sizes to run

# %%
import pandas as pd
from matplotlib import pyplot as plt

from supertickets.chapters.display import show, show_table

frame = pd.DataFrame({f"pruned down to a level of {level}%": [0.9 - level / 1000] * 9 for level in range(0, 80, 10)})
fig, ax = plt.subplots()
ax.plot(frame.iloc[0].to_numpy(), label="winning")
ax.legend()
show(fig, "Scores fall slowly with the level.", frame, "specimen")

# %%
show_table(frame, "A table that is wider than a phone.", "wide")

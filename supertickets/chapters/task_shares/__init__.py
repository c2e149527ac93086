"""Section 8: Figure 6, what share of a unit's importance each task has."""

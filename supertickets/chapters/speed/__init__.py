"""Section 9: what pruning saves, beside the Trainer."""

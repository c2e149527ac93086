"""Section 8: Tables 5 and 8, the spread over seeds and learning rates."""

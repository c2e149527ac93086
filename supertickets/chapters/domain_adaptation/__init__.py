"""Section 7: Table 4."""

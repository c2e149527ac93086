"""Section 6: Table 3 and Figure 2."""

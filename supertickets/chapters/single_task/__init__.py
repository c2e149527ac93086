"""Section 5: Tables 1, 2, 6, 7 and 9, Figures 3, 4, 5 and 7, and the four observations."""

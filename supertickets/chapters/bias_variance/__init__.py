"""Figure 1: bias and variance of tickets over training sets."""

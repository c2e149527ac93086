"""The map: where light pruning gains, by training-set size and label noise, beside variance and bias."""

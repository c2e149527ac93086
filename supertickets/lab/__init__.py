"""The lab: a controlled English whose true answers are known, and the small BERTs pre-trained on it."""

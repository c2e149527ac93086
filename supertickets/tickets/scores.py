"""Importance scores of heads and FFNs (section 3)."""

from dataclasses import dataclass

import numpy as np

from supertickets.errors import SuperticketsError

ESTIMATORS: dict[str, str] = {
    "example": "E |dL/dxi|, absolute value per example (the paper's definition)",
    "token": "E sum over positions of |dL/dxi at that position| (the authors' code, audit D3)",
    "signed": "E[-dL/dxi], the first-order estimate of the rise in loss on removal",
    "squared": "E (dL/dxi)^2, the empirical Fisher information of the mask variable",
    "leave_one_out": "L(without the unit) - L, the rise in loss on removal itself",
    "magnitude": "the l2 norm of the unit's own weights, which needs no example",
}
"""Every estimator by name. ``NAME@N``, as in ``example@32``, is that of the first N training examples."""


@dataclass(frozen=True)
class Scores:
    """Importance of every head ``(n_layers, n_heads)`` and FFN ``(n_layers,)``, before any normalisation."""

    heads: np.ndarray
    ffns: np.ndarray
    estimator: str = "example"
    n_examples: int = 0

    def __post_init__(self) -> None:
        heads, ffns = np.asarray(self.heads, dtype=np.float64), np.asarray(self.ffns, dtype=np.float64)
        if heads.ndim != 2 or ffns.shape != heads.shape[:1]:
            raise SuperticketsError(
                f"Importance scores must have shapes (n_layers, n_heads) and (n_layers,), not {heads.shape} and "
                f"{ffns.shape}."
            )
        if not (np.isfinite(heads).all() and np.isfinite(ffns).all()):
            raise SuperticketsError(
                f"The {self.estimator} importance scores contain NaN or infinity: the model they came from has "
                "diverged; fine-tune it again with a lower learning rate."
            )
        object.__setattr__(self, "heads", heads)
        object.__setattr__(self, "ffns", ffns)

    def normalised_heads(self) -> np.ndarray:
        """Head scores after layer-wise l2 normalisation (section 3), shape (n_layers, n_heads)."""
        norms = np.linalg.norm(self.heads, axis=1, keepdims=True)
        return self.heads / np.where(norms > 0, norms, 1.0)

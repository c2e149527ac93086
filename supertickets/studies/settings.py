"""What `find` and `share` start from: hyper-parameters for an encoder, and sparsity levels from a text."""

from dataclasses import replace

from supertickets.errors import SuperticketsError
from supertickets.lab import encoder_names
from supertickets.runs import Hyper
from supertickets.studies.profiles import PROFILES


def default_hyper(encoder: str, precision: str = "", **given: float | None) -> Hyper:
    """Hyper-parameters to start from: those of the profile that uses this encoder, else the paper's.

    ``precision`` "auto" is what the device is faster at, but for the lab's encoders; what is ``given`` and not None
    takes the place of the usual.

    >>> default_hyper("lab-base", batch_size=8, epochs=None)
    Hyper(learning_rate=0.001, batch_size=8, epochs=6, patience=2, warmup=0.1, clip=1.0, task_dropout=0.1,
          weight_decay=0.0, max_length=64, precision='fp32')
    """
    if precision == "auto":
        from supertickets.engines import best_precision  # needs torch, which profiles do not

        precision = "" if encoder in encoder_names() else best_precision()
    usual = next((profile.hyper for profile in PROFILES.values() if profile.encoder == encoder), Hyper())
    settings = {**given, "precision": precision}
    return replace(usual, **{name: value for name, value in settings.items() if value not in (None, "")})


def sparsity_levels(text: str) -> tuple[float, ...]:
    """Sparsity levels from a text with commas; raises SuperticketsError unless they are different shares in (0, 1].

    >>> sparsity_levels("0.1, 0.4")
    (0.1, 0.4)
    """
    try:
        levels = tuple(float(part) for part in text.split(","))
    except ValueError:
        levels = ()
    if not levels or len(set(levels)) < len(levels) or not all(0 < level <= 1 for level in levels):
        raise SuperticketsError(f"--levels {text!r} is not a list of different shares in (0, 1] such as 0.1,0.2,0.4.")
    return levels

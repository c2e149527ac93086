"""The lab: a controlled English whose true answers are known, and the small BERTs pre-trained on it."""

from __future__ import annotations

from pathlib import Path

from supertickets.errors import SuperticketsError

MODELS = Path(__file__).parent / "models"


def encoder_names() -> tuple[str, ...]:
    """Names of the encoders that ship with the package, sorted.

    >>> "lab-base" in encoder_names()
    True
    """
    return tuple(sorted(folder.name for folder in MODELS.glob("*") if (folder / "config.json").exists()))


def encoder_path(name: str) -> Path:
    """Folder of a shipped encoder, loadable with ``transformers`` (``BertModel.from_pretrained(folder)``).

    Raises SuperticketsError for an unknown name.

    >>> encoder_path("lab-base").name
    'lab-base'
    """
    if name not in encoder_names():
        known = ", ".join(encoder_names()) or "none"
        raise SuperticketsError(f"There is no lab encoder called {name!r}: the shipped ones are {known}.")
    return MODELS / name

"""The lab: a controlled English whose true answers are known, and the small BERTs pre-trained on it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from supertickets.errors import SuperticketsError
from supertickets.rooms import handed_on

if TYPE_CHECKING:
    from supertickets.lab.language import draw_clause
    from supertickets.lab.lexicon import EVERYDAY
    from supertickets.lab.logic import change, deny, likeness, redraw
    from supertickets.lab.pairs import draw_pair, draw_question_answer, draw_question_pair, related, word_pair
    from supertickets.lab.reviews import draw_judged, draw_review
else:
    __getattr__, __dir__ = handed_on(__name__)

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

"""Chapters: the paper's numbers, and the tables, claims and figures that the book sets beside them."""

from typing import TYPE_CHECKING

from supertickets.rooms import handed_on

if TYPE_CHECKING:
    from supertickets.chapters.report import caveats, verdict_sentence, write_report
else:
    __getattr__, __dir__ = handed_on(__name__)

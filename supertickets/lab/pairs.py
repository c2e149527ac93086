"""Pairs of meanings in a known relation, the raw material of every pair task and of the pair objective.

Relations, from the first sentence to the second: ``same`` (another wording), ``implied`` (follows, but not the
other way round), ``clash`` (cannot both be true), ``open`` (neither). All kinds weaken the second sentence alike
before the decisive edit, so that length and vocabulary of one sentence alone say little about the relation.
"""

from __future__ import annotations

from dataclasses import fields, replace
from random import Random

from supertickets.lab.language import Clause, Question, draw_clause, question, sentence
from supertickets.lab.logic import change, contradict, deny, not_the_opposite, shift, weaken

RELATIONS = ("same", "implied", "clash", "open")
_SLOTS = tuple(field.name for field in fields(Clause))


def _edited_slots(a: Clause, b: Clause) -> set[str]:
    """Slots in which two clauses differ."""
    return {slot for slot in _SLOTS if getattr(a, slot) != getattr(b, slot)}


def open_to(rng: Random, clause: Clause, steps: int, keep: tuple[str, ...] = (), p_stronger: float = 0.25) -> Clause:
    """A clause that ``clause`` neither implies nor excludes, after up to ``steps`` weakenings.

    The decisive edit (a swap, or with ``p_stronger`` a strengthening) touches no slot that a weakening touched,
    or it could fall back into what is implied ("no person" -> "no farmer" -> "no baker", or "every person" -> "a
    person" -> "a farmer").
    """
    for _ in range(8):
        weaker = weaken(rng, clause, steps, keep)
        edited = shift(rng, weaker, -1, keep) if rng.random() < p_stronger else change(rng, weaker, keep)
        if edited is not None and not _edited_slots(clause, weaker) & _edited_slots(weaker, edited):
            return edited
    return change(rng, clause, keep)


def related(rng: Random, clause: Clause, relation: str) -> Clause:
    """A second meaning in the given relation to ``clause`` (which may be returned itself for "same").

    Some of the ``open`` ones are denied as well, so that a "not" on one side does not give a clash away.

    >>> first = draw_clause(Random(5), "town")
    >>> related(Random(5), first, "same") == first
    True
    """
    steps = rng.choice((0, 1, 1, 2))
    if relation == "same":
        return clause
    if relation == "implied":
        other = not_the_opposite(rng, clause)
        return weaken(rng, clause, max(1, steps)) if other is None else weaken(rng, other, steps // 2)
    if relation == "clash":
        return contradict(rng, weaken(rng, clause, steps))
    if rng.random() < 0.35:  # the denial of a swap; that of a strengthening could exclude the first sentence
        return deny(rng, open_to(rng, clause, steps, p_stronger=0.0))
    return open_to(rng, clause, steps, p_stronger=0.35)


def denies(clause: Clause) -> bool:
    """Whether the clause contains "not" or "no"."""
    return clause.negated or clause.subject.determiner == "no"


def draw_pair(rng: Random, vocabulary: str, relation: str, modifiers: float = 0.45) -> tuple[Clause, Clause]:
    """Two clauses in a relation; the second one contains a denial in half of the cases, whatever the relation."""
    wanted = rng.random() < 0.5
    while True:
        first = draw_clause(rng, vocabulary, modifiers)
        second = related(rng, first, relation)
        if denies(second) == wanted and (relation == "same" or second != first):
            return first, second


def new_words(first: str, second: str) -> int:
    """How many distinct words of the second sentence the first lacks."""
    return len(set(second.split()) - set(first.split()))


def pick_wording(rng: Random, first: str, wordings: list[str], relation: str, p_any: float = 0.2) -> str:
    """Of several wordings, the one that word overlap would misjudge: far from ``first`` where the meaning is kept.

    With probability ``p_any`` just any wording, or overlap would be telling the other way round.
    """
    different = [wording for wording in wordings if wording != first] or wordings
    if relation == "clash" or rng.random() < p_any:
        return different[0]
    return (max if relation in ("same", "implied") else min)(different, key=lambda wording: new_words(first, wording))


def word_pair(rng: Random, first: Clause, second: Clause, relation: str = "clash") -> tuple[str, str]:
    """Both clauses in words, in the manner of their vocabulary (captions, prefixed general statements)."""
    scene, prefix = first.lexicon == "scene", first.lexicon == "nature"
    opening = sentence(rng, first, scene=scene, prefix=prefix)
    wordings = [sentence(rng, second, scene=scene and rng.random() < 0.5) for _ in range(4)]
    return opening, pick_wording(rng, opening, wordings, relation, p_any=0.5 if relation == "same" else 0.2)


# --- questions --------------------------------------------------------------------------------------------------


def draw_askable(rng: Random, vocabulary: str, modifiers: float = 0.55) -> tuple[Clause, str]:
    """A positive statement that can be asked about, and the slot to ask for."""
    while True:
        clause = draw_clause(rng, vocabulary, modifiers, p_negated=0.0)
        if clause.verb == "be" or clause.subject.determiner == "no":
            continue
        gaps = [slot for slot in ("subject", "object", "place", "time") if getattr(clause, slot)]
        gap = rng.choice(gaps)
        if len(gaps) + bool(clause.adverb) > 1:  # "who sings ?" alone would give too little to compare
            return clause, gap


def draw_question_answer(rng: Random, vocabulary: str, answered: bool) -> tuple[str, str]:
    """A question and a statement that does or does not answer it.

    A statement answers when the question's clause, its gap filled in by something, follows from it.
    """
    clause, gap = draw_askable(rng, vocabulary)
    asked = weaken(rng, clause, rng.choice((0, 1)), keep=("subject", "object", gap))
    told = clause
    if not answered:
        roll = rng.random()
        if roll < 0.15 and gap in ("place", "time"):
            told = replace(clause, **{gap: ""})
        elif roll < 0.35 and clause.subject.determiner in ("the", "name", "generic"):
            told = replace(clause, negated=True)
        else:
            asked = open_to(rng, clause, rng.choice((0, 1)), keep=(gap,), p_stronger=0.15)
            asked = replace(asked, negated=False)
    query = question(rng, Question(asked, gap))
    return query, pick_wording(rng, query, [sentence(rng, told) for _ in range(4)], "implied" if answered else "open")


def draw_question_pair(rng: Random, vocabulary: str, duplicate: bool) -> tuple[str, str]:
    """Two questions that do or do not ask the same thing."""
    clause, gap = draw_askable(rng, vocabulary)
    if rng.random() < 0.2:
        gap = ""
    other, other_gap = clause, gap
    if not duplicate:
        gaps = [slot for slot in ("subject", "object", "place", "time") if getattr(clause, slot) and slot != gap]
        if gaps and rng.random() < 0.2:
            other_gap = rng.choice(gaps)
        else:
            other = change(rng, clause, keep=(gap,) if gap else ())
    first = question(rng, Question(clause, gap))
    wordings = [question(rng, Question(other, other_gap)) for _ in range(4)]
    return first, pick_wording(rng, first, wordings, "same" if duplicate else "open", p_any=0.75)

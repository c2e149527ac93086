"""What follows from what: edits of a meaning whose effect on truth is known by construction.

Every slot of a clause has a polarity, as in monotonicity calculus (van Benthem 1986; MacCartney & Manning 2007):
in an upward slot a sentence implies its more general version (drop "old", "farmer" -> "person"), in a downward
slot (under "not", after "every" or "no") its more specific one. :func:`shift` moves one slot in either direction;
:func:`contradict` builds a sentence that cannot be true together with the first; :func:`change` makes a minimal
change after which neither holds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

from supertickets.lab.language import Clause, Phrase, draw_adjective, draw_noun, draw_place
from supertickets.lab.lexicon import LEXICONS, PREPOSITIONS, TIMES, Lexicon

_DOWNWARD = frozenset(("every", "generic", "no"))
_WEAKER = {
    "every": ("some", "a"),
    "generic": ("some",),
    "three": ("two", "some"),
    "two": ("some", "a"),
    "many": ("some",),
    "some": ("a",),
    "the": ("a",),
}
_STRONGER = {
    "a": ("the", "two", "some"),
    "some": ("two", "three", "every"),
    "two": ("three",),
}
_EXISTENTIAL = frozenset(("a", "some", "two", "three", "many"))
_FIXED = frozenset(("the", "name"))
_SLOTS = ("adverb", "place", "time")


def _scope(clause: Clause) -> int:
    """+1 when what follows the subject is in an upward position, -1 under "not" or after "no"."""
    return -1 if clause.negated or clause.subject.determiner == "no" else 1


def _phrase_polarity(phrase: Phrase, scope: int) -> int:
    return -scope if phrase.determiner in _DOWNWARD else scope


def _move_phrase(rng: Random, lexicon: Lexicon, phrase: Phrase, upward: bool) -> list[Phrase]:
    """One step to a more general (``upward``) or more specific restrictor."""
    if phrase.determiner == "name":
        return []
    moved = []
    if upward:
        if phrase.adjective:
            moved += [replace(phrase, adjective="")] * 2
        if phrase.noun in lexicon.hypernyms:
            moved.append(replace(phrase, noun=lexicon.hypernyms[phrase.noun]))
    else:
        if not phrase.adjective:
            moved.append(replace(phrase, adjective=draw_adjective(rng, lexicon, phrase.noun)))
        if phrase.noun in lexicon.hyponyms:
            moved.append(replace(phrase, noun=rng.choice(lexicon.hyponyms[phrase.noun])))
    return moved


def _move_determiner(rng: Random, phrase: Phrase, upward: bool, vocabulary: str) -> list[Phrase]:
    table = _WEAKER if upward else _STRONGER
    options = table.get(phrase.determiner, ())
    if vocabulary == "scene":  # captions word definites as "a", so "the" against "a" would be invisible
        options = tuple(option for option in options if option not in ("a", "the", "every"))
        options = () if phrase.determiner in ("the", "a") else options
    if vocabulary == "nature":
        options = tuple(option for option in options if option in ("some", "many", "every"))
    return [replace(phrase, determiner=rng.choice(options))] if options else []


def _set(clause: Clause, slot: str, value: str) -> Clause:
    return replace(clause, **{slot: value})


def _draw_slot(rng: Random, lexicon: Lexicon, slot: str) -> str:
    if slot == "adverb":
        return rng.choice(lexicon.adverbs)
    return draw_place(rng, lexicon) if slot == "place" else rng.choice(TIMES)


def shift(rng: Random, clause: Clause, direction: int = 1, keep: tuple[str, ...] = ()) -> Clause | None:
    """A clause one step weaker (``direction=1``: implied by this one) or stronger (-1: implies this one).

    Slots named in ``keep`` are left alone ("subject", "object", "place", "time", "adverb"). None when no step is
    possible.
    """
    lexicon, scope = LEXICONS[clause.lexicon], _scope(clause)
    options: list[Clause] = []
    if "subject" not in keep:
        upward = _phrase_polarity(clause.subject, 1) * direction > 0
        options += [replace(clause, subject=p) for p in _move_phrase(rng, lexicon, clause.subject, upward)]
        if clause.also is None and clause.complement == "":
            moved = _move_determiner(rng, clause.subject, direction > 0, clause.lexicon)
            options += [replace(clause, subject=p) for p in moved if not (clause.negated and p.determiner == "every")]
        if clause.also is not None and direction > 0:
            options.append(replace(clause, also=None))
    if clause.object is not None and "object" not in keep:
        upward = _phrase_polarity(clause.object, scope) * direction > 0
        options += [replace(clause, object=p) for p in _move_phrase(rng, lexicon, clause.object, upward)]
        moved = _move_determiner(rng, clause.object, scope * direction > 0, clause.lexicon)
        options += [replace(clause, object=p) for p in moved if not (scope < 0 and p.determiner == "some")]
    for slot in _SLOTS:
        if slot in keep or (slot == "adverb" and clause.verb == "be"):
            continue
        if getattr(clause, slot) and scope * direction > 0:
            options += [_set(clause, slot, "")] * 2
        elif not getattr(clause, slot) and scope * direction < 0:
            options.append(_set(clause, slot, _draw_slot(rng, lexicon, slot)))
    if clause.complement and bool(clause.degree) == (scope * direction > 0):
        options.append(replace(clause, degree="" if clause.degree else "very"))
    if scope * direction > 0 and clause.verb in lexicon.hypernyms:
        options.append(replace(clause, verb=lexicon.hypernyms[clause.verb]))
    elif scope * direction < 0 and clause.verb in lexicon.hyponyms:
        options.append(replace(clause, verb=rng.choice(lexicon.hyponyms[clause.verb])))
    return rng.choice(options) if options else None


def weaken(rng: Random, clause: Clause, steps: int, keep: tuple[str, ...] = ()) -> Clause:
    """Up to ``steps`` weakenings in a row; fewer when nothing more can be dropped."""
    for _ in range(steps):
        weaker = shift(rng, clause, 1, keep)
        if weaker is None:
            break
        clause = weaker
    return clause


def contradict(rng: Random, clause: Clause) -> Clause:
    """A clause that cannot be true together with this one (nor with anything stronger than it)."""
    lexicon, subject = LEXICONS[clause.lexicon], clause.subject
    determiner = subject.determiner
    options = [deny(rng, clause)]
    if determiner == "no":
        kinds = ("some", "many", "generic") if clause.lexicon == "nature" else ("some", "two", "three", "the", "every")
        options = [replace(clause, subject=replace(subject, determiner=rng.choice(kinds)))]
    fixed = determiner in _FIXED | {"generic", "every"}
    if fixed and not clause.negated and not clause.degree:
        still = clause.object is None or clause.object.determiner in _FIXED
        if clause.complement in lexicon.opposites:
            options += [replace(clause, complement=lexicon.opposites[clause.complement])] * 2
        elif clause.verb in lexicon.opposites and still:
            options += [replace(clause, verb=lexicon.opposites[clause.verb])] * 2
    return rng.choice(options)


def deny(rng: Random, clause: Clause) -> Clause:
    """The plainest denial of a clause: "not" put in or taken out, or the opposite quantifier."""
    subject = clause.subject
    if subject.determiner in ("the", "name", "generic"):
        return replace(clause, negated=not clause.negated)
    if subject.determiner == "no":
        return replace(clause, subject=replace(subject, determiner="some"))
    if subject.determiner == "every" and not clause.negated and rng.random() < 0.5:
        return replace(clause, subject=replace(subject, determiner="some"), negated=True)
    other = "every" if clause.negated else "no"
    return replace(clause, subject=replace(subject, determiner=other), negated=False)


def not_the_opposite(rng: Random, clause: Clause, share: float = 0.7) -> Clause | None:
    """The implied denial of the opposite ("is old" -> "is not young"), in ``share`` of the cases that have one."""
    opposites = LEXICONS[clause.lexicon].opposites
    if clause.negated or clause.subject.determiner not in ("the", "name", "generic") or rng.random() > share:
        return None
    if clause.complement in opposites:
        return replace(clause, complement=opposites[clause.complement], degree="", negated=True)
    if clause.verb in opposites and (clause.object is None or clause.object.determiner in _FIXED):
        return replace(clause, verb=opposites[clause.verb], negated=True)
    return None


# --- minimal changes --------------------------------------------------------------------------------------------


def _other(rng: Random, lexicon: Lexicon, old: str, pool: tuple[str, ...]) -> str:
    """Another word of the pool, neither the old one nor its opposite."""
    return rng.choice(tuple(w for w in pool if w != old and w != lexicon.opposites.get(old)))


def _swap_phrase(rng: Random, lexicon: Lexicon, phrase: Phrase) -> list[Phrase]:
    if phrase.determiner == "name":
        return [replace(phrase, noun=_other(rng, lexicon, phrase.noun, lexicon.names))]
    swapped = []
    siblings = tuple(s for s in lexicon.siblings(phrase.noun) if s not in lexicon.hyponyms.get(phrase.noun, ()))
    if siblings:
        swapped += [replace(phrase, noun=rng.choice(siblings))] * 2
    if phrase.adjective:
        pool = lexicon.adjectives_by_class[lexicon.noun_class[phrase.noun]]
        swapped.append(replace(phrase, adjective=_other(rng, lexicon, phrase.adjective, pool)))
    return swapped


def _swap_place(rng: Random, lexicon: Lexicon, place: str) -> str:
    preposition, noun = place.split()
    if rng.random() < 0.3:
        return f"{_other(rng, lexicon, preposition, PREPOSITIONS)} {noun}"
    return f"{preposition} {_other(rng, lexicon, noun, lexicon.places)}"


def _exchanges(clause: Clause, lexicon: Lexicon) -> list[Clause]:
    """Changes that keep every word: subject and object trade places, or an adjective moves between them."""
    subject, thing = clause.subject, clause.object
    if thing is None or clause.also is not None or clause.lexicon == "nature":
        return []
    found = []
    if subject.determiner in _FIXED and thing.determiner in _FIXED and subject != thing:
        kind = "human" if thing.determiner == "name" else lexicon.noun_class[thing.noun]
        back = "human" if subject.determiner == "name" else lexicon.noun_class[subject.noun]
        if kind in lexicon.verb_subjects[clause.verb] and back in lexicon.verb_objects[clause.verb]:
            found += [replace(clause, subject=thing, object=subject)] * 3
    common = "name" not in (subject.determiner, thing.determiner) and subject.adjective != thing.adjective
    if common and lexicon.noun_class[subject.noun] == lexicon.noun_class[thing.noun]:
        traded = replace(thing, adjective=subject.adjective)
        found.append(replace(clause, subject=replace(subject, adjective=thing.adjective), object=traded))
    return found


def _repeats(clause: Clause) -> bool:
    """Whether two of the clause's phrases have the same noun ("the nurse and the nurse")."""
    nouns = [phrase.noun for phrase in (clause.subject, clause.also, clause.object) if phrase is not None]
    return len(set(nouns)) < len(nouns)


def change(rng: Random, clause: Clause, keep: tuple[str, ...] = ()) -> Clause:
    """A clause that differs in one place, so that neither it nor its negation follows from this one."""
    lexicon = LEXICONS[clause.lexicon]
    makers: list[Callable[[], list[Clause]]] = []
    if "subject" not in keep:
        makers.append(lambda: [replace(clause, subject=p) for p in _swap_phrase(rng, lexicon, clause.subject)])
    if clause.object is not None and "object" not in keep:
        thing = clause.object
        makers.append(lambda: [replace(clause, object=p) for p in _swap_phrase(rng, lexicon, thing)])
    if not keep:
        exchanged = _exchanges(clause, lexicon)
        if exchanged:
            makers += [lambda: exchanged] * 2
    if clause.place and "place" not in keep:
        makers.append(lambda: [replace(clause, place=_swap_place(rng, lexicon, clause.place))])
    if clause.time and "time" not in keep:
        makers.append(lambda: [replace(clause, time=_other(rng, lexicon, clause.time, TIMES))])
    if clause.complement:
        said = clause.subject.adjective
        pool = lexicon.adjectives_by_class[lexicon.noun_class[clause.subject.noun]]
        taken = {clause.complement, lexicon.opposites.get(clause.complement), said, lexicon.opposites.get(said)}
        fresh = [replace(clause, complement=word) for word in pool if word not in taken]
        makers += [lambda: fresh] * 2
    elif clause.verb:
        makers += [lambda: [replace(clause, verb=_other_verb(rng, lexicon, clause.verb))]] * 2
    if clause.adverb and "adverb" not in keep:
        makers.append(lambda: [replace(clause, adverb=_other(rng, lexicon, clause.adverb, lexicon.adverbs))])
    while True:
        options = [edited for edited in rng.choice(makers)() if not _repeats(edited) or _repeats(clause)]
        if options:
            return rng.choice(options)


def _other_verb(rng: Random, lexicon: Lexicon, verb: str) -> str:
    """A verb that takes the same arguments and is neither the opposite nor more general nor more specific."""
    shape = (lexicon.verb_subjects[verb], lexicon.verb_objects[verb])
    near = {verb, lexicon.opposites.get(verb), lexicon.hypernyms.get(verb), *lexicon.hyponyms.get(verb, ())}
    pool = tuple(
        v
        for v in lexicon.verb_objects
        if v not in near and (lexicon.verb_subjects[v], lexicon.verb_objects[v]) == shape
    )
    return rng.choice(pool)


def redraw(rng: Random, clause: Clause) -> Clause:
    """An unrelated clause about the same kind of thing (same vocabulary, same verb arguments where possible)."""
    lexicon = LEXICONS[clause.lexicon]
    if clause.verb == "be" or clause.subject.determiner == "name":
        return change(rng, change(rng, clause))
    noun = draw_noun(rng, lexicon, lexicon.verb_subjects[clause.verb])
    fresh = replace(
        clause, subject=replace(clause.subject, noun=noun, adjective=""), verb=_other_verb(rng, lexicon, clause.verb)
    )
    return change(rng, fresh)


# --- graded likeness --------------------------------------------------------------------------------------------


def _word_likeness(lexicon: Lexicon, a: str, b: str) -> float:
    if a == b:
        return 1.0
    if lexicon.hypernyms.get(a) == b or lexicon.hypernyms.get(b) == a:
        return 0.6
    return 0.3 if a in lexicon.hypernyms and lexicon.hypernyms.get(a) == lexicon.hypernyms.get(b) else 0.0


def likeness(a: Clause, b: Clause) -> float:
    """How much two clauses share, 0 to 5 (the lab's stand-in for STS-B's human scores).

    Weighted mean over slots (subject, verb and object nouns 2; modifiers, place and time 1 where either clause has
    them; related nouns count in part), halved when one clause denies what the other asserts.
    """
    lexicon = LEXICONS[a.lexicon]
    pairs = [(2.0, a.subject.noun, b.subject.noun), (2.0, a.verb + a.complement, b.verb + b.complement)]
    if a.object is not None and b.object is not None:
        pairs.append((2.0, a.object.noun, b.object.noun))
        pairs.append((1.0, a.object.adjective, b.object.adjective))
    pairs.append((1.0, a.subject.adjective, b.subject.adjective))
    pairs += [(1.0, getattr(a, slot), getattr(b, slot)) for slot in _SLOTS]
    used = [(weight, _word_likeness(lexicon, x, y)) for weight, x, y in pairs if x or y]
    score = 5.0 * sum(w * s for w, s in used) / sum(w for w, _ in used)
    denied = (a.negated or a.subject.determiner == "no") != (b.negated or b.subject.determiner == "no")
    return score / 2.0 if denied else score

"""Single sentences: reviews with a known polarity, and sentences with a known grammatical fault.

Polarity is compositional (Polanyi & Zaenen 2006 in miniature): an adjective or verb has a strength, "very" raises
it, "slightly" lowers it, "not" turns it round and weakens it, and in "A but B" the second part counts more.
"""

from __future__ import annotations

from random import Random

from supertickets.lab.language import draw_clause, sentence
from supertickets.lab.lexicon import EVERYDAY, LEXICONS, PREPOSITIONS, plural, third_person

_THINGS = (("film", "movie"), ("book",), ("meal",), ("hotel",), ("story",), ("service",))
_QUALITIES = {
    "wonderful": 2.0,
    "superb": 2.0,
    "good": 1.0,
    "nice": 1.0,
    "pleasant": 1.0,
    "charming": 1.3,
    "bad": -1.0,
    "dull": -1.0,
    "boring": -1.0,
    "weak": -0.8,
    "awful": -2.0,
    "terrible": -2.0,
}
_ATTITUDES = {"enjoy": 1.2, "admire": 1.5, "recommend": 1.2, "regret": -1.2, "dislike": -1.2, "avoid": -1.5}
_DEGREES = {"": 1.0, "very": 1.5, "truly": 1.6, "slightly": 0.6, "rather": 0.8}
_HOLDERS = ("i", "we", "critics", "many people")


def _opinion(rng: Random, sign: int) -> tuple[list[str], float]:
    """One clause whose polarity has the given sign, and its value."""
    thing = rng.choice(rng.choice(_THINGS))
    negated = rng.random() < 0.4
    table = _QUALITIES if rng.random() < 0.65 else _ATTITUDES
    wanted = -sign if negated else sign
    word = rng.choice([w for w, value in table.items() if value * wanted > 0])
    value = table[word] * (-0.7 if negated else 1.0)
    if table is _ATTITUDES:
        denial = rng.choice((["do", "not"], ["never"])) if negated else []
        return [rng.choice(_HOLDERS), *denial, word, "the", thing], value
    degree = "" if negated and rng.random() < 0.7 else rng.choice(tuple(_DEGREES))
    if negated and degree == "slightly":
        degree = "very"
    value *= 1.0 if negated else _DEGREES[degree]
    denial = [rng.choice(("not", "never"))] if negated else []
    words = ["the", thing, "is", *denial, *([degree] if degree else []), word]
    return words, value


def draw_review(rng: Random, positive: bool) -> str:
    """A review sentence that is positive or negative on the whole.

    >>> draw_review(Random(2), True).endswith(" .")
    True
    """
    sign = 1 if positive else -1
    roll = rng.random()
    if roll < 0.35:
        words, _ = _opinion(rng, sign)
    elif roll < 0.6:
        (first, _), (second, _) = _opinion(rng, sign), _opinion(rng, sign)
        words = [*first, "and", *second]
    else:
        while True:
            (first, a), (second, b) = _opinion(rng, -sign), _opinion(rng, sign)
            if (a + 2.0 * b) * sign > 0.3:
                break
        words = [*first, "but", *second]
    return " ".join([*words, "."])


# --- acceptability ----------------------------------------------------------------------------------------------


def _forms() -> tuple[dict[str, str], dict[str, str]]:
    """Verb form -> the other number's form, and noun form -> the other number's form, over everyday words."""
    verbs, nouns = {"is": "are", "are": "is", "does": "do", "do": "does"}, {}
    for name in EVERYDAY:
        lexicon = LEXICONS[name]
        for verb in lexicon.verb_objects:
            for word in lexicon.synonyms[verb]:
                verbs[word], verbs[third_person(word)] = third_person(word), word
        for noun in lexicon.noun_class:
            for word in lexicon.synonyms[noun]:
                nouns[word], nouns[plural(word)] = plural(word), word
    return verbs, nouns


_VERB_FORMS, _NOUN_FORMS = _forms()
_DETERMINERS = frozenset(("the", "a", "an", "every", "all", "no", "some", "two", "three", "many"))
_FREE_NUMBER = frozenset(("the", "no"))
_LINKS = frozenset((*PREPOSITIONS, "on", "at"))
_MOVABLE = frozenset(
    ("and", "today", *(w for n in EVERYDAY for a in LEXICONS[n].adverbs for w in LEXICONS[n].synonyms[a]))
)


def _break(rng: Random, words: list[str]) -> list[str] | None:
    """One grammatical fault, or None when this kind of fault does not fit the sentence."""
    kind = rng.choice(("agreement", "agreement", "number", "order", "missing", "doubled", "swap"))
    verbs = [i for i, word in enumerate(words) if word in _VERB_FORMS and word not in _NOUN_FORMS]
    dets = [i for i, word in enumerate(words) if word in _DETERMINERS]
    out = list(words)
    if kind == "agreement" and verbs:
        i = rng.choice(verbs)
        out[i] = _VERB_FORMS[out[i]]
    elif kind == "number":
        spots = [
            (i, j)
            for i in dets
            for j in (i + 1, i + 2)
            if words[i] not in _FREE_NUMBER and j < len(words) and words[j] in _NOUN_FORMS
        ]
        if not spots:
            return None
        _, j = rng.choice(spots)
        out[j] = _NOUN_FORMS[out[j]]
    elif kind == "order" and dets:
        i = rng.choice(dets)
        if i + 2 >= len(words):
            return None
        out[i], out[i + 1] = out[i + 1], out[i]
    elif kind == "missing":
        spots = [i for i in (*verbs, *dets) if words[i] not in ("all", "some", "two", "three", "many")]
        if not spots:
            return None
        del out[rng.choice(spots)]
    elif kind == "doubled" and dets:
        i = rng.choice(dets)
        out.insert(i, rng.choice(("the", "a", "every")))
    elif kind == "swap" and len(words) > 4:
        i = rng.randrange(1, len(words) - 2)
        out[i], out[i + 1] = out[i + 1], out[i]
        if out[i] in _LINKS or {out[i], out[i + 1]} & _MOVABLE:
            return None
    return out if out != words else None


def draw_judged(rng: Random, acceptable: bool) -> str:
    """An everyday sentence, well formed or with one fault (agreement, number, order, a missing or doubled word).

    >>> draw_judged(Random(0), True).endswith(" .")
    True
    """
    while True:
        words = sentence(rng, draw_clause(rng, rng.choice(EVERYDAY))).split()
        broken = words if acceptable else _break(rng, words)
        if broken is not None:
            return " ".join(broken)


def review_words() -> set[str]:
    """Every word reviews can contain."""
    words = {word for group in _THINGS for word in group} | set(_QUALITIES) | set(_ATTITUDES)
    words |= {word for phrase in (*_HOLDERS, *_DEGREES) for word in phrase.split()}
    return words | {"the", "is", "not", "never", "do", "and", "but", "."}

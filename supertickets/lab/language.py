"""Meanings and the sentences that express them.

A :class:`Clause` is what a sentence says; :func:`sentence` puts it into words, choosing among synonyms, active and
passive voice and word orders, so one meaning has many wordings. :class:`Question` does the same for questions.
Which sentence follows from which is the business of :mod:`supertickets.lab.logic`.

Reading conventions (they make the labels exact): all sentences of an example describe the same occasion; a subject
with ``the`` and a name refer to the same individual throughout; the subject takes scope over ``not``, everything else
is under it; ``every``, ``all`` and bare plural subjects speak of a class that is not empty; numbers mean "at least".
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

from supertickets.lab.lexicon import (
    LEXICONS,
    PREFIXES,
    PREPOSITIONS,
    TIMES,
    Lexicon,
    participle,
    plural,
    progressive,
    third_person,
)

_DETERMINER_WORDS = {
    "the": ("the",),
    "a": ("a",),
    "every": ("every", "all"),
    "generic": ("",),
    "no": ("no",),
    "some": ("some",),
    "two": ("two",),
    "three": ("three",),
    "many": ("many",),
    "bare": ("",),
}
_FUNCTION_WORDS = (
    "a an the every all no some two three many and not is are being do does by whom who what where when very really . ?"
)
_PLURAL_WORDS = frozenset(("all", "some", "two", "three", "many", ""))


@dataclass(frozen=True)
class Phrase:
    """A noun phrase: determiner ("name" for a proper name), noun concept, adjective concept ("" for none)."""

    determiner: str
    noun: str
    adjective: str = ""


@dataclass(frozen=True)
class Clause:
    """What one statement says, in concepts of the vocabulary ``lexicon``.

    ``verb`` is "be" when the clause is "subject is (very) complement". ``also`` is a second subject joined by
    "and". ``place`` is "in market"; ``time`` "on monday"; "" means unsaid.
    """

    lexicon: str
    subject: Phrase
    verb: str
    object: Phrase | None = None
    negated: bool = False
    adverb: str = ""
    place: str = ""
    time: str = ""
    also: Phrase | None = None
    complement: str = ""
    degree: str = ""


@dataclass(frozen=True)
class Question:
    """Asks for one slot of ``clause``: "subject", "object", "place", "time", or "" for a yes/no question."""

    clause: Clause
    gap: str = ""


# --- drawing meanings -------------------------------------------------------------------------------------------


def draw_noun(rng: Random, lexicon: Lexicon, classes: tuple[str, ...]) -> str:
    """A noun concept of one of the classes; the general words are rarer than the specific ones."""
    pool = lexicon.nouns_by_class[rng.choice(classes)]
    noun = rng.choice(pool)
    if noun in lexicon.hyponyms and rng.random() < 0.3:
        noun = rng.choice(lexicon.hyponyms[noun])
    return noun


def draw_adjective(rng: Random, lexicon: Lexicon, noun: str) -> str:
    """An adjective that fits the noun."""
    return rng.choice(lexicon.adjectives_by_class[lexicon.noun_class[noun]])


def draw_place(rng: Random, lexicon: Lexicon) -> str:
    """A place such as "near market"."""
    return f"{rng.choice(PREPOSITIONS)} {rng.choice(lexicon.places)}"


def _subject_determiner(rng: Random, lexicon: Lexicon) -> str:
    roll = rng.random()
    if lexicon.name == "scene":
        return "the" if roll < 0.62 else "no" if roll < 0.78 else rng.choice(("two", "three", "some", "some"))
    if lexicon.name == "nature":
        return "generic" if roll < 0.6 else "no" if roll < 0.74 else rng.choice(("every", "some", "many"))
    if roll < 0.58:
        return "the"
    if roll < 0.74:
        return "no"
    return "every" if roll < 0.83 else rng.choice(("a", "some", "two", "three", "many"))


def draw_clause(rng: Random, vocabulary: str, modifiers: float = 0.4, p_negated: float = 0.4) -> Clause:
    """A statement drawn at random from a vocabulary; ``modifiers`` is the chance of each optional part.

    >>> draw_clause(Random(1), "village").lexicon
    'village'
    """
    lexicon = LEXICONS[vocabulary]
    determiner = _subject_determiner(rng, lexicon)
    verb = rng.choice(tuple(lexicon.verb_subjects))
    if not lexicon.verb_objects[verb] and rng.random() < 0.5:
        verb = rng.choice(tuple(v for v, o in lexicon.verb_objects.items() if o))
    noun = draw_noun(rng, lexicon, lexicon.verb_subjects[verb])
    adjective = draw_adjective(rng, lexicon, noun) if rng.random() < modifiers else ""
    if determiner == "the" and lexicon.names and "human" in lexicon.verb_subjects[verb] and rng.random() < 0.25:
        subject = Phrase("name", rng.choice(lexicon.names))
    else:
        subject = Phrase(determiner, noun, adjective)
    definite = determiner in ("the", "generic", "every")
    negated = rng.random() < p_negated if determiner in ("the", "generic") else False
    if definite and subject.determiner != "name" and rng.random() < 0.14:
        subject = replace(subject, adjective="")
        complement = draw_adjective(rng, lexicon, noun)
        place = draw_place(rng, lexicon) if rng.random() < modifiers / 2 else ""
        time = rng.choice(TIMES) if rng.random() < modifiers / 2 else ""
        degree = "very" if rng.random() < 0.4 else ""
        return Clause(vocabulary, subject, "be", None, negated, "", place, time, None, complement, degree)
    thing = None
    if lexicon.verb_objects[verb]:
        target = draw_noun(rng, lexicon, lexicon.verb_objects[verb])
        while target == subject.noun:
            target = draw_noun(rng, lexicon, lexicon.verb_objects[verb])
        adjective = draw_adjective(rng, lexicon, target) if rng.random() < modifiers * 0.75 else ""
        choices = {"nature": ("bare",), "scene": ("the", "the", "the", "two")}
        kinds = choices.get(vocabulary, ("the", "the", "the", "the", "a", "a", "two", "every"))
        thing = Phrase(rng.choice(kinds), target, adjective)
        if lexicon.names and lexicon.noun_class[target] == "human" and rng.random() < 0.3:
            thing = Phrase("name", rng.choice(tuple(n for n in lexicon.names if n != subject.noun)))
    also = None
    if determiner == "the" and "human" in lexicon.verb_subjects[verb] and rng.random() < 0.08:
        other = draw_noun(rng, lexicon, ("human",))
        if other not in (subject.noun, thing.noun if thing is not None else ""):
            also = Phrase("the", other)
    return Clause(
        vocabulary,
        subject,
        verb,
        thing,
        negated,
        rng.choice(lexicon.adverbs) if rng.random() < modifiers * 0.6 else "",
        draw_place(rng, lexicon) if rng.random() < modifiers else "",
        rng.choice(TIMES) if rng.random() < modifiers * 0.6 else "",
        also,
    )


# --- putting them into words ------------------------------------------------------------------------------------


def _word(rng: Random, lexicon: Lexicon, concept: str) -> str:
    words = lexicon.synonyms[concept]
    return words[0] if len(words) == 1 else rng.choice(words)


def _noun_phrase(rng: Random, lexicon: Lexicon, phrase: Phrase, scene: bool) -> tuple[list[str], bool]:
    """Words and whether they are plural. ``scene``: captions introduce their definite things with "a"."""
    if phrase.determiner == "name":
        return [phrase.noun], False
    determiner = rng.choice(_DETERMINER_WORDS[phrase.determiner])
    if scene and determiner == "the":
        determiner = "a"
    many = determiner in _PLURAL_WORDS
    noun = _word(rng, lexicon, phrase.noun)
    words = [plural(noun) if many else noun]
    if phrase.adjective:
        words.insert(0, _word(rng, lexicon, phrase.adjective))
    if determiner == "a" and words[0][0] in "aeiou":
        determiner = "an"
    return ([determiner] if determiner else []) + words, many


def _subjects(rng: Random, lexicon: Lexicon, clause: Clause, scene: bool) -> tuple[list[str], bool]:
    words, many = _noun_phrase(rng, lexicon, clause.subject, scene)
    if clause.also is not None:
        other, _ = _noun_phrase(rng, lexicon, clause.also, scene)
        first, second = (words, other) if rng.random() < 0.5 else (other, words)
        return [*first, "and", *second], True
    return words, many


def can_be_passive(clause: Clause) -> bool:
    """Whether the passive says the same: not when two quantified phrases, or "not" and one, would change scope."""
    if clause.object is None:
        return False
    fixed = ("the", "name", "bare", "generic")
    loose = (clause.subject.determiner not in fixed) + (clause.object.determiner not in fixed)
    return loose == 0 or (loose == 1 and not clause.negated)


def _place(clause: Clause) -> list[str]:
    if not clause.place:
        return []
    preposition, noun = clause.place.split()
    return [preposition, "the", noun]


def _with_circumstances(rng: Random, clause: Clause, core: list[str]) -> list[str]:
    """Adds place and time, at the front or the end."""
    place, time = _place(clause), clause.time.split()
    front: list[str] = []
    if place and rng.random() < 0.25:
        front, place = place, []
    elif time and rng.random() < 0.35:
        front, time = time, []
    tail = place + time if rng.random() < 0.5 else time + place
    return front + core + tail


def sentence(rng: Random, clause: Clause, scene: bool = False, prefix: bool = False, passive: float = 0.35) -> str:
    """One wording of a statement, lower case, tokens separated by blanks, ending in " .".

    ``scene`` words definites as "a" (first mention, as captions do), ``prefix`` may open with "we know that".

    >>> clause = Clause("village", Phrase("the", "farmer", "old"), "sell", Phrase("every", "pear"), negated=True)
    >>> sentence(Random(3), clause, passive=0.0)
    'the old farmer does not sell every pear .'
    """
    lexicon = LEXICONS[clause.lexicon]
    if clause.object is not None and passive and can_be_passive(clause) and rng.random() < passive:
        subject, many = _noun_phrase(rng, lexicon, clause.object, scene)
        agent, _ = _subjects(rng, lexicon, clause, scene)
        core = [*subject, "are" if many else "is"] + (["not"] if clause.negated else [])
        if clause.lexicon == "scene":
            core.append("being")
        adverb = [_word(rng, lexicon, clause.adverb)] if clause.adverb else []
        core += [*adverb, participle(_word(rng, lexicon, clause.verb)), "by", *agent]
    else:
        subject, many = _subjects(rng, lexicon, clause, scene)
        core = subject + _active_predicate(rng, lexicon, clause, many, scene)
    words = _with_circumstances(rng, clause, core)
    if prefix and rng.random() < 0.7:
        words = [*rng.choice(PREFIXES).split(), *words]
    return " ".join([*words, "."])


def _active_predicate(rng: Random, lexicon: Lexicon, clause: Clause, many: bool, scene: bool) -> list[str]:
    """Everything from the verb to the object, with agreement, negation and the adverb."""
    copula = "are" if many else "is"
    if clause.verb == "be":
        degree = [rng.choice(("very", "really"))] if clause.degree else []
        negation = ["not"] if clause.negated else []
        return [copula, *negation, *degree, _word(rng, lexicon, clause.complement)]
    verb = _word(rng, lexicon, clause.verb)
    if clause.lexicon == "scene":
        words = [copula, "not", progressive(verb)] if clause.negated else [copula, progressive(verb)]
    elif clause.negated:
        words = ["do" if many else "does", "not", verb]
    else:
        words = [verb if many else third_person(verb)]
    target = _noun_phrase(rng, lexicon, clause.object, scene)[0] if clause.object is not None else []
    if not clause.adverb:
        return words + target
    adverb = _word(rng, lexicon, clause.adverb)
    if rng.random() < 0.5:
        return [*words, *target, adverb]
    return [*words[:-1], adverb, words[-1], *target]


def question(rng: Random, asked: Question) -> str:
    """One wording of a question (the clause is read as positive), ending in " ?".

    >>> clause = Clause("village", Phrase("the", "baker"), "sell", Phrase("the", "pear"), place="in market")
    >>> question(Random(0), Question(clause, "place"))
    'where is the pear sold by the baker ?'
    """
    clause, gap = asked.clause, asked.gap
    lexicon = LEXICONS[clause.lexicon]
    verb = _word(rng, lexicon, clause.verb)
    adverb = [_word(rng, lexicon, clause.adverb)] if clause.adverb else []
    who = "who" if gap != "object" or clause.object is None or _is_human(lexicon, clause.object) else "what"
    if gap == "subject" and not _is_human(lexicon, clause.subject):
        who = "what"
    place = _place(clause) if gap != "place" else []
    time = clause.time.split() if gap != "time" else []
    tail = place + time if rng.random() < 0.5 else time + place
    opening = {"place": ["where"], "time": ["when"]}.get(gap, [])
    target = _noun_phrase(rng, lexicon, clause.object, False) if clause.object is not None else ([], False)
    if gap == "subject":
        if clause.object is not None and rng.random() < 0.35:
            be = "are" if target[1] else "is"
            words = ["by", "whom" if who == "who" else "what", be, *target[0], *adverb, participle(verb)]
        else:
            words = [who, *adverb, third_person(verb), *target[0]]
        return " ".join([*words, *tail, "?"])
    subject, many = _subjects(rng, lexicon, clause, False)
    if gap == "object":
        if rng.random() < 0.35:
            words = [who, "is", *adverb, participle(verb), "by", *subject]
        else:
            words = [who, "do" if many else "does", *subject, *adverb, verb]
        return " ".join([*words, *tail, "?"])
    if clause.object is not None and rng.random() < 0.35:
        words = [*opening, "are" if target[1] else "is", *target[0], *adverb, participle(verb), "by", *subject]
    else:
        words = [*opening, "do" if many else "does", *subject, *adverb, verb, *target[0]]
    return " ".join([*words, *tail, "?"])


def _is_human(lexicon: Lexicon, phrase: Phrase) -> bool:
    return phrase.determiner == "name" or lexicon.noun_class[phrase.noun] == "human"


def forms(lexicon: Lexicon, concept: str) -> set[str]:
    """Every form in which a concept of a vocabulary can appear, over its synonyms."""
    verb, scene = concept in lexicon.verb_objects, lexicon.name == "scene"
    mass = lexicon.name == "nature" and lexicon.noun_class.get(concept) == "thing"  # only ever bare plurals
    words = set()
    for word in lexicon.synonyms[concept]:
        if not (verb and scene) and not mass:
            words.add(word)
        if concept in lexicon.noun_class:
            words.add(plural(word))
        if verb:
            words.add(progressive(word) if scene else third_person(word))
            if lexicon.verb_objects[concept]:
                words.add(participle(word))
    return words


def vocabulary_words() -> tuple[str, ...]:
    """Every word the language can produce from the lexicons, sorted (function words included)."""
    words = {*_FUNCTION_WORDS.split(), *PREPOSITIONS, *" ".join((*TIMES, *PREFIXES)).split()}
    for lexicon in LEXICONS.values():
        words |= set(lexicon.names) | set(lexicon.places)
        for concept in lexicon.synonyms:
            words |= forms(lexicon, concept)
    return tuple(sorted(words))

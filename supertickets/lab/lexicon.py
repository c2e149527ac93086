"""The words of the lab's English, by vocabulary.

Four vocabularies share the function words: ``village`` and ``town`` (everyday prose; the second plays the
"mismatched" part of MNLI), ``scene`` (picture captions, the SNLI kin) and ``nature`` (general statements, the
SciTail kin). A *concept* is the first word of a group of synonyms; meanings hold concepts, sentences hold words.
Which words are synonyms, hypernyms or opposites is stipulated here: this is the language's dictionary, and the
labels of every lab task follow from it.

Table notation: ``a=b`` are synonyms, ``a~b`` opposites (never both true of the same thing at the same time),
``a>b`` says that ``b`` is the more general word.
"""

from __future__ import annotations

from dataclasses import dataclass

# hypernym | class | members. The class decides which verbs and adjectives fit.
_NOUNS = {
    "village": (
        "person | human | farmer doctor=physician teacher baker thief=robber",
        "animal | beast | dog cat horse cow",
        "fruit | thing | apple pear plum",
        "tool | thing | hammer knife shovel=spade",
    ),
    "town": (
        "worker | human | pilot nurse lawyer=attorney clerk guard",
        "bird | beast | pigeon crow owl",
        "document | thing | letter report bill=invoice",
        "vehicle | thing | bus truck=lorry taxi=cab",
    ),
    "scene": (
        "person | human | man woman boy=lad girl child=kid",
        "animal | beast | puppy goat pony",
        "toy | thing | ball kite doll",
        "instrument | thing | guitar drum flute",
    ),
    "nature": (
        "mammal | beast | whale bat wolf",
        "insect | beast | bee ant beetle",
        "plant | beast | fern oak cactus",
        "substance | thing | acid mineral salt gas",
    ),
}

# verbs: subject classes | object classes ("-": intransitive) | groups
_VERBS = {
    "village": (
        "human | thing | sell buy=purchase wash=clean carry find=discover~lose hide~show",
        "human beast | human beast | see=notice chase=pursue love=adore~hate",
        "human beast | - | sleep run>move walk>move laugh~cry sing",
    ),
    "town": (
        "human | thing | send examine=inspect repair=fix~damage accept~refuse=reject",
        "human | human | call=phone praise~blame trust",
        "human beast | - | work~rest arrive~depart smile wait",
    ),
    "scene": (
        "human | thing | hold=grip~drop throw~catch lift=raise watch",
        "human | human beast | push~pull feed follow",
        "human beast | - | jump=leap sit~stand swim climb",
    ),
    "nature": (
        "beast | thing | need=require produce=make absorb~release=emit",
        "beast | beast | eat=consume protect~harm attract~repel",
        "beast | - | grow~shrink migrate breathe",
    ),
}

# adjectives: noun classes | groups
_ADJECTIVES = {
    "village": (
        "human | old~young rich=wealthy~poor tall clever=smart",
        "beast | brown black",
        "thing | big=large~small=little red green heavy",
    ),
    "town": (
        "human | busy~idle strict=stern nervous~calm",
        "beast | grey noisy~silent",
        "thing | long~short cheap~expensive=costly official",
    ),
    "scene": (
        "human | happy=glad~sad blond wet~dry",
        "beast | white spotted",
        "thing | yellow blue tiny broken~intact",
    ),
    "nature": (
        "beast | wild~tame tropical rare poisonous=toxic",
        "thing | hot~cold dense pure",
    ),
}

_ADVERBS = {
    "village": "quickly=rapidly~slowly quietly~loudly",
    "town": "promptly=swiftly politely~rudely secretly",
    "scene": "gently eagerly carefully",
    "nature": "constantly=continuously rapidly~slowly",
}

_PLACES = {
    "village": "market garden kitchen barn",
    "town": "office station hospital library",
    "scene": "playground park pool field",
    "nature": "ocean desert forest soil",
}

PREPOSITIONS = ("in", "near", "behind")
TIMES = ("today", "on monday", "on friday", "at night", "at noon", "in summer", "in winter")
NAMES = {
    "village": ("anna", "bob", "carla", "david"),
    "town": ("emma", "frank", "george", "helen"),
    "scene": (),
    "nature": (),
}
PREFIXES = ("we know that", "studies show that", "it is clear that")

_IRREGULAR_PLURALS = {
    "person": "people",
    "man": "men",
    "woman": "women",
    "child": "children",
    "thief": "thieves",
    "knife": "knives",
    "wolf": "wolves",
    "cactus": "cacti",
    "bus": "buses",
    "gas": "gases",
}
_IRREGULAR_PARTICIPLES = {
    "sell": "sold",
    "buy": "bought",
    "find": "found",
    "lose": "lost",
    "hide": "hidden",
    "show": "shown",
    "see": "seen",
    "send": "sent",
    "hold": "held",
    "throw": "thrown",
    "catch": "caught",
    "feed": "fed",
    "eat": "eaten",
    "make": "made",
}
_DOUBLED = frozenset(("run", "grip", "drop", "sit", "swim", "repel", "emit"))  # last letter doubled before -ing, -ed


def plural(noun: str) -> str:
    """The plural of a singular noun.

    >>> plural("thief"), plural("puppy"), plural("bus")
    ('thieves', 'puppies', 'buses')
    """
    if noun in _IRREGULAR_PLURALS:
        return _IRREGULAR_PLURALS[noun]
    return noun[:-1] + "ies" if noun.endswith("y") and noun[-2] not in "aeiou" else noun + "s"


def third_person(verb: str) -> str:
    """The form of a verb after a singular subject.

    >>> third_person("carry"), third_person("wash"), third_person("sell")
    ('carries', 'washes', 'sells')
    """
    if verb.endswith(("sh", "ch", "s", "x")):
        return verb + "es"
    return verb[:-1] + "ies" if verb.endswith("y") and verb[-2] not in "aeiou" else verb + "s"


def participle(verb: str) -> str:
    """The past participle, used in the passive.

    >>> participle("sell"), participle("chase"), participle("grip")
    ('sold', 'chased', 'gripped')
    """
    if verb in _IRREGULAR_PARTICIPLES:
        return _IRREGULAR_PARTICIPLES[verb]
    if verb in _DOUBLED:
        return verb + verb[-1] + "ed"
    if verb.endswith("e"):
        return verb + "d"
    return verb[:-1] + "ied" if verb.endswith("y") and verb[-2] not in "aeiou" else verb + "ed"


def progressive(verb: str) -> str:
    """The -ing form.

    >>> progressive("sit"), progressive("chase"), progressive("see")
    ('sitting', 'chasing', 'seeing')
    """
    if verb in _DOUBLED:
        return verb + verb[-1] + "ing"
    return verb[:-1] + "ing" if verb.endswith("e") and not verb.endswith("ee") else verb + "ing"


@dataclass(frozen=True)
class Lexicon:
    """One vocabulary, by concept. Nothing here is ever changed after ``_build``."""

    name: str
    synonyms: dict[str, tuple[str, ...]]  # concept -> its words, the concept first
    opposites: dict[str, str]
    hypernyms: dict[str, str]  # nouns and verbs
    hyponyms: dict[str, tuple[str, ...]]
    noun_class: dict[str, str]
    nouns_by_class: dict[str, tuple[str, ...]]
    verb_subjects: dict[str, tuple[str, ...]]
    verb_objects: dict[str, tuple[str, ...]]  # empty: intransitive
    adjectives_by_class: dict[str, tuple[str, ...]]
    adverbs: tuple[str, ...]
    places: tuple[str, ...]
    names: tuple[str, ...]

    def siblings(self, concept: str) -> tuple[str, ...]:
        """Other nouns under the same more general word, or of the same class when there is none."""
        over = self.hypernyms.get(concept)
        pool = self.hyponyms[over] if over else self.nouns_by_class[self.noun_class[concept]]
        return tuple(noun for noun in pool if noun != concept)


def _build(name: str) -> Lexicon:
    synonyms: dict[str, tuple[str, ...]] = {}
    opposites: dict[str, str] = {}
    hypernyms: dict[str, str] = {}

    def groups(text: str) -> list[str]:
        """Concepts of a row of groups; notes synonyms, opposites and more general words on the way."""
        found = []
        for group in text.split():
            group, _, over = group.partition(">")
            heads = []
            for side in group.split("~"):
                words = tuple(side.split("="))
                synonyms[words[0]] = words
                heads.append(words[0])
            if len(heads) == 2:
                opposites[heads[0]], opposites[heads[1]] = heads[1], heads[0]
            if over:
                synonyms[over] = (over,)
                hypernyms[heads[0]] = over
            found += heads
        return found

    noun_class: dict[str, str] = {}
    for row in _NOUNS[name]:
        over, kind, members = (part.strip() for part in row.split("|"))
        synonyms[over], noun_class[over] = (over,), kind
        for noun in groups(members):
            hypernyms[noun], noun_class[noun] = over, kind
    verb_subjects: dict[str, tuple[str, ...]] = {}
    verb_objects: dict[str, tuple[str, ...]] = {}
    for row in _VERBS[name]:
        subjects, objects, members = (part.strip() for part in row.split("|"))
        concepts = groups(members)
        concepts += sorted({hypernyms[verb] for verb in concepts if verb in hypernyms})
        for verb in concepts:
            verb_subjects[verb] = tuple(subjects.split())
            verb_objects[verb] = () if objects == "-" else tuple(objects.split())
    adjectives = {}
    for row in _ADJECTIVES[name]:
        kind, members = (part.strip() for part in row.split("|"))
        adjectives[kind] = tuple(groups(members))
    adverbs = tuple(groups(_ADVERBS[name]))
    places = tuple(_PLACES[name].split())
    for word in places + NAMES[name]:
        synonyms[word] = (word,)
    return Lexicon(
        name=name,
        synonyms=synonyms,
        opposites=opposites,
        hypernyms=hypernyms,
        hyponyms={over: tuple(w for w, o in hypernyms.items() if o == over) for over in hypernyms.values()},
        noun_class=noun_class,
        nouns_by_class={kind: tuple(n for n, k in noun_class.items() if k == kind) for kind in noun_class.values()},
        verb_subjects=verb_subjects,
        verb_objects=verb_objects,
        adjectives_by_class=adjectives,
        adverbs=adverbs,
        places=places,
        names=NAMES[name],
    )


LEXICONS: dict[str, Lexicon] = {name: _build(name) for name in _NOUNS}
EVERYDAY = ("village", "town")

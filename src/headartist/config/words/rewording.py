"""What the shipped prior is told of a prompt: its own words for what they mean, and nothing of what is to be absent.

A negative text would not help it: one word there changes nothing, and several lead away from colour pictures to normal
maps. Large priors are told every prompt as it is.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from headartist.config.words.negation import without_absent
from headartist.config.words.parts import DETERMINERS, Part, parse, render
from headartist.config.words.vocabulary import known_words, told_of, unknown_words

SYNONYMS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("guy", "gentleman", "bloke", "dude"), "man"),
        **dict.fromkeys(("female", "gal"), "woman"),
        **dict.fromkeys(("specs", "eye glasses", "eyewear"), "glasses"),
        "sun glasses": "sunglasses",
        **dict.fromkeys(("makeup", "make up"), "make-up"),
        **dict.fromkeys(("mustachio", "moustachio"), "moustache"),
        **dict.fromkeys(("extraterrestrial", "extra-terrestrial"), "alien"),
        "sculpture": "statue",
        **dict.fromkeys(("african american", "african-american", "afro-american"), "African"),
        **dict.fromkeys(("middle age", "middle-age"), "middle-aged"),
        "senior": "elderly",
        **dict.fromkeys(("plump", "tubby"), "chubby"),
        "slender": "slim",
        "grinning": "smiling",
        "unhappy": "sad",
        "asleep": "sleeping",
        "freckle": "freckles",
        "wrinkle": "wrinkles",
        "wrinkly": "wrinkled",
        "freckly": "freckled",
        "dreadlock": "dreadlocks",
        **dict.fromkeys(("headwear", "headgear"), "hat"),
        **dict.fromkeys(("hairless", "bald-headed", "baldheaded", "shaven-headed", "shaved-headed"), "bald"),
    }
)
"""Other spellings and exact synonyms of what the shipped prior knows, in small letters."""
_ADJECTIVES: Mapping[str, str] = MappingProxyType(
    {
        "bearded": "a beard",
        **dict.fromkeys(("moustached", "mustached", "moustachioed", "mustachioed"), "a moustache"),
        **dict.fromkeys(("unshaven", "stubbly", "stubbled"), "stubble"),
        "bespectacled": "glasses",
        "hatted": "a hat",
        "haired": "hair",
        "eyed": "eyes",
    }
)
"""What somebody has who is so called, alone or after a hyphen: who is "grey-haired" has "grey hair"."""
_PHRASES: Mapping[str, str] = MappingProxyType(
    {
        r"clean shaven": "clean-shaven",
        r"facial hair|hair on (?:his|her|the|their) (?:face|chin)": "facial-hair",
        r"(?:is|does|has|do|are)(?:n['\u2019]t| not)|no longer": "not",
        r"w/o|sans|minus|free (?:of|from)": "without",
        r"(?:take|shave|pull)((?: (?!and\b)\w+){1,4}) off": r"remove\1",
        r"(?:take|shave|pull) off|get rid of": "remove",
        r"(?:and )?(?:add|put on|give (?:him|her|them|it))": "with",
        r"with an? (?:bald|shaved|shaven) head": ", bald",
    }
)
"""Turns of phrase, and one that says the same in words that `parts` and `negation` know."""


def _whole(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w-])(?:{pattern})(?![\w-])", re.IGNORECASE)


_TURNS = tuple((_whole(pattern), put) for pattern, put in _PHRASES.items())
_SYNONYM = _whole("|".join(sorted(SYNONYMS, key=len, reverse=True)))
_PLURAL = _whole("[a-z]{3,}s")


@dataclass(frozen=True)
class Reading:
    """A prompt as the shipped prior is told it.

    Attributes:
        text: what it is told.
        replaced: what was exchanged for its own words, by what was typed.
        unknown: words that are left and mean nothing to it.
    """

    text: str
    replaced: Mapping[str, str]
    unknown: tuple[str, ...]

    @property
    def warning(self) -> str:
        """One line for the user; empty where all is understood."""
        return told_of(self.unknown, self.replaced)


def read(prompt: str) -> Reading:
    """Tell a prompt in the words of the shipped prior's captions, which name nothing that is absent.

    A prompt of its words that denies nothing stays as it is, letter by letter.
    """
    replaced: dict[str, str] = {}
    text = prompt
    for turn, put in _TURNS:
        text = turn.sub(put, text)
    text = _SYNONYM.sub(lambda found: _exchanged(found[0], SYNONYMS[found[0].lower()], replaced), text)
    text = _PLURAL.sub(lambda found: _singular(found[0], replaced), text)
    typed = parse(text)
    parts = _spelled_out(without_absent(typed), replaced)
    if parts != typed:
        text = render(parts) or "a portrait"
    return Reading(text, replaced, unknown_words(text))


def _exchanged(typed: str, put: str, replaced: dict[str, str]) -> str:
    replaced[typed] = put
    return put


def _singular(typed: str, replaced: dict[str, str]) -> str:
    """The word without its last letter, where the prior knows it so alone."""
    small = typed.lower()
    if small in known_words() or small[:-1] not in known_words():
        return typed
    return _exchanged(typed, typed[:-1], replaced)


def _spelled_out(parts: list[Part], replaced: dict[str, str]) -> list[Part]:
    """The parts with "with a beard" behind the one that has "bearded" in it, or behind its noun."""
    told: list[Part] = []
    owed: list[str] = []  # what was had by the words so far, and is to be told behind the noun
    for part in parts:
        had = {word: thing for word in part.words if (thing := _had_by(word))}
        replaced |= {typed: f"with {thing}" for typed, thing in had.items()}
        left = replace(part, words=tuple(word for word in part.words if word not in had))
        if owed:  # "a bearded, old man"
            left = replace(left, links=())
        elif (
            told and told[-1] not in parts and left.links == ("with",)
        ):  # "a bearded man with a hat": one "with" for both
            left = replace(left, links=("and",))
        owed += had.values()
        told += [left] if left.words else []
        if left.words and left.words[-1].lower() not in DETERMINERS:
            told += [Part(("and" if k else "with",), tuple(thing.split())) for k, thing in enumerate(owed)]
            owed = []
    return [*told, *(Part(("with",), tuple(thing.split())) for thing in owed)]


def _had_by(word: str) -> str:
    """What somebody has who is called so; nothing for other words."""
    *how, last = word.lower().split("-")
    thing = _ADJECTIVES.get(last, "")
    if not thing or not set(how) <= known_words() or (not how and last in ("haired", "eyed")):
        return ""
    article, _, noun = thing.rpartition(" ")
    return " ".join((*([article] if article else []), *how, noun))

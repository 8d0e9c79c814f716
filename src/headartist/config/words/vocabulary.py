"""Which words the shipped prior was taught, and what to say of the others.

A large prior knows any word; the shipped one knows those of the captions it was trained on, which lie beside its
weights, and takes every other word for noise or for something else.
"""

import difflib
import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

WORDS = Path(__file__).parents[2] / "priors" / "embedded" / "words.txt"
PLAIN = frozenset(
    re.findall(
        r"\w+",
        "a an the of with and in on at as to by from for or who that is has have his her its their this very some one "
        "while both also like picture image photograph headshot closeup close",
    )
)
"""Words that carry a sentence and name nothing: they are let pass."""
HINTS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("person", "human", "people", "someone"), "man or woman"),
        **dict.fromkeys(("boy", "teenager", "teen", "child", "kid", "toddler", "baby"), "young man"),
        "girl": "young woman",
        **dict.fromkeys(("grandmother", "grandma", "granny"), "old woman"),
        **dict.fromkeys(("grandfather", "grandpa", "granddad"), "old man"),
        **dict.fromkeys(("chinese", "japanese", "korean", "vietnamese", "thai"), "Asian"),
        **dict.fromkeys(("american", "british", "english", "french", "german", "italian", "nordic"), "European"),
        **dict.fromkeys(("nigerian", "ethiopian", "kenyan"), "African"),
        "brunette": "brown hair",
        "redhead": "red hair",
        **dict.fromkeys(("silver", "silvery"), "grey"),
        "orange": "ginger",
        **dict.fromkeys(("shades", "goggles"), "sunglasses"),
        **dict.fromkeys(("obese", "heavy", "stout"), "overweight"),
        **dict.fromkeys(("furious", "mad", "grumpy"), "angry"),
        **dict.fromkeys(("crying", "depressed", "melancholic"), "sad"),
        **dict.fromkeys(("grin", "cheerful", "joyful"), "smiling"),
        **dict.fromkeys(("shocked", "astonished", "amazed", "screaming"), "surprised"),
        **dict.fromkeys(("stone", "plaster"), "marble"),
        **dict.fromkeys(("metal", "copper"), "bronze"),
        **dict.fromkeys(("undead", "ghoul"), "zombie"),
        **dict.fromkeys(("martian", "monster"), "alien"),
        **dict.fromkeys(("witch", "magician"), "wizard hat"),
        **dict.fromkeys(("hood", "turban", "bonnet"), "hat"),
    }
)
"""What comes near to a word that has no exact synonym among those the prior knows."""
_ENDINGS = ("s", "es", "ed", "ing", "y", "ish", "er", "less")
_SHOWN, _LONGEST = 6, 24


@cache
def known_words() -> frozenset[str]:
    """Read the words that the shipped prior was taught, in small letters."""
    return frozenset(WORDS.read_text(encoding="utf-8").split())


def unknown_words(text: str) -> tuple[str, ...]:
    """List the words of a text that name something and that the shipped prior was not taught, each once.

    Hyphens and apostrophes part words, as they do for the prior; emoji and other symbols count as words.
    """
    composed = unicodedata.normalize("NFC", text)
    found: dict[str, str] = {}
    for word in re.findall(r"[^\s!-/:-@\[-`{-~\u2010-\u205e\u3001-\u303f\uff01-\uff0f\uff1a-\uff20«»]+", composed):
        small = word.lower()
        if small not in known_words() and small not in PLAIN and not (word.isascii() and len(word) == 1):
            found.setdefault(small, word)
    return tuple(found.values())


def nearest(word: str) -> str | None:
    """Find what the shipped prior knows that comes nearest to a word: by meaning, by its stem or by its letters."""
    small, known = word.lower(), known_words()
    if small in HINTS:
        return HINTS[small]
    stems = (small.removesuffix(ending) for ending in _ENDINGS if small.endswith(ending))
    related = (stem for known_stem in stems for stem in (known_stem, f"{known_stem}e", f"{known_stem}s"))
    if len(small) < 4:
        return next((each for each in related if each in known), None)
    similar = difflib.get_close_matches(small[:_LONGEST], known, n=1, cutoff=0.8)
    return next((each for each in related if len(each) > 2 and each in known), similar[0] if similar else None)


def told_of(unknown: Iterable[str], replaced: Mapping[str, str]) -> str:
    """One line for the user: the words that mean nothing to the shipped prior, and those read as others; or nothing.

    Args:
        unknown: from `unknown_words`.
        replaced: exact synonyms, by the word that was typed.
    """
    words = list(unknown)
    hints = {word: nearest(word) for word in words[:_SHOWN]}
    shown = [f"{_short(word)} (it knows {hint!r})" if hint else _short(word) for word, hint in hints.items()]
    more = f" and {len(words) - _SHOWN} more" if len(words) > _SHOWN else ""
    read = ", ".join(f"{typed!r} as {known!r}" for typed, known in replaced.items())
    parts = [f"the embedded prior reads {read}"] if read else []
    if words:
        parts.append(f"{'and it' if read else 'the embedded prior'} does not know {', '.join(shown)}{more}")
    if not all(hints.values()) or more:
        parts.append(
            "it was taught no names, professions or other languages: describe the face by age, sex, origin, build, "
            "skin, hair, beard, glasses, hat, paint, expression or material"
        )
    return "; ".join(parts)


def _short(word: str) -> str:
    return repr(word if len(word) <= _LONGEST else f"{word[:_LONGEST]}…")

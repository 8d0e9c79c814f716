"""A prompt in its parts: what it names, and the small words before each that say whether it is there.

"an old man with a beard, not smiling" has three: "an old man"; with: "a beard"; comma, not: "smiling".
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from headartist.config.words.vocabulary import known_words

HAS = frozenset(("with", "has", "have", "having", "had"))
WEARS = frozenset(("wearing", "wears", "wear", "in"))
JOINS = frozenset(("and", "but", "or", "nor", "yet"))
DENIES_ONE = frozenset(("no", "not", "never"))
DENIES_ALL = frozenset(("without", "neither", "lacking", "lacks", "remove", "lose", "shave"))
DENIES = DENIES_ONE | DENIES_ALL
_LINKS = HAS | WEARS | JOINS | DENIES | {"who", "that", "which", "is", "are"}
DETERMINERS = frozenset(["a", "an", "the", "any", "some", "his", "her", "its", "their", "this", "that"])
_PREPOSITIONS = frozenset(["on", "at", "of", "from", "over", "under", "around", "above", "to", "like", "than"])
HAIR = frozenset(
    ["hair", "haircut", "afro", "mohawk", "dreadlocks", "dreads", "bob", "braid", "ponytail", "bun", "knot"]
)
FACIAL_HAIR = frozenset(("beard", "goatee", "moustache", "mustache", "stubble"))
HATS = frozenset(("hat", "fedora", "cap", "beanie", "helmet"))
GLASSES = frozenset(("glasses", "spectacles", "eyeglasses", "sunglasses"))
THINGS = HAIR | FACIAL_HAIR | HATS | GLASSES | {"paint", "up", "stripes", "freckles", "wrinkles", "smile", "eyes"}
"""What the shipped prior knows that one can have or wear; "up" ends "make-up"."""
PERSONS = frozenset(("man", "woman", "lady", "male", "alien", "zombie", "clown", "statue", "bust"))


@dataclass(frozen=True)
class Part:
    """What is named, as typed, and the links before it, in small letters; a comma stands for all punctuation."""

    links: tuple[str, ...]
    words: tuple[str, ...]

    @property
    def small(self) -> tuple[str, ...]:
        """The words in small letters."""
        return tuple(word.lower() for word in self.words)

    @property
    def named(self) -> tuple[str, ...]:
        """The words that name it, in small letters: no determiners, and nothing from a preposition on."""
        words = []
        for word in self.small:
            if word in _PREPOSITIONS:
                break
            if word not in DETERMINERS:
                words.append(word)
        return tuple(words)

    @property
    def is_thing(self) -> bool:
        """Whether it can be had: a known thing, or something that the prior does not know."""
        return bool(self.named) and (is_thing(self.named[-1]) or self.named[-1] not in known_words())


def is_thing(word: str) -> bool:
    """Whether a word, in small letters, is a thing that the shipped prior knows."""
    return re.split("-", word)[-1] in THINGS


def parse(text: str) -> list[Part]:
    """Split a prompt into its parts; links at the end have a part without words."""
    parts: list[Part] = []
    links: list[str] = []
    words: list[str] = []
    for token in re.findall(r"[,.;:!?()]+|[^\s,.;:!?()]+", text):
        small = "," if token[0] in ",.;:!?()" else token.lower()
        # "hair in a braid" is one thing.
        if small == "," or (small in _LINKS and not (small == "in" and words and words[-1].lower() == "hair")):
            if words:
                parts.append(Part(tuple(links), tuple(words)))
                links, words = [], []
            links.append(small)
        else:
            words.append(token)
    return [*parts, Part(tuple(links), tuple(words))] if links or words else parts


def render(parts: Iterable[Part]) -> str:
    """The sentence of the parts, with "a" and "an" as the letter after them wants it."""
    text = " ".join(word for part in parts for word in (*part.links, *part.words))
    text = re.sub(r"(?: ?,)+", ",", text).strip(" ,")
    return re.sub(
        r"\b(a)n?(?= ([a-z]))", lambda found: found[1] + ("n" if found[2].lower() in "aeiou" else ""), text, flags=re.I
    )


def replaced(parts: Sequence[Part], index: int, *new: Part) -> list[Part]:
    """The parts with others in the place of one."""
    return [*parts[:index], *new, *parts[index + 1 :]]

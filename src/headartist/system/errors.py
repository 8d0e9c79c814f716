"""The one exception a user may cause, and how it suggests a word and shows a value."""

import difflib
import reprlib
from collections.abc import Iterable

LONGEST = 400
"""Characters of a sentence: who reads it is at a terminal."""

_brief = reprlib.Repr()
_brief.maxstring = _brief.maxother = _brief.maxlong = 60
_brief.maxlevel = 3


class HeadArtistError(Exception):
    """A mistake the user can mend: one sentence that names the thing, the value and the next step."""

    def __init__(self, sentence: str):
        super().__init__(one_line(sentence))


def one_line(sentence: str) -> str:
    """Make a sentence fit one line of a terminal: printable, and cut in its middle where a value made it long."""
    plain = "".join(letter if letter.isprintable() else _spelled(letter) for letter in sentence[: 100 * LONGEST])
    return plain if len(plain) <= LONGEST else f"{plain[: LONGEST - 105]} ... {plain[-100:]}"


def _spelled(letter: str) -> str:
    return " " if letter.isspace() else repr(letter)[1:-1]


def shown(value: object) -> str:
    """Name a value in a sentence, however long or deep it is."""
    try:
        return _brief.repr(value)
    except ValueError:  # Python writes out no integer of thousands of digits
        return "a number of thousands of digits"


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """End an error about an unknown word: with the closest choice, or all of them."""
    choices = list(choices)
    close = difflib.get_close_matches(word[:LONGEST], choices, n=1)
    return f"did you mean {close[0]!r}?" if close else f"choose among {', '.join(choices)}."

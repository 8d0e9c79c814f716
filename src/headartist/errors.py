"""The one exception a user may cause, and how it suggests a word."""

import difflib
from collections.abc import Iterable


class HeadArtistError(Exception):
    """A mistake the user can mend: one sentence that names the thing, the value and the next step."""


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """The end of an error about an unknown word: the closest choice, or all of them."""
    choices = list(choices)
    close = difflib.get_close_matches(word, choices, n=1)
    return f"did you mean {close[0]!r}?" if close else f"choose among {', '.join(choices)}."

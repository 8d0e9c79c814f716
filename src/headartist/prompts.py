"""The words of one view: what the user typed, where the camera stands, and what is to be avoided.

View words follow DreamFusion (appendix A.2): they are appended for the guided prediction of Eq. 6 only, never for the
plain one.
"""

import math
import re

from headartist.errors import HeadArtistError

VIEW_WORDS = ("front view", "side view", "back view", "overhead view")
NEGATIVE = "worst quality, low quality, semi-realistic"
"""The negative text of the paper (4.2.2)."""
NEGATIVE_PHOTO = f"{NEGATIVE}, overexposed, underexposed, over saturation, sketch, cartoon, drawing"
"""The negative text of the released code; its last three words are wrong for a drawn or cartoon character."""

PREFIXES = (
    "a DSLR portrait of",
    "a DSLR photo of",
    "a head of",
    "a portrait of",
    "a photo of",
    "a normal map of",
)


def view_word(azimuth_deg: float, elevation_deg: float) -> str:
    """The word for a view: overhead above 60 deg, else front within 45 deg of the face, back beyond 135, side between.

    Any azimuth is accepted; it is taken modulo a full turn.
    """
    if elevation_deg > 60:
        return "overhead view"
    away = abs(math.remainder(azimuth_deg, 360))
    if away < 45:
        return "front view"
    return "back view" if away > 135 else "side view"


def subject(prompt: str) -> str:
    """The prompt without a known prefix: "a DSLR portrait of Lionel Messi" becomes "Lionel Messi"."""
    for prefix in PREFIXES:
        if prompt.lower().startswith(prefix.lower() + " "):
            return prompt[len(prefix) :].strip()
    return prompt


def plain_text(template: str, prompt: str) -> str:
    """The stage's text for a prompt, without view words.

    Args:
        template: words of a stage with `{prompt}` (as typed) or `{subject}` (without its prefix) in them.
        prompt: what the user typed.
    """
    words = {"{prompt}": prompt, "{subject}": subject(prompt)}
    return re.sub(r"\{(?:prompt|subject)\}", lambda match: words[match.group()], template)


def view_text(plain: str, word: str) -> str:
    """The text of one view: "a head of a clown, side view"."""
    return f"{plain}, {word}"


def check_prompt(prompt: str) -> str:
    """The prompt without outer blanks.

    Raises:
        HeadArtistError: when nothing is left.
    """
    prompt = " ".join(prompt.split())
    if not prompt:
        raise HeadArtistError('The prompt is empty: say whose head, as in "a DSLR portrait of Vincent van Gogh".')
    return prompt

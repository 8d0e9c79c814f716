"""The words of one view: what the user typed, where the camera stands, and what is to be avoided.

View words follow DreamFusion (appendix A.2): they are appended for the guided prediction of Eq. 6 only, never for the
plain one. Or they follow Perp-Neg (Armandpour et al. 2023): mixed by angle, and moved away from those of other views.
"""

import math
import re
import unicodedata
from dataclasses import dataclass

from headartist.system.errors import HeadArtistError

FRONT, SIDE, BACK, OVERHEAD = VIEW_WORDS = ("front view", "side view", "back view", "overhead view")
NEGATIVE = "worst quality, low quality, semi-realistic"
"""The negative text of the paper (4.2.2)."""
NEGATIVE_LIGHT = f"{NEGATIVE}, overexposed, underexposed, over saturation"
NEGATIVE_PHOTO = f"{NEGATIVE_LIGHT}, sketch, cartoon, drawing"
"""The negative text of the released code; its last three words are wrong for a drawn or cartoon character."""
UNREAL_PREFIX = "a head of"
"""What the paper's prompts for characters that were never photographed begin with (its figure 7)."""

OVERHEAD_DEG = 60.0
LONGEST_PROMPT = 2_000
"""Characters; a prior reads a tenth of them at most."""
PREFIXES = (
    "a DSLR portrait of",
    "a DSLR photo of",
    UNREAL_PREFIX,
    "a portrait of",
    "a photo of",
    "a normal map of",
)


class PromptWarning(UserWarning):
    """Something of a prompt that the prior will not heed."""


def view_word(azimuth_deg: float, elevation_deg: float) -> str:
    """The word for a view: overhead above 60 deg, else front within 45 deg of the face, back beyond 135, side between.

    Any azimuth is accepted; it is taken modulo a full turn.
    """
    if elevation_deg > OVERHEAD_DEG:
        return OVERHEAD
    away = abs(math.remainder(azimuth_deg, 360))
    if away < 45:
        return FRONT
    return BACK if away > 135 else SIDE


@dataclass(frozen=True)
class ViewMix:
    """How one view is told by Perp-Neg.

    Attributes:
        towards: words and their shares, which sum to 1: the text's features are mixed so.
        away: words of other views and their weights, 0 or below.
    """

    towards: tuple[tuple[str, float], ...]
    away: tuple[tuple[str, float], tuple[str, float]]


def view_mix(azimuth_deg: float, elevation_deg: float) -> ViewMix:
    """Front, side and back mixed by the angle from the face, and what to move away from; overhead stands alone.

    The weights are shifted exponential decays `a exp(-b r) + c` of the mixture r, with threestudio's constants.
    """
    if elevation_deg > OVERHEAD_DEG:
        return ViewMix(towards=((OVERHEAD, 1.0),), away=((FRONT, 0.0), (SIDE, 0.0)))
    quarters = abs(math.remainder(azimuth_deg, 360)) / 90
    if quarters < 1:
        front = 1 - quarters
        return ViewMix(
            towards=((FRONT, front), (SIDE, 1 - front)),
            away=((FRONT, -_decay(4.0, -2.426, front)), (SIDE, -_decay(4.0, -2.426, 1 - front))),
        )
    side = 2 - quarters
    return ViewMix(
        towards=((SIDE, side), (BACK, 1 - side)),
        away=((FRONT, -_decay(1.0, 0.967, side)), (SIDE, -_decay(1.0, -0.606, side))),
    )


def _decay(height: float, shift: float, share: float) -> float:
    return height * math.exp(-0.5 * share) + shift


def subject(prompt: str) -> str:
    """Return the prompt without a known prefix: "a DSLR portrait of Lionel Messi" becomes "Lionel Messi"."""
    for prefix in PREFIXES:
        if prompt.lower().startswith(prefix.lower() + " "):
            return prompt[len(prefix) :].strip()
    return prompt


def plain_text(template: str, prompt: str) -> str:
    """Return the stage's text for a prompt, without view words.

    Args:
        template: words of a stage with `{prompt}` (as typed) or `{subject}` (without its prefix) in them.
        prompt: what the user typed.
    """
    words = {"{prompt}": prompt, "{subject}": subject(prompt)}
    return re.sub(r"\{(?:prompt|subject)\}", lambda match: words[match.group()], template)


def negative_text(template: str, prompt: str) -> str:
    """Return the stage's negative text, with `default_negative` in the place of `{negative}`."""
    return template.replace("{negative}", default_negative(prompt))


def default_negative(prompt: str) -> str:
    """Return what to avoid for a prompt: for one that wants no photograph, drawings are left out of it.

    Those are prompts that begin with "a head of", as the paper's unreal characters do, and prompts that ask for a
    sketch, a cartoon or a drawing.
    """
    drawn = re.search(r"\b(?:sketch|cartoon|drawing)", prompt, re.IGNORECASE)
    return NEGATIVE_LIGHT if drawn or prompt.lower().startswith(f"{UNREAL_PREFIX} ") else NEGATIVE_PHOTO


LIKENESS = re.compile(r"as (an? (?:.+ )?(?:statue|bust|sculpture|carving|figurine))", re.IGNORECASE)
"""Instructions that make an image of somebody out of somebody."""


def edited_prompt(prompt: str, instruction: str) -> str:
    """Return the text of an edited head: the instruction appended to its parent's prompt, or in its place.

    "a DSLR portrait of an old man" and "with a beard" become "a DSLR portrait of an old man, with a beard". An
    instruction that begins with a known prefix, as in "a DSLR portrait of a young man", says all by itself. One that
    asks for a likeness, as in "as a marble statue", goes before the subject: "a DSLR portrait of a marble statue of an
    old man". Behind it, small text encoders read the flesh and not the stone.
    """
    if subject(instruction) != instruction:
        return instruction
    if likeness := LIKENESS.fullmatch(instruction.strip()):
        who = subject(prompt)
        return f"{prompt[: len(prompt) - len(who)]}{likeness[1]} of {who}"
    return f"{prompt}, {instruction}"


def view_text(plain: str, word: str) -> str:
    """Return the text of one view: "a head of a clown, side view"."""
    return f"{plain}, {word}"


def check_prompt(prompt: str) -> str:
    """Return the prompt without outer blanks.

    Raises:
        HeadArtistError: nothing that shows is left, it is too long, or characters in it are no text.
    """
    if len(prompt) > LONGEST_PROMPT:
        raise HeadArtistError(
            f"The prompt has {len(prompt):,} characters: say it in {LONGEST_PROMPT:,}, of which a prior reads the "
            "first few dozen words."
        )
    prompt = " ".join(prompt.split())
    kinds = [unicodedata.category(letter) for letter in prompt]
    for letter, kind in zip(prompt, kinds, strict=True):
        if kind in ("Cc", "Cs"):
            raise HeadArtistError(
                f"The prompt {prompt[:60]!r} has a character in it that is no text, {letter!r}: leave it out."
            )
    if all(kind[0] in "CZ" for kind in kinds):
        raise HeadArtistError(
            'The prompt is empty: say whose head, as in "a DSLR portrait of an old man with a beard".'
        )
    return prompt

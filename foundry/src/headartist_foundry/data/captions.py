"""Captions: one picture's words, with synonyms, dropped attributes, changing order.

Two domains share one grammar: colour pictures, and camera-space normal maps, whose captions begin with
`NORMAL_PREFIX` and speak mostly of shape. Pictures that went wrong on purpose carry `NEGATIVE_WORDS` instead.
"""

import re

import numpy as np

from headartist.config.prompts import VIEW_WORDS
from headartist_foundry.data.traits import Traits, sample_traits

NORMAL_PREFIX = "a normal map of"
COLOR_PREFIXES = ("a DSLR portrait of", "a photo of", "a portrait of", "a head of", "a DSLR photo of", "")
NEGATIVE_WORDS = (
    "worst quality",
    "low quality",
    "semi-realistic",
    "overexposed",
    "underexposed",
    "over saturation",
    "sketch",
    "cartoon",
    "drawing",
)
SYNONYMS: dict[str, tuple[str, ...]] = {
    "young": ("young", "young", "youthful"),
    "middle-aged": ("middle-aged", "middle aged"),
    "old": ("old", "old", "elderly", "aged"),
    "caucasian": ("Caucasian", "white", "European"),
    "african": ("African", "black", "dark-skinned"),
    "asian": ("Asian", "Asian", "East Asian"),
    "thin": ("thin", "slim", "skinny"),
    "overweight": ("overweight", "fat", "chubby"),
    "smiling": ("smiling", "smiling", "with a smile", "happy", "laughing"),
    "surprised": ("surprised", "mouth open", "with an open mouth", "shouting"),
    "angry": ("angry", "angry expression", "frowning"),
    "sad": ("sad", "sad expression"),
    "eyes closed": ("eyes closed", "with closed eyes", "sleeping"),
    "short beard": ("short beard", "short beard", "beard", "trimmed beard"),
    "full beard": ("full beard", "beard", "long beard", "thick beard"),
    "goatee": ("goatee",),
    "moustache": ("moustache", "mustache"),
    "stubble": ("stubble", "short stubble"),
    "glasses": ("glasses", "glasses", "spectacles", "eyeglasses"),
    "sunglasses": ("sunglasses", "dark glasses"),
    "fedora": ("hat", "fedora", "fedora hat"),
    "cap": ("cap", "cap", "baseball cap"),
    "knitted hat": ("knitted hat", "beanie", "wool hat"),
    "helmet": ("helmet",),
    "wizard hat": ("wizard hat", "pointed hat"),
    "blonde": ("blonde", "blonde", "blond", "golden"),
    "brown": ("brown", "brown", "dark brown"),
    "red": ("red", "red", "ginger"),
    "grey": ("grey", "gray"),
    "pale": ("pale", "pale", "fair-skinned"),
    "tanned": ("tanned", "tan"),
    "dark": ("dark-skinned", "dark-skinned", "deep-skinned"),
    "freckles": ("freckles", "freckles", "a freckled face"),
    "wrinkles": ("wrinkles", "deep wrinkles", "a wrinkled face"),
    "face paint": ("face paint", "a painted face"),
    "war paint": ("war paint", "war paint", "painted stripes"),
    "skull": ("skull face paint", "a painted skull face", "skull make-up"),
    "curly": ("curly", "curly", "curled", "wavy"),
    "dreadlocks": ("dreadlocks", "dreadlocks", "dreads"),
    "bun": ("bun", "bun", "top knot"),
    "crown braid": ("crown braid", "braided crown"),
    "mohawk": ("mohawk", "mohawk", "mohawk haircut"),
    "man": ("man", "man", "man", "male"),
    "woman": ("woman", "woman", "woman", "lady"),
}


MOST_PHRASES = 4
"""The text encoder reads 32 tokens, and the view words come last."""
Draw = np.random.Generator


def _say(rng: Draw, word: str) -> str:
    """Sample a synonym."""
    return str(rng.choice(SYNONYMS[word])) if word in SYNONYMS else word


def _maybe(rng: Draw, word: str, keep: float = 0.85) -> str:
    """Say a word with probability `keep`, else nothing."""
    return _say(rng, word) if word and rng.random() < keep else ""


def _join(*words: str) -> str:
    """Join the words that are not empty."""
    return " ".join(word for word in words if word)


def with_article(words: str) -> str:
    """Put "a" or "an" before words."""
    return f"{'an' if words[0].lower() in 'aeiou' else 'a'} {words}"


def _person(rng: Draw, traits: Traits, keep: float) -> str:
    """Word the last noun: what or who it is, from where."""
    person = _say(rng, traits.sex)
    told = max(keep, 0.55)  # "zombie" and "clown" may stand for the whole person
    if traits.paint == "clown" and rng.random() < 0.6:
        return f"{person} clown" if rng.random() < told else "clown"
    if traits.kind == "zombie":
        person = f"zombie {person}" if rng.random() < told else "zombie"
    if traits.is_stone or rng.random() >= max(keep, 0.8):
        return person
    # Beside a named tone of skin, only words that name no tone of their own.
    return _join(SYNONYMS[traits.origin][0] if traits.skin else _say(rng, traits.origin), person)


def _noun(rng: Draw, traits: Traits, bald: bool, keep: float, *, normals: bool) -> str:
    """Word who it is, with age, build and skin."""
    if traits.kind == "alien":
        return _join(_maybe(rng, traits.alien_color, max(keep, 0.92)), "alien")
    words = [
        _maybe(rng, traits.age, max(keep, 0.9)),
        _maybe(rng, traits.build, max(keep, 0.93)),
        "bald" if bald else "",
    ]
    if rng.random() < 0.3:
        words[:2] = words[1::-1]
    skin = "" if normals or traits.paint in ("clown", "skull") else _maybe(rng, traits.skin, max(keep, 0.85))
    noun = _join(*words, skin, _person(rng, traits, keep))
    if traits.is_stone:
        forms = (f"{traits.kind} statue of {with_article(noun)}", f"{traits.kind} bust of {with_article(noun)}")
        noun = str(rng.choice(forms))
    return noun


def _hair(rng: Draw, traits: Traits, color: str) -> str:
    """Word the hair, in a colour or in none."""
    match traits.hair:
        case "afro" | "mohawk":
            return with_article(_join(color, _say(rng, traits.hair)))
        case "dreadlocks":
            return _join(color, _say(rng, traits.hair))
        case "bob":
            return with_article(_join(color, "bob")) if rng.random() < 0.5 else _join(color, "bob hair")
        case "braid" | "ponytail" | "bun" | "crown braid":
            style = _say(rng, traits.hair)
            if rng.random() < 0.5:
                return _join(color, "hair in", with_article(style))
            return with_article(_join(color, style))
        case style:
            words = [_say(rng, style), color]
            if rng.random() < 0.3:
                words.reverse()
            return _join(*words, "hair")


def _face(rng: Draw, traits: Traits, keep: float, *, normals: bool) -> list[str]:
    """Word what is on the face.

    Paint, freckles and eye colours do not show in normals.
    """
    phrases = [_maybe(rng, traits.wrinkles, max(keep, 0.8))]
    if normals or traits.kind != "human":
        return phrases
    color = _maybe(rng, traits.paint_color, max(keep, 0.9))
    match traits.paint:
        case "clown":
            phrases.append("clown make-up")
        case "face paint" | "war paint":
            words = _say(rng, traits.paint)
            phrases.append(words if words.startswith("a ") or not color else _join(color, words))
        case paint:
            phrases.append(_maybe(rng, paint, max(keep, 0.97)))
    phrases.append(_maybe(rng, traits.freckles, max(keep, 0.9)))
    if traits.glasses != "sunglasses" and traits.expression != "eyes closed":
        phrases.append(_join(_maybe(rng, traits.eye_color, 0.45 if keep < 1 else 1.0), "eyes"))
    return [phrase for phrase in phrases if phrase not in ("", "eyes")]


def _belongings(rng: Draw, traits: Traits, keep: float, *, normals: bool) -> list[str]:
    """Word hair, beard, glasses and hat, to follow "with".

    The rarer a thing, the surer it is told.
    """
    colors = 0.0 if traits.is_stone else 0.35 if normals else max(keep, 0.92)
    phrases = []
    if traits.hat and rng.random() < max(keep, 0.97):
        told = _maybe(rng, traits.hat_color, 0.75 * colors if keep < 1 else colors)
        phrases.append(with_article(_join(told, _say(rng, traits.hat))))
    if traits.beard and rng.random() < max(keep, 0.96):
        phrase = _join(_maybe(rng, traits.beard_color, 0.5 * colors if keep < 1 else colors), _say(rng, traits.beard))
        phrases.append(phrase if traits.beard == "stubble" or rng.random() < 0.3 else with_article(phrase))
    if traits.glasses and rng.random() < max(keep, 0.96):
        phrases.append(_say(rng, traits.glasses))
    if traits.hair != "bald" and rng.random() < max(keep, 0.4 if traits.hat else 0.95):
        phrases.append(_hair(rng, traits, _maybe(rng, traits.hair_color, colors)))
    phrases = (phrases + _face(rng, traits, keep, normals=normals))[:MOST_PHRASES]
    rng.shuffle(phrases)
    return [phrase for phrase in phrases if phrase]


def caption(traits: Traits, rng: Draw, *, normals: bool, view_words: str = "", complete: bool = False) -> str:
    """Word one picture of `traits`.

    Args:
        traits: what is in the picture.
        rng: source of every choice of words.
        normals: whether the picture is a normal map; its caption then keeps few colours.
        view_words: appended after a comma, as prompts will have them; empty for none.
        complete: tell everything that shows, up to `MOST_PHRASES` belongings; otherwise attributes are dropped.
    """
    keep = 1.0 if complete else 0.0
    bald = traits.hair == "bald" and not traits.hat and rng.random() < max(keep, 0.93)
    text = with_article(_noun(rng, traits, bald, keep, normals=normals))
    phrases = _belongings(rng, traits, keep, normals=normals)
    if phrases:
        worn = "glasses" in phrases[0] or "hat" in phrases[0] or "paint" in phrases[0]
        link = "wearing" if worn and rng.random() < 0.3 else "with"
        text = f"{text} {link} {' and '.join(phrases)}" if rng.random() < 0.7 else f"{text} {link} {', '.join(phrases)}"
    prefix = NORMAL_PREFIX if normals else str(rng.choice(COLOR_PREFIXES))
    if traits.expression != "neutral" and rng.random() < max(keep, 0.95):
        feeling = _say(rng, traits.expression)
        # The mood comes last, or right before the noun where it is one word.
        if " " not in feeling and rng.random() < 0.3:
            text = with_article(_join(feeling, text.split(" ", 1)[1]))
        else:
            text += f", {feeling}"
    text = _join(prefix, text)
    return f"{text}, {view_words}" if view_words else text


def negative_caption(rng: np.random.Generator) -> str:
    """Sample some of the negative words, in any order.

    Sometimes it is none at all, as the empty prompt will mean the same.
    """
    if rng.random() < 0.3:
        return ""
    count = int(rng.integers(2, len(NEGATIVE_WORDS) + 1))
    return (
        ", ".join(rng.permutation(NEGATIVE_WORDS)[:count]) if rng.random() < 0.5 else ", ".join(NEGATIVE_WORDS[:count])
    )


def vocabulary(count: int = 4000) -> list[str]:
    """List every word of the grammar in small letters, in order.

    Hyphens part words, as they do for the tokenizer. Captions are drawn until each word has come up some ten times,
    whatever the draws. The negative words are not among these: pictures that carry them went wrong.
    """
    rng = np.random.default_rng(0)
    lines = [caption(sample_traits(rng), rng, normals=bool(k % 2)) for k in range(count)]
    return sorted({word for line in (*lines, *VIEW_WORDS) for word in re.findall("[a-z]+", line.lower())})

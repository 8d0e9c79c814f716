"""Captions: the words of one picture, with synonyms, dropped attributes and changing order.

Two domains share one grammar: colour pictures, and camera-space normal maps, whose captions begin with
`NORMAL_PREFIX` and speak mostly of shape. Pictures that went wrong on purpose carry `NEGATIVE_WORDS` instead.
"""

import numpy as np

from headartist_foundry.traits import Traits

NORMAL_PREFIX = "a normal map of"
COLOUR_PREFIXES = ("a DSLR portrait of", "a photo of", "a portrait of", "a head of", "a DSLR photo of", "")
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
    "cap": ("cap", "baseball cap"),
    "knitted hat": ("knitted hat", "beanie", "wool hat"),
    "helmet": ("helmet",),
    "wizard hat": ("wizard hat", "pointed hat"),
    "blonde": ("blonde", "blonde", "blond", "golden"),
    "brown": ("brown", "brown", "dark brown"),
    "red": ("red", "red", "ginger"),
    "grey": ("grey", "gray"),
    "man": ("man", "man", "man", "male"),
    "woman": ("woman", "woman", "woman", "lady"),
}


def _say(rng: np.random.Generator, word: str) -> str:
    return str(rng.choice(SYNONYMS[word])) if word in SYNONYMS else word


def _maybe(rng: np.random.Generator, word: str, keep: float = 0.85) -> str:
    return _say(rng, word) if word and rng.random() < keep else ""


def _join(*words: str) -> str:
    return " ".join(word for word in words if word)


def with_article(words: str) -> str:
    """`words` after "a" or "an"."""
    return f"{'an' if words[0].lower() in 'aeiou' else 'a'} {words}"


def _noun(rng: np.random.Generator, traits: Traits, bald: bool) -> str:
    if traits.kind == "alien":
        return _join(_maybe(rng, traits.alien_colour, 0.92), "alien")
    words = [_maybe(rng, traits.age, 0.9), _maybe(rng, traits.build, 0.93), "bald" if bald else ""]
    if rng.random() < 0.3:
        words[:2] = words[1::-1]
    origin = "" if traits.is_stone else _maybe(rng, traits.origin, 0.8)
    person = _say(rng, traits.sex)
    if traits.kind == "zombie":
        person = "zombie" if rng.random() < 0.45 else f"zombie {person}"
    noun = _join(*words, origin, person)
    if traits.is_stone:
        noun = rng.choice(
            (f"{traits.kind} statue of {with_article(noun)}", f"{traits.kind} bust of {with_article(noun)}")
        )
    return str(noun)


def _hair(rng: np.random.Generator, traits: Traits, colour: str) -> str:
    match traits.hair:
        case "afro" | "mohawk":
            return with_article(_join(colour, traits.hair))
        case "bob":
            return with_article(_join(colour, "bob")) if rng.random() < 0.5 else _join(colour, "bob hair")
        case "braid" | "ponytail":
            style = traits.hair
            return _join(colour, "hair in a", style) if rng.random() < 0.5 else with_article(_join(colour, style))
        case style:
            words = [style, colour]
            if rng.random() < 0.3:
                words.reverse()
            return _join(*words, "hair")


def _belongings(rng: np.random.Generator, traits: Traits, colour_keep: float) -> list[str]:
    """Phrases for hair, beard, glasses and hat, each ready to follow "with"."""
    phrases = []
    colour = "" if traits.is_stone else _maybe(rng, traits.hair_colour, colour_keep)
    if traits.hair != "bald" and rng.random() < (0.4 if traits.hat else 0.95):
        phrases.append(_hair(rng, traits, colour))
    if traits.beard and rng.random() < 0.96:
        told = "" if traits.is_stone else _maybe(rng, traits.beard_colour, 0.5 * colour_keep)
        phrase = _join(told, _say(rng, traits.beard))
        phrases.append(phrase if traits.beard == "stubble" or rng.random() < 0.3 else with_article(phrase))
    if traits.glasses and rng.random() < 0.96:
        phrases.append(_say(rng, traits.glasses))
    if traits.hat and rng.random() < 0.97:
        told = "" if traits.is_stone else _maybe(rng, traits.hat_colour, 0.75 * colour_keep)
        phrases.append(with_article(_join(told, _say(rng, traits.hat))))
    rng.shuffle(phrases)
    return phrases


def caption(traits: Traits, rng: np.random.Generator, *, normals: bool, view_words: str = "") -> str:
    """A sentence for one picture of `traits`.

    Args:
        traits: what is in the picture.
        rng: source of every choice of words.
        normals: whether the picture is a normal map; its caption then keeps few colours.
        view_words: appended after a comma, as prompts will have them; empty for none.
    """
    bald = traits.hair == "bald" and not traits.hat and rng.random() < 0.93
    text = with_article(_noun(rng, traits, bald))
    phrases = _belongings(rng, traits, colour_keep=0.35 if normals else 0.92)
    if phrases:
        link = "wearing" if rng.random() < 0.3 and ("glasses" in phrases[0] or "hat" in phrases[0]) else "with"
        text = f"{text} {link} {' and '.join(phrases)}" if rng.random() < 0.7 else f"{text} {link} {', '.join(phrases)}"
    prefix = NORMAL_PREFIX if normals else str(rng.choice(COLOUR_PREFIXES))
    text = _join(prefix, text)
    if traits.expression != "neutral" and rng.random() < 0.95:
        text += f", {_say(rng, traits.expression)}"
    return f"{text}, {view_words}" if view_words else text


def negative_caption(rng: np.random.Generator) -> str:
    """Some of the negative words, in any order; sometimes none at all, as the empty prompt will mean the same."""
    if rng.random() < 0.3:
        return ""
    count = int(rng.integers(2, len(NEGATIVE_WORDS) + 1))
    return (
        ", ".join(rng.permutation(NEGATIVE_WORDS)[:count]) if rng.random() < 0.5 else ", ".join(NEGATIVE_WORDS[:count])
    )

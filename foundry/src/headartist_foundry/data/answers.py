"""Which of a character's traits a picture shows, and what can be answered about each."""

from dataclasses import asdict
from functools import cache

import numpy as np

from headartist_foundry.data.traits import Traits, sample_traits

NOTHING = ""
DOMAIN = "domain"


def hidden(traits: Traits) -> set[str]:
    """The traits that do not show in a colour picture of this character, or that no caption names."""
    names = set()
    if traits.hair == "bald" or traits.is_stone:
        names.add("hair_color")
    if not traits.beard or traits.is_stone:
        names.add("beard_color")
    if not traits.hat or traits.is_stone:
        names.add("hat_color")
    if traits.is_stone:
        names.add("origin")
    if traits.paint not in ("face paint", "war paint"):
        names.add("paint_color")
    if traits.kind != "human" or traits.glasses == "sunglasses" or traits.expression == "eyes closed":
        names.add("eye_color")
    if traits.paint in ("clown", "skull"):
        names |= {"skin", "freckles"}
    return names | ({"age", "build", "origin", "sex"} if traits.kind == "alien" else {"alien_color"})


def visible(traits: Traits) -> dict[str, str]:
    """The traits that show in a colour picture and that its caption may name; the others are `NOTHING`."""
    names = hidden(traits)
    return {name: NOTHING if name in names else value for name, value in asdict(traits).items()}


@cache
def possible_answers() -> dict[str, list[str]]:
    """Every value that each trait can have, `NOTHING` included, and the two domains."""
    rng = np.random.default_rng(0)
    seen = [visible(sample_traits(rng)) for _ in range(4000)]
    answers = {name: sorted({row[name] for row in seen} | {NOTHING}) for name in seen[0]}
    return answers | {DOMAIN: ["colour", "normals"]}

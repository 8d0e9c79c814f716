"""Which traits a picture shows, and what can be answered about each."""

from dataclasses import asdict
from functools import cache

import numpy as np

from headartist_foundry.data.traits import Traits, sample_traits

NOTHING = ""
DOMAIN = "domain"


def hidden(traits: Traits) -> set[str]:
    """Find the traits that no picture or caption of a character shows."""
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
    """Keep the traits that show; the others are `NOTHING`.

    They show in a colour picture, and its caption may name them.
    """
    names = hidden(traits)
    return {name: NOTHING if name in names else value for name, value in asdict(traits).items()}


@cache
def possible_answers() -> dict[str, list[str]]:
    """List every value of each trait, `NOTHING` included, and the domains."""
    rng = np.random.default_rng(0)
    seen = [visible(sample_traits(rng)) for _ in range(4000)]
    answers = {name: sorted({row[name] for row in seen} | {NOTHING}) for name in seen[0]}
    return answers | {DOMAIN: ["colour", "normals"]}

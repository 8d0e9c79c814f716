"""What a prompt says is not there, taken out of it.

The captions of the shipped prior name what is there and never what is not: told "without glasses", it draws glasses.
A thing is absent where no word names it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from headartist.config.words.parts import (
    DENIES,
    DENIES_ALL,
    DETERMINERS,
    FACIAL_HAIR,
    GLASSES,
    HAIR,
    HAS,
    HATS,
    JOINS,
    PERSONS,
    WEARS,
    Part,
    is_thing,
)
from headartist.config.words.vocabulary import known_words

_SHAVEN = frozenset(("clean-shaven", "cleanshaven", "smooth-shaven", "shaven", "clean-shaved"))
_FACIAL_HAIR = "facial-hair"
_KINDS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "hat": HATS,
        "glasses": GLASSES | {"bespectacled"},
        _FACIAL_HAIR: FACIAL_HAIR | {"bearded", "moustached", "mustached"},
        "beard": frozenset(("beard", "bearded")),
        "hair": HAIR | {"haired"},
        **dict.fromkeys(("moustache", "mustache"), frozenset(("moustache", "mustache", "moustached", "mustached"))),
        "smile": frozenset(("smile", "smiling", "laughing", "happy")),
        "freckles": frozenset(("freckles", "freckled")),
        "wrinkles": frozenset(("wrinkles", "wrinkled")),
        "braid": frozenset(("braid", "braided")),
    }
)
"""What else a thing is called, and who has it."""


def without_absent(parts: Sequence[Part]) -> list[Part]:
    """Leave out what the parts deny, and where it was named before: the later word holds.

    Who is to have no hair is "bald", and who is not to be bald has "hair", as the captions say it.
    """
    kept: list[Part] = []
    denied: list[tuple[str, ...]] = []
    for part, absent in _told_apart(parts):
        if absent:
            kept = _taken_out(kept, part.words)
            denied.append(part.words)
            # An empty part keeps the place, so that what follows can take over its link.
            kept.append(Part(part.links, ()))
            continue
        words = []
        for word in part.words:
            if named := _denied_by(word.lower()):
                kept = _taken_out(kept, named)
                denied.append(named)
            else:
                words.append(word)
        kept.append(replace(part, words=tuple(words)))
    return _with_opposites(_joined(kept), denied) if denied else list(parts)


def _told_apart(parts: Sequence[Part]) -> Iterator[tuple[Part, bool]]:
    """The parts, and whether each is denied; what follows within a denied one stands for itself."""
    for part, absent in zip(parts, _denials(parts), strict=True):
        if not absent:
            yield part, False
            continue
        named, rest = _split_named(part)
        yield Part(part.links, named), True
        if rest:
            yield Part((",",), rest), False


def _denials(parts: Sequence[Part]) -> list[bool]:
    """Which parts are denied: "without a beard, glasses or a hat" denies three, "no beard and a hat" one."""
    absent: list[bool] = []
    denies, all_of = False, False
    for index, part in enumerate(parts):
        links = set(part.links)
        if links & DENIES:
            denies, all_of = True, bool(links & DENIES_ALL) or ("no" not in links and bool(links & (HAS | WEARS)))
        elif denies:
            denies = _goes_on(parts[index:], all_of=all_of)
        absent.append(denies)
    return absent


def _goes_on(parts: Sequence[Part], *, all_of: bool) -> bool:
    """Whether a denial before these parts holds for the first of them."""
    first, *rest = parts
    links = set(first.links)
    if not links <= {",", "and", "or", "nor"}:
        return False
    if links & {"or", "nor"}:
        return True
    if not first.is_thing:
        return False
    return all_of if "and" in links else bool(rest) and rest[0].is_thing and _goes_on(rest, all_of=all_of)


def _split_named(part: Part) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What a denied part names, and what is not: the smile in "no hat smiling", the man in "no hat on a man"."""
    for at in range(len(part.named), len(part.words)):
        if part.small[at] == "on" and PERSONS & {*part.small[at:]}:
            return _split_named(replace(part, words=part.words[:at]))[0], part.words[at + 1 :]
    things = [k for k, word in enumerate(part.named) if is_thing(word)]
    end = things[-1] + 1 if things else len(part.named)
    return part.named[:end], part.named[end:]


def _denied_by(word: str) -> tuple[str, ...]:
    """What one word denies: "beardless", "glasses-free", "non-smiling", "clean-shaven"; nothing for other words."""
    if word in _SHAVEN:
        return (_FACIAL_HAIR,)
    for ending in ("-less", "less", "-free"):
        if word.endswith(ending) and is_thing(thing := _known(word.removesuffix(ending))):
            return (thing,)
    known = _known(word.removeprefix("non-"))
    return (known,) if word.startswith("non-") and known in known_words() else ()


def _known(word: str) -> str:
    """The word in the number that the captions have it in."""
    forms = (word, word.removesuffix("s"), f"{word}s", word.removesuffix("ed"))
    return next((form for form in forms if form in known_words()), word)


def _taken_out(parts: Sequence[Part], named: tuple[str, ...]) -> list[Part]:
    """The parts without what is named: a thing goes with all that is said of it, other words go alone."""
    known = [_known(word) for word in named if _known(word) in known_words() or word == _FACIAL_HAIR] or list(named)
    kinds = [_KINDS.get(word, frozenset((word,))) for word in known]
    left = []
    for part in parts:
        pieces = [{word, *word.split("-")} for word in part.small]
        hits = [any(kind & each for kind in kinds) for each in pieces]
        meant = bool(kinds) and all(any(kind & each for each in pieces) for kind in kinds)
        if not meant or any(hit and word in PERSONS for hit, word in zip(hits, part.small, strict=True)):
            left.append(part)
        elif part.links and any(hit and is_thing(word) for hit, word in zip(hits, part.small, strict=True)):
            left.append(replace(part, words=()))
        else:
            left.append(replace(part, words=tuple(w for w, hit in zip(part.words, hits, strict=True) if not hit)))
    return left


def _joined(parts: Sequence[Part]) -> list[Part]:
    """Close the gaps that empty parts left: a thing that was joined to one of them is had or worn in its stead."""
    closed: list[Part] = []
    gap: tuple[str, ...] | None = None
    for part in parts:
        links = part.links
        if not part.words:
            gap = gap or links
            continue
        if gap is not None:
            links = _links_after(gap, part)
        elif closed and closed[-1].small[-1] in DETERMINERS:  # "a clean-shaven, old man"
            links = tuple(link for link in links if link not in (",", "and"))
        closed.append(replace(part, links=links if closed else tuple(link for link in links if link not in JOINS)))
        gap = None
    return closed


def _links_after(gap: tuple[str, ...], part: Part) -> tuple[str, ...]:
    """The links of a part whose neighbour before it is gone."""
    verbs = tuple(link for link in part.links if link in HAS | WEARS)
    if verbs:
        return verbs
    if not set(part.links) & JOINS and (set(gap) & DENIES or not set(gap) & (HAS | WEARS)):
        return part.links
    if not part.is_thing:
        return (",",)
    return tuple(link for link in gap if link in HAS | WEARS) or (("with",) if set(gap) & DENIES else gap)


def _with_opposites(parts: list[Part], denied: Sequence[tuple[str, ...]]) -> list[Part]:
    """The parts with "bald" where all hair was denied, and with hair where baldness was."""
    told = {word for part in parts for word in part.small}
    known = [tuple(word for word in named if word in known_words()) for named in denied]
    if ("bald",) in known and not told & HAIR:
        return [*parts, Part(("with",), ("hair",))]
    if ("hair",) not in known or told & (HAIR | {"bald"}):
        return parts
    for index, part in enumerate(parts):
        for at, word in enumerate(part.small):
            if word in PERSONS:
                words = (*part.words[:at], "bald", *part.words[at:])
                return [*parts[:index], replace(part, words=words), *parts[index + 1 :]]
    return [*parts, Part((",",), ("bald",))]

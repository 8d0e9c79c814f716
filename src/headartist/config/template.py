"""What a head starts from, as the user types it: the template, an identity, an expression. Nothing here needs torch."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from headartist.system.errors import HeadArtistError, did_you_mean

OPEN = "open"
FLAME_SUFFIXES = (".pkl", ".npz", ".safetensors")
MESH_SUFFIXES = (".obj", ".ply", ".stl", ".glb", ".gltf", ".vrm")
GROUP = "#"  # between a mesh file and the name of one of its objects or groups
SEED = "seed"
MOST_DEVIATIONS = 10.0  # of one shape direction, either way: of a thousand million people none is 7 off
MOST_WEIGHT = 10.0  # of one expression, either way: 1 is the whole of it, and FLAME's are standard deviations
DIRECTIONS: Mapping[str, tuple[int, float]] = MappingProxyType(
    {
        "size": (0, -1.0),  # of everything, by 6 % for each standard deviation
        "heavy": (2, 1.0),  # the face broader, the neck thicker
        "wide": (4, 1.0),  # the head broader and shorter; narrow and long where negative
        "crown": (7, -1.0),  # the skull above the eyes higher; the face stays
        "chin": (12, -1.0),  # what lies below the nose longer
    }
)
"""Those of the open head's shape directions that one word describes: the number of each, and its sign."""


@dataclass(frozen=True)
class Identity:
    """Which person of a template.

    Attributes:
        seed: draws every coefficient from the standard normal distribution; None leaves them 0, the average person.
        coefficients: of single shape directions by their number, in standard deviations; these hold over the seed's.
    """

    seed: int | None = None
    coefficients: Mapping[int, float] = field(default_factory=dict)


def parse_identity(text: str, template: str = OPEN) -> Identity:
    """Return an identity from `seed:7`, `0=1.5,wide=-2`, or both: `seed:7,0=1.5`; the average one from an empty text.

    Args:
        text: as typed.
        template: whose identity it is; only the open head has names for some of its directions.

    Raises:
        HeadArtistError: when it is written otherwise.
    """
    seed: int | None = None
    coefficients: dict[int, float] = {}
    for item in _items(text):
        name, colon, digits = (part.strip() for part in item.partition(":"))
        word, _, number = (part.strip() for part in item.partition("="))
        value = _finite(number)
        if colon and name == SEED and _is_number(digits) and seed is None:
            seed = int(digits)
            continue
        if value is not None and word.isidentifier() and word != SEED:
            _require_name(word, text, template)
        direction, sign = (int(word), 1.0) if _is_number(word) else DIRECTIONS.get(word, (-1, 1.0))
        if value is None or direction < 0 or direction in coefficients:
            raise HeadArtistError(
                f"Identity {text!r} is not understood at {item!r}: write seed:7, or shape directions by number or name "
                "with standard deviations, each once, as in 0=1.5,wide=-2."
            )
        if abs(value) > MOST_DEVIATIONS:
            raise HeadArtistError(
                f"Identity {text!r} is {value:g} standard deviations off at {item!r}: give -{MOST_DEVIATIONS:g} to "
                f"{MOST_DEVIATIONS:g}; most people are within -3 and 3."
            )
        coefficients[direction] = sign * value
    return Identity(seed, coefficients)


def _require_name(word: str, text: str, template: str) -> None:
    """Refuse a word that names none of the template's shape directions."""
    if template != OPEN:
        raise HeadArtistError(
            f"Identity {text!r} names a shape direction, {word!r}, but only those of the open head have names: give "
            "numbers, as in 0=1.5."
        )
    if word not in DIRECTIONS:
        raise HeadArtistError(f"Identity {text!r} names no shape direction: {did_you_mean(word, DIRECTIONS)}")


def parse_expression(text: str) -> dict[str, float]:
    """Expression weights by name from `jawOpen=0.6,mouthSmileLeft=0.5`.

    Raises:
        HeadArtistError: when it is written otherwise.
    """
    weights: dict[str, float] = {}
    for item in _items(text):
        name, _, value = (part.strip() for part in item.partition("="))
        weight = _finite(value)
        if not name or weight is None or name in weights:
            raise HeadArtistError(
                f"Expression {text!r} is not understood at {item!r}: write names with weights, each once, as in "
                "jawOpen=0.6,mouthSmileLeft=0.5."
            )
        if abs(weight) > MOST_WEIGHT:
            raise HeadArtistError(
                f"Expression {text!r} has the weight {weight:g} at {item!r}: give -{MOST_WEIGHT:g} to {MOST_WEIGHT:g}; "
                "1 is the whole expression."
            )
        weights[name] = weight
    return weights


def check_template(template: str) -> None:
    """Find out, without reading it, whether this can be a template.

    Raises:
        HeadArtistError: when it is neither the shipped one nor a file of a known kind.
    """
    if template == OPEN:
        return
    if not template.isprintable():
        raise HeadArtistError(f"Template {template!r} has letters in its name that no text holds: rename the file.")
    path, group = split_template(template)
    known = (*FLAME_SUFFIXES, *MESH_SUFFIXES)
    if path.suffix.lower() not in known:
        raise HeadArtistError(
            f"Template {template!r} is of no known kind: use 'open', or a file that ends in {', '.join(known)}."
        )
    if group and path.suffix.lower() not in MESH_SUFFIXES:
        raise HeadArtistError(f"Template {template!r} names a group, which only meshes have: leave {GROUP}{group} out.")
    require_content(path)


def split_template(template: str | Path) -> tuple[Path, str]:
    """A template's file, and the name of the object or group in it that is meant: `body.obj#head`; "" for all of it.

    A file whose own name holds the sign is found first.
    """
    text = str(template)
    places = [place for place, sign in enumerate(text) if sign == GROUP]
    for end in (len(text), *places):
        if _is_there(Path(text[:end])):
            return Path(text[:end]), text[end + 1 :]
    # Of a file that is not there, the shortest name that could be one is told.
    named = [end for end in places if Path(text[:end]).suffix.lower() in (*FLAME_SUFFIXES, *MESH_SUFFIXES)]
    end = named[0] if named else len(text)
    return Path(text[:end]), text[end + 1 :]


def require_content(path: Path, largest: int | None = None) -> None:
    """Refuse what is no file with something in it: folders, devices and pipes, which could be read for ever.

    Args:
        path: of the template.
        largest: the most bytes that it may have.

    Raises:
        HeadArtistError: when it is something else, or is not there.
    """
    shown = f"Template {str(path)!r}"
    if not _is_there(path):
        raise HeadArtistError(f"{shown} is not there: give the path of an existing file, or 'open'.")
    if not path.is_file():
        raise HeadArtistError(f"{shown} is no plain file: give the path of a file, or 'open'.")
    size = path.stat().st_size
    if size == 0:
        raise HeadArtistError(f"{shown} is empty: save it again, or use 'open'.")
    if largest is not None and size > largest:
        raise HeadArtistError(
            f"{shown} has {size:,} bytes, more than the {largest:,} that are read: decimate it, or save it in binary."
        )


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that no file can have, such as one with a zero byte
        return False


def landmark_file(template: Path) -> Path:
    """Tell where a user may say which points of `flame.pkl` are MediaPipe's landmarks: `flame.landmarks.npz`."""
    return template.with_name(f"{template.stem}.landmarks.npz")


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.split(",")] if text.strip() else []


def _is_number(digits: str) -> bool:
    return digits.isascii() and digits.isdigit() and len(digits) < 19  # fits a generator's seed


def _finite(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None

"""What a head starts from, as the user types it: the template, an identity, an expression. Nothing here needs torch."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from headartist.errors import HeadArtistError, did_you_mean

OPEN = "open"
FLAME_SUFFIXES = (".pkl", ".npz", ".safetensors")
MESH_SUFFIXES = (".obj", ".ply", ".glb")
SEED = "seed"
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
    """An identity from `seed:7`, `0=1.5,wide=-2`, or both: `seed:7,0=1.5`; the average one from an empty text.

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
        weights[name] = weight
    return weights


def check_template(template: str) -> None:
    """Find out, without reading it, whether this can be a template.

    Raises:
        HeadArtistError: when it is neither the shipped one nor a file of a known kind.
    """
    if template == OPEN:
        return
    path, known = Path(template), (*FLAME_SUFFIXES, *MESH_SUFFIXES)
    if path.suffix.lower() not in known:
        raise HeadArtistError(
            f"Template {template!r} is of no known kind: use 'open', or a file that ends in {', '.join(known)}."
        )
    if not path.is_file():
        raise HeadArtistError(f"Template {template!r} is not there: give the path of an existing file, or 'open'.")


def landmark_file(template: Path) -> Path:
    """Where a user may say which points of `flame.pkl` are MediaPipe's landmarks: `flame.landmarks.npz`."""
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

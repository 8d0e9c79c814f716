"""What a head starts from, as the user types it: the template, an identity, an expression. Nothing here needs torch."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from headartist.errors import HeadArtistError

OPEN = "open"
FLAME_SUFFIXES = (".pkl", ".npz", ".safetensors")
MESH_SUFFIXES = (".obj", ".ply", ".glb")
SEED = "seed"


@dataclass(frozen=True)
class Identity:
    """Which person of a template.

    Attributes:
        seed: draws every coefficient from the standard normal distribution; None leaves them 0, the average person.
        coefficients: of single shape directions by their number, in standard deviations; these hold over the seed's.
    """

    seed: int | None = None
    coefficients: Mapping[int, float] = field(default_factory=dict)


def parse_identity(text: str) -> Identity:
    """An identity from `seed:7`, `0=1.5,3=-2`, or both: `seed:7,0=1.5`; the average one from an empty text.

    Raises:
        HeadArtistError: when it is written otherwise.
    """
    seed: int | None = None
    coefficients: dict[int, float] = {}
    for item in _items(text):
        name, colon, digits = (part.strip() for part in item.partition(":"))
        direction, equals, value = (part.strip() for part in item.partition("="))
        if colon and name == SEED and _is_number(digits) and seed is None:
            seed = int(digits)
        elif equals and _is_number(direction) and _finite(value) is not None and int(direction) not in coefficients:
            coefficients[int(direction)] = _finite(value) or 0.0
        else:
            raise HeadArtistError(
                f"Identity {text!r} is not understood at {item!r}: write seed:7, or the numbers of shape directions "
                "with standard deviations, each once, as in 0=1.5,3=-2."
            )
    return Identity(seed, coefficients)


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

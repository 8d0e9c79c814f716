"""The settings of a prior's folders, as far as the libraries would take them for good and make nonsense of them."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors import safe_open

from headartist.priors.files.layout import WEIGHTS
from headartist.system.errors import HeadArtistError

_MOST_STEPS = 100_000
_TEXT_SIZES = ("vocab_size", "hidden_size", "intermediate_size", "max_position_embeddings")
_WORDS = ("vocab.json", "merges.txt")


def read_settings(file: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        HeadArtistError: there is none in that file.
    """
    try:
        settings = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise HeadArtistError(f"{file} is missing: fetch it again") from None
    except (OSError, ValueError, RecursionError) as error:
        raise HeadArtistError(f"{file} cannot be read as JSON ({error}): fetch it again") from error
    if not isinstance(settings, dict):
        raise HeadArtistError(f"{file} holds a {type(settings).__name__} in place of settings: fetch it again")
    return settings


def check_network_size(folder: Path, part: str, variant: str | None) -> None:
    """Refuse a network much larger than its weights, before it is built.

    Raises:
        HeadArtistError: more layers than tensors, or wider ones than any of them.
    """
    settings = read_settings(folder / "config.json")
    weights = folder / f"{WEIGHTS[part]}{f'.{variant}' if variant else ''}.safetensors"
    with safe_open(weights, framework="pt") as file:
        shapes = [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118 - no dict
    widest = max((size for shape in shapes for size in shape), default=0)
    limits = dict.fromkeys(_TEXT_SIZES, widest) if part == "text_encoder" else {}
    limits |= {key: len(shapes) for key in settings if "layers" in key}
    for key, limit in limits.items():
        for number in _numbers(settings.get(key)):
            if number > limit:
                raise HeadArtistError(
                    f"{folder / 'config.json'} has {key} {number}, more than the weights beside it hold: fetch both "
                    "again"
                )


def _numbers(value: object) -> Iterator[float]:
    if isinstance(value, list):
        for inner in value:
            yield from _numbers(inner)
    elif isinstance(value, int | float):
        yield value


def check_clock(folder: Path) -> None:
    """Refuse a number of time steps that no clock has.

    Raises:
        HeadArtistError: it is not whole, below 1, or far too large.
    """
    file = folder / "scheduler_config.json"
    steps = read_settings(file).get("num_train_timesteps", 1000)
    if not isinstance(steps, int) or isinstance(steps, bool) or not 1 <= steps <= _MOST_STEPS:
        raise HeadArtistError(
            f"{file} has num_train_timesteps {steps!r}, which is no number from 1 to {_MOST_STEPS}: fetch it again"
        )


def token_limit(folder: Path, most: int) -> int:
    """Say how many tokens of a text are read: as many as the tokenizer allows, and the text encoder can.

    Args:
        folder: of the tokenizer.
        most: what the text encoder reads.

    Raises:
        HeadArtistError: there is no room for a word between the marks of start and end.
    """
    file = folder / "tokenizer_config.json"
    limit = (read_settings(file) if file.exists() else {}).get("model_max_length")
    if limit is None:
        return most
    if isinstance(limit, bool) or not isinstance(limit, int | float) or math.isnan(limit) or limit < 3:
        raise HeadArtistError(f"{file} has model_max_length {limit!r}, which is no number of tokens: fetch it again")
    return int(min(limit, most))


def check_words(folder: Path, known: int) -> None:
    """Refuse a vocabulary that is none, or does not fit its rules of spelling or the text encoder.

    Args:
        folder: of the tokenizer.
        known: how many tokens the text encoder knows.

    Raises:
        HeadArtistError: a file is missing or damaged, or they are of different models.
    """
    vocabulary_file, merges_file = (folder / name for name in _WORDS)
    if (folder / "tokenizer.json").is_file() and not vocabulary_file.exists() and not merges_file.exists():
        return  # newer versions keep everything there
    vocabulary = read_settings(vocabulary_file)
    ids = list(vocabulary.values())
    if not ids or not all(type(number) is int and 0 <= number < known for number in ids):
        raise HeadArtistError(
            f"{vocabulary_file} does not give tokens numbers below {known}, as the text encoder knows them: fetch it "
            "again"
        )
    merged = _merged_words(merges_file)
    alone = {word for word in vocabulary if len(word.removesuffix("</w>")) > 1 and not word.startswith("<|")}
    if merged - vocabulary.keys() or len(alone - merged) > len(vocabulary) // 100:
        raise HeadArtistError(f"{merges_file} does not spell the words of {vocabulary_file.name}: fetch both again")


def _merged_words(file: Path) -> set[str]:
    """What the rules of spelling make, each of two pieces."""
    try:
        lines = file.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        raise HeadArtistError(f"{file} is missing: fetch it again") from None
    except (OSError, ValueError) as error:
        raise HeadArtistError(f"{file} cannot be read ({error}): fetch it again") from error
    rules = [line.split() for line in lines if line.strip() and not line.startswith("#version")]
    if not all(len(rule) == 2 for rule in rules):
        raise HeadArtistError(f"{file} has a line that is no pair of pieces: fetch it again")
    return {"".join(rule) for rule in rules}

"""Which files in a Head folder are the head's own, so that nothing of the user's is ever removed."""

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, get_args

from headartist.config.exports import Variant, mesh_stem

_SUFFIXES = (".glb", ".obj", ".mtl", ".ply", ".usd", ".png", ".normal.png", ".roughness.png")
# The first release gave these no names of their own.
_USD_PICTURES = ("_usd.png", "_usd.normal.png", "_usd.roughness.png")
PAGE = "viewer.html"
_FIXED = {"config.json", "head.safetensors", "state.safetensors", "metrics.jsonl", "provenance.json", PAGE}
_FIXED |= {"turntable.mp4", "contact.png"}
_OLD_DRAFT = re.compile(r"\.(?P<stem>.+)\.\d+\.part(?P<suffix>\.\w+)")
_PREVIEW = re.compile(r"\d+-.+-\d{5,}\.png")


def mesh_names(*variants: str) -> set[str]:
    """Return names of all files that an export of these variants may write; of all variants where none is given."""
    return _names(variants, (*_SUFFIXES, *_USD_PICTURES))


def _names(variants: tuple[str, ...], suffixes: tuple[str, ...]) -> set[str]:
    return {f"{mesh_stem(variant)}{suffix}" for variant in variants or get_args(Variant) for suffix in suffixes}


def noted(folder: Path, record: Mapping[str, Any]) -> set[str]:
    """Return names that a provenance notes as the head's own, beside those that every Head folder has.

    The user may have edited it, so names that lead out of the folder are passed over. The first release noted none:
    there its own names are meant, as far as the files are there.

    Args:
        folder: the Head folder.
        record: its provenance; empty where nothing was written down.
    """
    if record and not isinstance(record.get("files"), list):
        page = {PAGE} if is_page(folder / PAGE) else set()
        return {name for name in _names((), _SUFFIXES) | page if (folder / name).is_file()}
    return {name for name in record.get("files", ()) if _is_plain(name) and not (folder / name).is_dir()}


def is_old_draft(path: Path) -> bool:
    """Tell whether the first release left a draft of one of its own files here when it was killed."""
    found = _OLD_DRAFT.fullmatch(path.name)
    if found is None:
        return False
    name = found["stem"] + found["suffix"]
    return name in _FIXED | _names((), _SUFFIXES) or (
        path.parent.name == "previews" and _PREVIEW.fullmatch(name) is not None
    )


def _is_plain(name: object) -> bool:
    """Tell whether a name stays in its folder, on every system."""
    if not isinstance(name, str) or name in ("", ".", ".."):
        return False
    return name == PurePosixPath(name).name == PureWindowsPath(name).name


def is_page(path: Path) -> bool:
    """Tell whether a file is a page of ours."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return b"A page of headartist" in file.read(200)

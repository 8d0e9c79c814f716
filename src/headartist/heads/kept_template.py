"""A template kept in a Head folder.

A `HeadTemplate` as safetensors, so that the user's file may move or change.

The file may come from a stranger with the folder it lies in; nothing in it is believed before it has been checked.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from headartist.config.template import OPEN
from headartist.heads.landmark_transfer import ALL_SITES, FACE_SITES, LEAST_FACES
from headartist.heads.npz import LARGEST
from headartist.heads.template import HeadTemplate, LandmarkSites
from headartist.system.errors import HeadArtistError
from headartist.system.files import replacing

KEY = "headartist_template"  # of the one entry of metadata; several would be written in any order
_WORDS = ("name", "part_names", "expression_names", "joint_names", "joint_parents", "metres_per_unit")
_FIELDS = {"metres_per_unit": "meters_per_unit"}  # of `HeadTemplate`, where the file calls one otherwise
# Sizes by the letters of `HeadTemplate`: vertices, faces, texture coordinates, identities, joints, expressions, sites.
_FLOATS = {
    "verts": "v3",
    "uv": "u2",
    "shape_basis": "kv3",
    "joint_basis": "kj3",
    "expression_basis": "ev3",
    "joints": "j3",
    "skin_weights": "vj",
    "landmark_barycentric": "l3",
}
_INTEGERS = {"faces": "f3", "uv_faces": "f3", "part": "f", "landmark_triangles": "l", "mirror": "v"}
_COUNTED = {"faces": "v", "uv_faces": "u", "landmark_triangles": "f", "mirror": "v"}  # what the integers number
_LARGEST_NUMBER = 1e15  # of all but texture coordinates: its square is still a number in single precision
_REACH = 100.0  # world units from the origin; a head spans about 1


def keep_template(path: Path, template: HeadTemplate) -> None:
    """Write a template, whole or not at all.

    `load_kept` gives it back bit for bit.

    Args:
        path: a `.safetensors` file.
        template: as loaded, without an identity or expression added to it, so that others can be asked for later.
    """
    sites = template.landmark_sites
    tensors = {name: getattr(template, name) for name in (*_FLOATS, *_INTEGERS) if not name.startswith("landmark")}
    tensors |= {"landmark_triangles": sites.triangles, "landmark_barycentric": sites.barycentric}
    plain = {name: value.int() if name in _INTEGERS else value.float() for name, value in tensors.items()}
    words = json.dumps({name: getattr(template, _FIELDS.get(name, name)) for name in _WORDS})
    with replacing(path) as draft:
        draft.write_bytes(save({name: value.cpu().contiguous() for name, value in plain.items()}, {KEY: words}))


def is_kept(path: Path) -> bool:
    """Tell whether `keep_template` wrote a file.

    False for what cannot be read.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return KEY in (file.metadata() or {})
    except (SafetensorError, OSError):
        return False


def load_kept(path: Path) -> HeadTemplate:
    """Load the template that was kept in a file.

    Raises:
        HeadArtistError: when the file is damaged or does not describe a head.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError(f"it has more than {LARGEST:,} bytes")
        with safe_open(path, framework="pt") as file:
            words = _words((file.metadata() or {}).get(KEY, ""))
            names = set(file.keys())
            if missing := sorted({*_FLOATS, *_INTEGERS} - names):
                raise ValueError(f"it has no {missing[0]}")
            tensors = {name: file.get_tensor(name) for name in (*_FLOATS, *_INTEGERS)}
        _check(words, tensors)
    except (SafetensorError, OSError, ValueError) as why:
        reason = str(why).partition("\n")[0].rstrip(".")
        raise HeadArtistError(
            f"{path} is damaged ({reason}): bring it back, or remove it where the template's own file is still there."
        ) from None
    return _template(words, tensors)


def _words(text: str) -> dict[str, Any]:
    """Check what is no tensor, by itself."""
    try:
        words = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("it does not say what it is") from None
    if not isinstance(words, dict) or set(words) != {*_WORDS}:
        raise ValueError(f"it does not say {', '.join(_WORDS)}")
    parents, unit = words["joint_parents"], words["metres_per_unit"]
    for name in ("part_names", "expression_names", "joint_names"):
        listed = words[name]
        if not isinstance(listed, list) or not all(isinstance(word, str) for word in listed):
            raise ValueError(f"{name} is no list of names")
        if len(set(listed)) < len(listed):
            raise ValueError(f"{name} holds a name twice")
    if not isinstance(words["name"], str) or words["name"] == OPEN or "skin" not in words["part_names"]:
        raise ValueError("it is not called as a user's template is, or has no skin")
    if not isinstance(parents, list) or not all(
        type(parent) is int and -1 <= parent < joint for joint, parent in enumerate(parents)
    ):
        raise ValueError("a joint's parent does not precede it")
    if not isinstance(unit, float) or not 1e-6 < unit < 1e6:
        raise ValueError(f"metres_per_unit is {unit!r}")
    return words


def _check(words: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Shapes, kinds and ranges of all tensors.

    Raises:
        ValueError: with what is wrong.
    """
    sizes = {"3": 3, "2": 2, "e": len(words["expression_names"]), "j": len(words["joint_names"])}
    if len(words["joint_parents"]) != sizes["j"] or not sizes["j"]:
        raise ValueError("it has not one parent for each joint")
    for name, letters in (_FLOATS | _INTEGERS).items():
        tensor = tensors[name]
        kind = torch.float32 if name in _FLOATS else torch.int32
        same = tensor.dtype == kind and tensor.ndim == len(letters)
        if not same or not all(
            sizes.setdefault(letter, size) == size for letter, size in zip(letters, tensor.shape, strict=True)
        ):
            raise ValueError(f"{name} is of {tensor.dtype} and {tuple(tensor.shape)}")
        # What is no number is not below anything.
        if name in _FLOATS and name != "uv" and not bool((tensor.abs() < _LARGEST_NUMBER).all()):
            raise ValueError(f"{name} holds what is no number of a head")
    counts = {name: sizes[letter] for name, letter in _COUNTED.items()} | {"part": len(words["part_names"])}
    for name, count in counts.items():
        if tensors[name].numel() and not (tensors[name].min() >= 0 and tensors[name].max() < count):
            raise ValueError(f"{name} holds numbers beyond 0 to {count - 1}")
    if sizes["l"] not in (FACE_SITES, ALL_SITES):
        raise ValueError(f"it has {sizes['l']} landmarks")
    if int((tensors["part"] == words["part_names"].index("skin")).sum()) < LEAST_FACES:
        raise ValueError(f"it has fewer than {LEAST_FACES} triangles of skin")
    if float(tensors["verts"].abs().max()) > _REACH:
        raise ValueError(f"verts spans more than {_REACH:g} world units")
    shares = tensors["landmark_barycentric"]
    if float((shares - 0.5).abs().max()) > 0.52 or float((shares.sum(dim=1) - 1).abs().max()) > 0.02:
        raise ValueError("landmark_barycentric holds what are no shares of a whole")


def _template(words: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> HeadTemplate:
    described: dict[str, Any] = {name: tensors[name].long() if name in _INTEGERS else tensors[name] for name in tensors}
    for name, value in words.items():
        described[_FIELDS.get(name, name)] = tuple(value) if isinstance(value, list) else value
    sites = LandmarkSites(described.pop("landmark_triangles"), described.pop("landmark_barycentric"))
    return HeadTemplate(**described, landmark_sites=sites)

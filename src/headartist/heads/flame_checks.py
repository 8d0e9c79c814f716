"""What must hold of a FLAME file's arrays.

Before a template is made of them, each broken rule in its own sentence.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from headartist.heads.flatness import flatness
from headartist.system.errors import HeadArtistError

KEYS = ("v_template", "f", "shapedirs", "J_regressor", "kintree_table", "weights")
JOINTS = ("root", "neck", "jaw", "eye_left", "eye_right")
WHOLE = ("f", "kintree_table")
LARGEST_NUMBER = 1e12  # of an array of fractions
FARTHEST = 1.0  # metres that one standard deviation moves a vertex: FLAME's own move one by 0.03 at most
SUM = 0.01  # by which weights that belong together may miss 1
_OWN = "give FLAME's own file"


def check_model(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Refuse what is no FLAME model.

    Raises:
        HeadArtistError: naming the array, and what is wrong with it.
    """
    missing = [key for key in KEYS if key not in arrays]
    if missing:
        raise HeadArtistError(
            f"{path} has no {', '.join(missing)}, so it is not a FLAME model: {_OWN}, or a mesh as .obj, .ply or .glb."
        )
    v, joints = len(arrays["v_template"]) if arrays["v_template"].ndim else 0, len(JOINTS)
    shapes = {
        "v_template": (v, 3),
        "f": (None, 3),
        "shapedirs": (v, 3, None),
        "J_regressor": (joints, v),
        "kintree_table": (2, joints),
        "weights": (v, joints),
    }
    for key, shape in shapes.items():
        _check_shape(path, key, arrays[key], shape)
    for check in (_faces, _surface, _directions, _joints, _weights):
        if wrong := check(arrays):
            raise HeadArtistError(f"{path}: {wrong}: {_OWN}.")


def _check_shape(path: Path, key: str, array: np.ndarray, wanted: tuple[int | None, ...]) -> None:
    fits = array.ndim == len(wanted) and all(
        length in (None, got) for length, got in zip(wanted, array.shape, strict=True)
    )
    if not fits:
        shown = ", ".join("n" if length is None else str(length) for length in wanted)
        raise HeadArtistError(f"{path}: {key} has shape {array.shape} where FLAME has ({shown}): {_OWN}, or a mesh.")
    # Single precision makes something infinite of what is too large, also when it is squared.
    finite = array.dtype.kind in "biu" or (array.dtype.kind == "f" and bool((np.abs(array) < LARGEST_NUMBER).all()))
    if not finite:
        raise HeadArtistError(f"{path}: {key} holds values that are not finite numbers: get the file again.")
    if key in WHOLE and (array % 1).any():
        raise HeadArtistError(f"{path}: {key} holds values that are not whole numbers: {_OWN}.")


def _faces(arrays: Mapping[str, np.ndarray]) -> str:
    count, faces = len(arrays["v_template"]), arrays["f"]
    if count and len(faces) and faces.min() >= 0 and faces.max() < count:
        return ""
    return f"f names vertices that are not there ({count} are)"


def _surface(arrays: Mapping[str, np.ndarray]) -> str:
    verts = arrays["v_template"].astype(np.float64)
    if on := flatness(verts):
        return f"all vertices of v_template lie {on}"
    a, b, c = (verts[arrays["f"].astype(np.int64)[:, k]] for k in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2
    size = np.square(verts.max(axis=0) - verts.min(axis=0)).sum()
    return "" if area > 1e-3 * size else "the triangles of f have no area"


def _directions(arrays: Mapping[str, np.ndarray]) -> str:
    farthest = float(np.abs(arrays["shapedirs"]).max(initial=0))
    if farthest <= FARTHEST:
        return ""
    return (
        f"shapedirs moves a vertex by {farthest:.3g} m for one standard deviation, where at most {FARTHEST:g} m is one"
    )


def _joints(arrays: Mapping[str, np.ndarray]) -> str:
    parents = arrays["kintree_table"][0].astype(np.int64)
    # The root's parent is -1, or that as an unsigned number.
    for joint, parent in enumerate(parents[1:], start=1):
        if not 0 <= parent < joint:
            return f"kintree_table gives joint {joint} the parent {parent}, which is none before it"
    sums = arrays["J_regressor"].astype(np.float64).sum(axis=1)
    return "" if np.abs(sums - 1).max() < SUM else f"the rows of J_regressor sum to {_range(sums)}, not to 1"


def _weights(arrays: Mapping[str, np.ndarray]) -> str:
    weights = arrays["weights"].astype(np.float64)
    sums = weights.sum(axis=1)
    if np.abs(sums - 1).max() < SUM and weights.min() > -SUM:
        return ""
    return (
        f"the rows of weights sum to {_range(sums)}, the least of them is {weights.min():.3g}: they are no shares of 1"
    )


def _range(values: np.ndarray) -> str:
    low, high = f"{values.min():.3g}", f"{values.max():.3g}"
    return low if low == high else f"{low} to {high}"

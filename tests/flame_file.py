"""A file in FLAME's shape, made from the open head: its skin and eyes, under FLAME's names and in FLAME's frame."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.numpy
import scipy.sparse
import torch

import fake_chumpy
from headartist.heads import HeadTemplate, load_template

IDENTITIES, EXPRESSIONS = 300, 100
JOINTS = ("root", "neck", "jaw", "eye_left", "eye_right")
SHIFT = np.array([0.004, -0.021, 0.013])  # metres: FLAME's origin is not ours


@dataclass(frozen=True)
class FlameLike:
    """The arrays of a file, the open head that they were made from, and which of its vertices they keep."""

    arrays: dict[str, np.ndarray]
    head: HeadTemplate
    kept: torch.Tensor


def flame_like(identity: str = "seed:5") -> FlameLike:
    """FLAME's arrays for a person of the open head; 100 of its 300 identities and 52 of its 100 expressions move it."""
    head = load_template("open", identity=identity)
    kept = (head.part == head.part_names.index("skin")) | (head.part == head.part_names.index("eyes"))
    old, faces = head.faces[kept].unique(return_inverse=True)
    metres = head.meters_per_unit

    directions = np.zeros((len(old), 3, IDENTITIES + EXPRESSIONS), np.float32)
    directions[..., : len(head.shape_basis)] = metres * head.shape_basis[:, old].permute(1, 2, 0).numpy()
    expressions = metres * head.expression_basis[:, old].permute(1, 2, 0).numpy()
    directions[..., IDENTITIES : IDENTITIES + expressions.shape[2]] = expressions

    # FLAME has no joint of the head: the neck's takes its part.
    weight = dict(zip(head.joint_names, head.skin_weights[old].double().numpy().T, strict=True))
    weights = np.stack([weight[name] + (weight["head"] if name == "neck" else 0) for name in JOINTS], axis=1)
    verts = metres * head.verts[old].double().numpy() + SHIFT
    arrays = {
        "v_template": verts,
        "f": faces.numpy().astype(np.uint32),
        "shapedirs": directions,
        "posedirs": np.zeros((len(old), 3, 36)),
        "J_regressor": _regressor(verts, metres * head.joints.double().numpy() + SHIFT, head.joint_names),
        "kintree_table": np.array([[2**32 - 1, 0, 1, 1, 1], [0, 1, 2, 3, 4]], np.uint32),
        "weights": weights,
    }
    return FlameLike(arrays, head, old)


def _regressor(verts: np.ndarray, joints: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    """Sparse weights that sum to 1 and give the joints: the ones of least size among the 32 nearest vertices."""
    rows = np.zeros((len(JOINTS), len(verts)))
    for row, name in zip(rows, JOINTS, strict=True):
        joint = joints[names.index(name)]
        near = np.argsort(np.linalg.norm(verts - joint, axis=1))[:32]
        system = np.vstack([verts[near].T, np.ones(32)])
        row[near] = np.linalg.lstsq(system, np.append(joint, 1.0), rcond=None)[0]
    return rows


def write_flame(path: Path, arrays: dict[str, np.ndarray], protocol: int = 2) -> Path:
    """Write FLAME's arrays as the file's suffix says: .npz, .safetensors, or a .pkl as FLAME's own are."""
    match path.suffix:
        case ".npz":
            np.savez(path, **arrays)
        case ".safetensors":
            safetensors.numpy.save_file(arrays, path)
        case ".pkl":
            as_variable = {key: fake_chumpy.Ch(arrays[key]) for key in ("v_template", "shapedirs", "weights")}
            sparse = {"J_regressor": scipy.sparse.csc_matrix(arrays["J_regressor"])}
            words = {"bs_style": "lbs", "bs_type": "lrotmin"}
            path.write_bytes(fake_chumpy.dumps(arrays | as_variable | sparse | words, protocol))
    return path

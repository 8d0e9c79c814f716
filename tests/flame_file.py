"""A file in FLAME's shape, made from the open head: its skin and eyes, under FLAME's names and in FLAME's frame."""

from dataclasses import dataclass

import numpy as np
import torch

from headartist.heads import HeadTemplate, load_template

IDENTITIES, EXPRESSIONS = 300, 100
JOINTS = ("root", "neck", "jaw", "eye_left", "eye_right")
SHIFT = np.array([0.004, -0.021, 0.013])  # metres: FLAME's origin is not ours


@dataclass(frozen=True)
class FlameLike:
    """The arrays of a file, and the open head that they were made from, with its vertices' new numbers."""

    arrays: dict[str, np.ndarray]
    head: HeadTemplate
    faces: torch.Tensor
    numbers: torch.Tensor


def flame_like(identity: str = "seed:5") -> FlameLike:
    """FLAME's arrays for a person of the open head; 100 of its 300 identities and 52 of its 100 expressions move it."""
    head = load_template("open", identity=identity)
    kept = (head.part == head.part_names.index("skin")) | (head.part == head.part_names.index("eyes"))
    old, faces = head.faces[kept].unique(return_inverse=True)
    numbers = torch.full((len(head.verts),), -1)
    numbers[old] = torch.arange(len(old))
    metres = head.metres_per_unit

    directions = np.zeros((len(old), 3, IDENTITIES + EXPRESSIONS))
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
    return FlameLike(arrays, head, faces, numbers)


def _regressor(verts: np.ndarray, joints: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    """Sparse weights that sum to 1 and give the joints: the ones of least size among the 32 nearest vertices."""
    rows = np.zeros((len(JOINTS), len(verts)))
    for row, name in zip(rows, JOINTS, strict=True):
        joint = joints[names.index(name)]
        near = np.argsort(np.linalg.norm(verts - joint, axis=1))[:32]
        system = np.vstack([verts[near].T, np.ones(32)])
        row[near] = np.linalg.lstsq(system, np.append(joint, 1.0), rcond=None)[0]
    return rows

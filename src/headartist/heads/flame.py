"""A user's own FLAME file as a head template.

Of 2017, 2020, 2023, 2023 Open; its pickle is read, never executed.

FLAME (Li et al. 2017): `v_template` (5023 vertices in metres, y up, facing +z), `f`, `shapedirs` (identity and
expression directions side by side), `J_regressor`, `kintree_table` and `weights`. The same names are expected in .npz
and .safetensors files. Pose correctives (`posedirs`) are not used: the template stands at rest.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from safetensors import safe_open
from torch import Tensor

from headartist.config.template import landmark_file, require_content
from headartist.geometry.mesh import Mesh
from headartist.heads.flame_checks import JOINTS, KEYS, check_model
from headartist.heads.landmark_transfer import no_landmarks, read_landmarks, with_landmarks
from headartist.heads.npz import LARGEST, read_npz
from headartist.heads.open_head import load_open_head
from headartist.heads.pickle.names import Refused
from headartist.heads.pickle.reader import read_pickle
from headartist.heads.pickle.records import Arrays
from headartist.heads.substitutes import cylindrical_uv, mirror_partners
from headartist.heads.template import HeadTemplate
from headartist.system.errors import HeadArtistError

IDENTITIES = 300  # directions of `shapedirs` that are identities; the rest are expressions
REACH = (0.3, 2.0)  # world units that a head reaches from its middle; others are not in metres


def load_flame(path: Path) -> HeadTemplate:
    """Load the template in a FLAME file.

    In the open head's scale and with its eyes where the open head's are.

    Landmark sites come from `<stem>.landmarks.npz` beside the file, where there is one, and for all other landmarks
    from the open head, which is laid onto the template once. FLAME files have no texture coordinates; those of a
    cylinder around the head are used.

    Raises:
        HeadArtistError: when the file is not FLAME's, is damaged, or wants to run something.
    """
    model = read_model(path)
    landmarks = read_landmarks(landmark_file(path), len(model.faces))
    return with_landmarks(_template(path.name, model), landmarks)


@dataclass(frozen=True)
class FlameModel:
    """What we use of a FLAME file, as in it."""

    verts: Float[Tensor, "v 3"]
    faces: Int[Tensor, "f 3"]
    directions: Float[Tensor, "v 3 n"]
    joint_regressor: Float[Tensor, "j v"]
    parents: tuple[int, ...]
    skin_weights: Float[Tensor, "v j"]


def read_model(path: Path) -> FlameModel:
    """Read and check a FLAME file.

    Raises:
        HeadArtistError: when it cannot be used.
    """
    require_content(path, LARGEST)
    arrays = _READERS[path.suffix.lower()](path)
    check_model(path, arrays)
    # The root's parent is -1, or that as an unsigned number.
    parents = tuple(int(p) if 0 <= int(p) < j else -1 for j, p in enumerate(arrays["kintree_table"][0]))
    weights = _floats(arrays["weights"])
    return FlameModel(
        verts=_floats(arrays["v_template"]),
        faces=torch.from_numpy(arrays["f"].astype(np.int64)),
        directions=_floats(arrays["shapedirs"]),
        joint_regressor=_floats(arrays["J_regressor"]),
        parents=parents,
        skin_weights=weights / weights.sum(dim=1, keepdim=True).clamp(min=1e-12),
    )


def _floats(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array.astype(np.float32))


# --- containers -------------------------------------------------------------------------------------------------------


def _read_pkl(path: Path) -> Mapping[str, np.ndarray]:
    try:
        model = read_pickle(path.read_bytes())
        if not isinstance(model, dict):
            raise Refused("it does not hold a model, which is a dict")
        arrays = Arrays()
        return {key: arrays(model[key]) for key in KEYS if key in model}
    except Refused as why:
        raise HeadArtistError(
            f"{path} is not read, because {why}: get the file again from where FLAME is published, or save its arrays "
            "as .npz."
        ) from None


def _read_npz(path: Path) -> Mapping[str, np.ndarray]:
    return read_npz(path, KEYS)


def _read_safetensors(path: Path) -> Mapping[str, np.ndarray]:
    try:
        with safe_open(path, framework="numpy") as file:
            names = set(file.keys())
            return {key: file.get_tensor(key) for key in KEYS if key in names}
    except Exception as error:  # damaged, or of a type that numpy has not
        raise HeadArtistError(f"{path} cannot be read ({_first_line(error)}): save it again.") from None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


_READERS: Mapping[str, Callable[[Path], Mapping[str, np.ndarray]]] = {
    ".pkl": _read_pkl,
    ".npz": _read_npz,
    ".safetensors": _read_safetensors,
}


# --- the template -----------------------------------------------------------------------------------------------------


def _template(name: str, model: FlameModel) -> HeadTemplate:
    """Bring the model to world units, without landmark sites."""
    open_head = load_open_head()
    scale = 1 / open_head.meters_per_unit
    joints = scale * (model.joint_regressor @ model.verts)
    shift = _between_eyes(open_head.joints, open_head.joint_names) - _between_eyes(joints, JOINTS)
    parts = _parts(model)
    uv, uv_faces = cylindrical_uv(model.verts, model.faces)
    # One unit of a coefficient is one standard deviation already.
    shape_directions = scale * model.directions[..., :IDENTITIES].permute(2, 0, 1)
    template = HeadTemplate(
        name=name,
        verts=scale * model.verts + shift,
        faces=model.faces,
        uv=uv,
        uv_faces=uv_faces,
        part=parts,
        part_names=("skin", "eyes"),
        shape_basis=shape_directions.contiguous(),
        joint_basis=torch.einsum("jv,kvc->kjc", model.joint_regressor, shape_directions),
        expression_basis=(scale * model.directions[..., IDENTITIES:].permute(2, 0, 1)).contiguous(),
        expression_names=tuple(f"expression_{k:03d}" for k in range(max(model.directions.shape[2] - IDENTITIES, 0))),
        joints=joints + shift,
        joint_names=JOINTS,
        joint_parents=model.parents,
        skin_weights=model.skin_weights,
        landmark_sites=no_landmarks(),
        mirror=mirror_partners(scale * model.verts + shift),
        meters_per_unit=open_head.meters_per_unit,
    )
    reach = float(template.verts.abs().max())
    if not REACH[0] < reach < REACH[1]:
        raise HeadArtistError(
            f"{name} spans {reach * open_head.meters_per_unit:.3g} m from its middle, as no head does: FLAME files are "
            "in metres, y up; give FLAME's own file."
        )
    return template


def _between_eyes(joints: Float[Tensor, "j 3"], names: tuple[str, ...]) -> Float[Tensor, "3"]:
    return joints[[names.index("eye_left"), names.index("eye_right")]].mean(dim=0)


def _parts(model: FlameModel) -> Int[Tensor, "f"]:
    """Tell eyes from skin.

    0 for skin, 1 for eyes: the components that nothing but the eyes' joints move.
    """
    component = Mesh(model.verts, model.faces).components
    with_eyes = model.skin_weights[:, [JOINTS.index("eye_left"), JOINTS.index("eye_right")]].sum(dim=1)
    least = torch.full((int(component.max()) + 1,), 1.0).scatter_reduce(0, component, with_eyes, "amin")
    return (least[component[model.faces[:, 0]]] > 0.5).long()

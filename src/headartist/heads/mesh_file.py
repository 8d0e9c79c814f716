"""A head template from a mesh file (OBJ, PLY, GLB) of any unit: y up, the face to +z, closed or nearly so.

It is moved, turned and scaled to where the open head lies closest; its true size is not known, and taken for an average
one. With a landmark file beside it, the landmarks place it instead, whichever way it lay. Such a template has no
identities and no expressions, and one joint.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from headartist.cache import fingerprint, remembered
from headartist.errors import HeadArtistError
from headartist.geometry.mesh import Mesh
from headartist.geometry.registration import similarity
from headartist.heads.landmark_transfer import LEAST_FACES, KnownLandmarks, no_landmarks, read_landmarks, with_landmarks
from headartist.heads.open_head import load_open_head
from headartist.heads.open_head_fit import COARSE_REACHES, Fit, OpenHeadFit, Similarity
from headartist.heads.substitutes import cylindrical_uv, mirror_partners
from headartist.heads.template import HeadTemplate
from headartist.start import landmark_file

HALF_WIDTH = 1.08  # world units; of the box beyond which, as below a bust, nothing is kept
LIKE_A_HEAD = 0.014  # world units (3 mm): the most that the closest open face may lie off, on average
LEAST_LANDMARKS = 4
_VERSION = 1  # of this file's arithmetic: a new number makes everything remembered stale
# What a file's height may be: the head alone, with its neck, a bust, half a body, a whole one; in world units.
_HEIGHTS = (1.05, 1.3, 1.65, 3.5, 7.6)
_HEAD_HEIGHT = 1.05


@dataclass(frozen=True)
class MeshFile:
    """Triangles as in the file, vertices of the same place made one."""

    verts: Float[Tensor, "v 3"]
    faces: Int[Tensor, "f 3"]
    uv: Float[Tensor, "u 2"] | None
    uv_faces: Int[Tensor, "f 3"]


def load_mesh_file(path: Path) -> HeadTemplate:
    """The template in a mesh file.

    Raises:
        HeadArtistError: when the file cannot be read, is empty or damaged, or holds nothing like a head.
    """
    mesh = read_mesh(path)
    known = read_landmarks(landmark_file(path), len(mesh.faces))
    place = _place(path, mesh, known)
    verts = place(mesh.verts.double()).float()
    kept = (verts.abs().amax(dim=1) < HALF_WIDTH)[mesh.faces].all(dim=1)
    return with_landmarks(_template(path.name, mesh, verts, kept), None if known is None else known.among(kept))


def read_mesh(path: Path) -> MeshFile:
    """The triangles of a mesh file.

    Raises:
        HeadArtistError: when it cannot be read, or holds no surface.
    """
    # Imported here, as the only place that needs it: it takes a while.
    import trimesh

    try:
        # Materials are of no use; but without them, GLB files would lose their texture coordinates.
        mesh = trimesh.load_mesh(path, process=False, skip_materials=path.suffix.lower() != ".glb")
        corners = np.asarray(mesh.vertices, dtype=np.float64)
        faces = np.asarray(mesh.faces, dtype=np.int64).reshape(-1, 3)
    except Exception as error:  # the readers of three formats raise whatever they meet
        raise HeadArtistError(
            f"{path} cannot be read as a mesh ({error or type(error).__name__}): save it again."
        ) from None
    if len(faces) < LEAST_FACES:
        raise HeadArtistError(f"{path} holds {len(faces)} triangles, which make no head: give the mesh of a head.")
    if not (np.isfinite(corners).all() and faces.min() >= 0 and faces.max() < len(corners)):
        raise HeadArtistError(
            f"{path} has vertices that are not finite numbers, or triangles without vertices: save it again."
        )
    uv = getattr(getattr(mesh, "visual", None), "uv", None)
    legal = uv is not None and np.shape(uv) == (len(corners), 2) and np.min(uv) >= 0 and np.max(uv) <= 1
    # Files split vertices along texture seams; the surface must know that it goes on there.
    places, number = np.unique(corners, axis=0, return_inverse=True)
    return MeshFile(
        torch.from_numpy(places),
        torch.from_numpy(number.reshape(-1)[faces]),
        torch.from_numpy(np.asarray(uv, np.float32)) if legal else None,
        torch.from_numpy(faces),
    )


def _place(path: Path, mesh: MeshFile, known: KnownLandmarks | None) -> Similarity:
    """What takes the file's coordinates to the world."""
    if known is not None and len(known.indices) >= LEAST_LANDMARKS:
        goals = load_open_head().site_positions()[known.indices].double()
        return Similarity(*similarity(known.sites.positions(mesh.verts, mesh.faces), goals))
    name = fingerprint(f"{_VERSION}", mesh.verts, mesh.faces)
    found = remembered(f"place-{name}", lambda: _closest_place(mesh))
    if not float(found["residual"]) < LIKE_A_HEAD:
        raise HeadArtistError(
            f"{path} does not look like a head with y up that faces +z: turn it so, or name some of its landmarks in "
            f"{landmark_file(path).name}."
        )
    return Similarity(found["linear"], found["shift"])


def _closest_place(mesh: MeshFile) -> dict[str, Tensor]:
    """The similarity at which the open head lies closest, from several starts, and how close its face is."""
    first = _starts(mesh)[0]
    # The target is brought to about the world's size first: single precision is fine there.
    fit = OpenHeadFit(load_open_head(), Mesh(first(mesh.verts).float(), mesh.faces))
    starts = [start.inverse().then(first) for start in _starts(mesh)]
    tried = [fit(start, identity=False, reaches=COARSE_REACHES) for start in starts]
    best: Fit | None = None
    for coarse in sorted(tried, key=lambda one: one.residual):
        fine = fit(coarse.place)
        best = fine if best is None or fine.residual < best.residual else best
        if best.residual < LIKE_A_HEAD:
            break
    assert best is not None
    place = first.then(best.place.inverse())
    return {"linear": place.linear, "shift": place.shift, "residual": torch.tensor(best.residual)}


def _starts(mesh: MeshFile) -> list[Similarity]:
    """Guesses at what takes the file to the world, one for each height that it may have."""
    head = load_open_head()
    goal = _upper_box_middle(head.verts[head.faces_of("skin").unique()].double(), _HEAD_HEIGHT)
    height = mesh.verts[:, 1].max() - mesh.verts[:, 1].min()
    guesses = []
    for guess in _HEIGHTS:
        scale = guess / height.clamp(min=1e-30)
        shift = goal - scale * _upper_box_middle(mesh.verts, _HEAD_HEIGHT / float(scale))
        guesses.append(Similarity(scale * torch.eye(3, dtype=torch.float64), shift))
    return guesses


def _upper_box_middle(verts: Float[Tensor, "v 3"], height: float) -> Float[Tensor, "3"]:
    """The middle of the box around what lies at most `height` below the top, and its top for y."""
    top = verts[:, 1].max()
    upper = verts[verts[:, 1] > top - height]
    middle = (upper.amin(dim=0) + upper.amax(dim=0)) / 2
    return torch.stack([middle[0], top, middle[2]])


def _template(name: str, mesh: MeshFile, verts: Float[Tensor, "v 3"], kept: Tensor) -> HeadTemplate:
    """The kept triangles as a template without landmark sites."""
    used, faces = mesh.faces[kept].unique(return_inverse=True)
    verts = verts[used]
    if mesh.uv is None:
        uv, uv_faces = cylindrical_uv(verts, faces)
    else:
        uv_used, uv_faces = mesh.uv_faces[kept].unique(return_inverse=True)
        uv = mesh.uv[uv_used]
    return HeadTemplate(
        name=name,
        verts=verts,
        faces=faces,
        uv=uv,
        uv_faces=uv_faces,
        part=torch.zeros(len(faces), dtype=torch.int64),
        part_names=("skin",),
        shape_basis=torch.zeros(0, len(verts), 3),
        joint_basis=torch.zeros(0, 1, 3),
        expression_basis=torch.zeros(0, len(verts), 3),
        expression_names=(),
        joints=torch.zeros(1, 3),
        joint_names=("root",),
        joint_parents=(-1,),
        skin_weights=torch.ones(len(verts), 1),
        landmark_sites=no_landmarks(),
        mirror=mirror_partners(verts),
        metres_per_unit=load_open_head().metres_per_unit,
    )

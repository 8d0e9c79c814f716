"""The template laid onto a generated head.

Its face by registration, its eyes, teeth and tongue by rigid motion.
"""

from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from headartist.export.rig.features import LIDS, LOWER_LIP, UPPER_LIP
from headartist.geometry.closest import ClosestPoint
from headartist.geometry.distance import SignedDistance
from headartist.geometry.mesh import Mesh
from headartist.geometry.registration import Pins, RegistrationConfig, register, similarity
from headartist.heads.template import HeadTemplate

# A head keeps its template's pose and scale, so that the search begins close; what lies far outside is hair.
FACE_FIT = RegistrationConfig(
    stiffness=(100.0, 30.0, 10.0, 3.0, 1.0), steps=3, reach=0.2, reach_outside=0.1, least_cosine=0.5, pin_weight=0.3
)
_NEIGHBORS = 48  # skin vertices that a part beneath moves with


def fit(template: HeadTemplate, mesh: Mesh, shown: Bool[Tensor, "f"]) -> HeadTemplate:
    """Give the template a generated head's shape, joints included.

    The sites of lids and lips are held, loosely, to the nearest place of the head: the landmarks that the head was
    made under say where they belong, while a smooth surface alone would let them slide.

    Args:
        template: in the pose that the head was made with.
        mesh: the head.
        shown: the template's `visible_faces`.
    """
    skin = template.mesh("skin")
    seen = torch.zeros(len(template.verts), dtype=torch.bool)
    seen[template.faces[shown & of_parts(template, "skin")]] = True
    found = register(skin, mesh, pins=_feature_pins(template, mesh), seeks=seen, config=FACE_FIT)
    on_skin = skin.faces.unique()
    verts = found.verts.clone()
    for part in _pieces_beneath(template):
        a, b = _motion(template.verts[part], template.verts[on_skin], verts[on_skin])
        verts[part] = template.verts[part] @ a.T + b
    joints = template.joints.clone()
    for k, joint in enumerate(template.joints):
        a, b = _motion(joint[None], template.verts[on_skin], verts[on_skin])
        joints[k] = a @ joint + b
    return replace(template, verts=verts, joints=joints)


def visible_faces(template: HeadTemplate) -> Bool[Tensor, "f"]:
    """Find triangles that see the sky.

    Of skin and eyes: not the mouth's inside, nostrils, or the backs of the eyeballs.
    """
    shown = of_parts(template, "skin", "eyes")
    shown[shown.clone()] = SignedDistance(template.mesh("skin", "eyes")).seen_faces.cpu()
    return shown


def of_parts(template: HeadTemplate, *names: str) -> Bool[Tensor, "f"]:
    """Mark the triangles of these parts.

    A part the template lacks has none.
    """
    return torch.tensor([name in names for name in template.part_names])[template.part]


def _feature_pins(template: HeadTemplate, mesh: Mesh) -> Pins:
    skin = of_parts(template, "skin")
    sites = sorted({*LIDS[0], *LIDS[1], *UPPER_LIP, *LOWER_LIP})
    sites = [site for site in sites if skin[template.landmark_sites.triangles[site]]]
    positions = template.site_positions()[sites]
    among_skin = skin.cumsum(0) - 1
    triangles = among_skin[template.landmark_sites.triangles[sites]]
    goals = ClosestPoint(mesh)(positions).of(mesh.verts, mesh.faces)
    return Pins(triangles, template.landmark_sites.barycentric[sites], goals)


def _pieces_beneath(template: HeadTemplate) -> list[Int[Tensor, "n"]]:
    """List the pieces beneath the skin.

    The vertices of each connected piece of the eyes, teeth, tongue and lashes.
    """
    faces = template.faces_of(*(name for name in template.part_names if name != "skin"))
    if len(faces) == 0:
        return []
    ends = faces[:, [0, 1, 2]].reshape(-1).numpy(), faces[:, [1, 2, 0]].reshape(-1).numpy()
    count = len(template.verts)
    _, label = connected_components(coo_array((ends[0] * 0 + 1, ends), shape=(count, count)), directed=False)
    labels = torch.from_numpy(label).long()
    used = faces.unique()
    return [used[labels[used] == piece] for piece in labels[used].unique()]


def _motion(
    part: Float[Tensor, "n 3"], skin: Float[Tensor, "m 3"], moved: Float[Tensor, "m 3"]
) -> tuple[Float[Tensor, "3 3"], Float[Tensor, "3"]]:
    """Find how the skin nearest to a part has moved.

    As a rotation, a scale and a shift.
    """
    distance = torch.cdist(part, skin).amin(dim=0)
    nearest = distance.argsort(stable=True)[:_NEIGHBORS]
    return similarity(skin[nearest], moved[nearest])

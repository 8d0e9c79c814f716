"""The rig of a generated head.

A template's 52 shapes and its joints, carried to another topology.

A generated head is one closed surface: its lips are grown together and its eyes are painted on. With `mouth` the lips
are cut apart along the line where the template's lips meet, and the template's mouth, teeth and tongue are set behind
them. With `eyes` the lids are cut open and the template's eyeballs set in, which wear the colours that were painted
there; without it the lids close by squeezing the painted eye to a line, and eyes look by sliding on the closed surface.
"""

from dataclasses import replace

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from headartist.export.rig.features import LidOpening, MouthLine
from headartist.export.rig.fitting import fit, of_parts, visible_faces
from headartist.export.rig.rig import SURFACE, Rig
from headartist.export.rig.rim_strip import with_rim_strip
from headartist.export.rig.transfer import Reference, carried_shapes, carried_weights, counterparts
from headartist.geometry.mesh import Mesh
from headartist.geometry.seam import Parted, let_go, split_along
from headartist.heads.template import HeadTemplate
from headartist.system.errors import HeadArtistError

LIPS_DEPTH = 0.3  # world units around the line between the lips where above and below are told apart: nose to chin
LEAST_JAW = 0.3  # the jaw's share from which skin between the corners of the mouth is of the lower lip
TUCK = 0.008  # world units that the mouth is set back, so that nothing of it shows between closed lips
LIP_CURL = 0.02  # world units that the upper lip may reach below the line


def rig_head(mesh: Mesh, template: HeadTemplate, *, mouth: bool = True, eyes: bool = False) -> Rig:
    """Carry a template's rig to a head.

    Args:
        mesh: the head's surface, near the template it grew from.
        template: in the pose and shape the head was made with.
        mouth: part the lips, and set in the template's mouth, teeth and tongue.
        eyes: open the lids, and set in the template's eyeballs.

    Raises:
        HeadArtistError: the template has no expressions or no jaw, head and neck to carry.
    """
    _check(template)
    mesh = Mesh(mesh.verts.detach().cpu().float(), mesh.faces.cpu().long())
    shown = visible_faces(template)
    fitted = fit(template, mesh, shown)
    line, lids = MouthLine.of(fitted), LidOpening.both(fitted)
    surface, side = mesh, torch.zeros(len(mesh.verts), dtype=torch.int64)
    if eyes:
        for opening in lids:
            surface = _opened(surface, opening)
        side = torch.zeros(len(surface.verts), dtype=torch.int64)
    if mouth:
        parted = _parted(surface, line)
        surface, side = parted.mesh, parted.side * line.near(parted.mesh.verts)
    seen = shown & of_parts(template, "skin") if eyes else shown
    reference = _reference(template, fitted, seen)
    rig = _carry(surface, side, fitted, reference, lids)
    if mouth:
        rig = with_rim_strip(rig, "lips", line.near(surface.verts), side[:, None] * torch.tensor([0.0, 1.0, 0.0]))
        back = fitted.with_verts(fitted.verts - torch.tensor([0.0, 0.0, TUCK]))
        rig = _with_part(rig, back, "mouth", _mouth_lining(template, shown))
        for name in ("teeth", "tongue"):
            rig = _with_part(rig, back, name, fitted.faces_of(name))
    if eyes:
        rig = with_rim_strip(rig, "lids", torch.stack([opening.near(surface.verts) for opening in lids]).any(dim=0))
        rig = _with_part(rig, fitted, "eyes", fitted.faces_of("eyes"))
    return rig


def _check(template: HeadTemplate) -> None:
    missing = [name for name in ("neck", "head", "jaw") if name not in template.joint_names]
    if missing or not template.expression_names:
        what = "expressions" if not missing else f"joint {missing[0]!r}"
        raise HeadArtistError(f"Template {template.name!r} has no {what}: export with rig=False (--no-rig).")


def _parted(mesh: Mesh, line: MouthLine) -> Parted:
    """Cut the surface along the line between the lips."""
    return let_go(split_along(mesh, line.height(mesh.verts), line.near, _frontal(mesh)))


def _opened(mesh: Mesh, opening: LidOpening) -> Mesh:
    """Remove what lies between the lids."""
    split = split_along(mesh, opening.height(mesh.verts), opening.near, _frontal(mesh)).mesh
    center = split.verts[split.faces].mean(dim=1)
    between = (opening.height(center) < 0) & opening.near(center) & _frontal(split)[split.faces].all(dim=1)
    used, faces = split.faces[~between].unique(return_inverse=True)
    return Mesh(split.verts[used], faces.reshape(-1, 3))


def _frontal(mesh: Mesh) -> Bool[Tensor, "v"]:
    """Mark vertices that do not look backwards.

    What is rough may look aside.
    """
    return mesh.vertex_normals()[:, 2] > -0.5


def _carry(
    surface: Mesh,
    side: Int[Tensor, "v"],
    fitted: HeadTemplate,
    reference: Reference,
    lids: tuple[LidOpening, ...],
) -> Rig:
    """Carry the rig to the surface alone."""
    found = counterparts(reference, surface, side)
    eyeball = torch.zeros(len(fitted.verts), 1)
    eyeball[fitted.faces_of("eyes").unique()] = 1.0
    on_eye = found.points.of(eyeball, reference.mesh.faces)[:, 0] > 0.5
    look = torch.tensor([name.startswith("eyeLook") for name in fitted.expression_names])
    shapes = torch.empty(len(look), len(surface.verts), 3)
    # Lids slide over an eye, but a closed surface cannot: what is painted between them is squeezed instead.
    for chosen, free in ((look, torch.zeros_like(on_eye)), (~look, on_eye)):
        if chosen.any():
            shapes[chosen] = carried_shapes(surface, found, reference.mesh, fitted.expression_basis[chosen], free)
    jaw, head = fitted.joint_names.index("jaw"), fitted.joint_names.index("head")
    weights = carried_weights(surface, found, reference.mesh, fitted.skin_weights, jaw, head)
    return Rig(
        mesh=surface,
        part=torch.zeros(len(surface.faces), dtype=torch.int64),
        part_names=(SURFACE,),
        shapes=shapes,
        shape_names=fitted.expression_names,
        joints=fitted.joints,
        joint_names=fitted.joint_names,
        joint_parents=fitted.joint_parents,
        skin_weights=weights,
        lids=lids,
        meters_per_unit=fitted.meters_per_unit,
    )


def _reference(template: HeadTemplate, fitted: HeadTemplate, shown: Bool[Tensor, "f"]) -> Reference:
    """Take the fitted template's visible surface.

    With its upper and its lower lip told apart by what the jaw moves.
    """
    mesh = Mesh(fitted.verts, fitted.faces[shown])
    jaw = fitted.skin_weights[:, fitted.joint_names.index("jaw")]
    line, center = MouthLine.of(template), template.verts[mesh.faces].mean(dim=1)
    lower = jaw[mesh.faces].mean(dim=1) > LEAST_JAW
    upper = ~lower & (line.height(center) > -LIP_CURL)
    side = torch.where(line.near(center, LIPS_DEPTH), upper.long() - lower.long(), 0)
    return Reference(mesh, side, jaw)


def _mouth_lining(template: HeadTemplate, shown: Bool[Tensor, "f"]) -> Int[Tensor, "g 3"]:
    """Find the skin within the mouth.

    Hidden triangles that hang together with those behind the lips.
    """
    hidden = template.faces[of_parts(template, "skin") & ~shown]
    inside = _reached(hidden, len(template.verts), MouthLine.of(template).near(template.verts))
    return hidden[inside[hidden].all(dim=1)]


def _reached(faces: Int[Tensor, "g 3"], count: int, start: Bool[Tensor, "v"]) -> Bool[Tensor, "v"]:
    """Find the vertices that can be walked to along triangles."""
    inside = torch.zeros(count, dtype=torch.bool)
    inside[faces[start[faces].any(dim=1)]] = True
    while True:
        before = int(inside.sum())
        inside[faces[inside[faces].any(dim=1)]] = True
        if int(inside.sum()) == before:
            return inside


def _with_part(rig: Rig, fitted: HeadTemplate, name: str, faces: Int[Tensor, "g 3"]) -> Rig:
    """Set in triangles of the fitted template.

    None change nothing.
    """
    if len(faces) == 0:
        return rig
    used, compact = faces.unique(return_inverse=True)
    offset = len(rig.mesh.verts)
    return replace(
        rig,
        mesh=Mesh(
            torch.cat([rig.mesh.verts, fitted.verts[used]]),
            torch.cat([rig.mesh.faces, compact.reshape(-1, 3) + offset]),
        ),
        part=torch.cat([rig.part, torch.full((len(faces),), len(rig.part_names))]),
        part_names=(*rig.part_names, name),
        shapes=torch.cat([rig.shapes, fitted.expression_basis[:, used]], dim=1),
        skin_weights=torch.cat([rig.skin_weights, fitted.skin_weights[used]]),
    )

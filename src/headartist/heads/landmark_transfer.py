"""MediaPipe's landmarks on a user's template.

From a file of theirs, and from the open head laid onto it.

The open head's skin is registered to the template's, guided by the landmarks that are known; where its sites have come,
the nearest points of the template carry their numbers. Done once for each template and cached on disk.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from headartist.config.template import OPEN
from headartist.geometry.closest import ClosestPoint
from headartist.geometry.mesh import Mesh
from headartist.geometry.registration import Pins, register
from headartist.heads.npz import read_npz
from headartist.heads.open_head import load_open_head
from headartist.heads.open_head_fit import OpenHeadFit, Similarity, outer_skin
from headartist.heads.template import HeadTemplate, LandmarkSites
from headartist.system.cache import cached, fingerprint
from headartist.system.errors import HeadArtistError

FACE_SITES, ALL_SITES = 468, 478  # without and with the irises
LEAST_FACES = 100  # triangles of a head's skin
_VERSION = 2  # of the arithmetic here, of the fit and of the registration: a new number makes all that is cached stale
_NAMES = {
    "triangles": ("triangles", "lmk_face_idx"),
    "barycentric": ("barycentric", "lmk_b_coords"),
    "indices": ("landmark_indices", "indices"),
}


@dataclass(frozen=True)
class KnownLandmarks:
    """Landmarks of which a user says where they are.

    Attributes:
        indices: their MediaPipe numbers.
        sites: their places on the template.
    """

    indices: Int[Tensor, "m"]
    sites: LandmarkSites

    def among(self, kept: Bool[Tensor, "f"], turned: Bool[Tensor, "f"]) -> "KnownLandmarks":
        """Keep those on kept triangles, numbered anew.

        Some triangles have been turned round.
        """
        there = kept[self.sites.triangles]
        triangles, weights = self.sites.triangles[there], self.sites.barycentric[there]
        weights = torch.where(turned[triangles][:, None], weights[:, [0, 2, 1]], weights)
        numbers = kept.cumsum(dim=0) - 1
        return KnownLandmarks(self.indices[there], LandmarkSites(numbers[triangles], weights))


def read_landmarks(path: Path, face_count: int) -> KnownLandmarks | None:
    """Read the landmarks that a file names.

    For a template of `face_count` triangles; None without such a file.

    An .npz of `triangles` (or `lmk_face_idx`), `barycentric` (or `lmk_b_coords`) and `landmark_indices`, the MediaPipe
    numbers, as FLAME's `mediapipe_landmark_embedding.npz` has them; without numbers, they are 0, 1, 2, ...

    Raises:
        HeadArtistError: when the file is there and cannot be used.
    """
    if not path.is_file():
        return None
    arrays = _read(path)
    triangles, barycentric = arrays["triangles"], arrays["barycentric"]
    indices = arrays.get("indices", np.arange(triangles.size))
    count = indices.size
    if not (triangles.shape == indices.shape == (count,) and barycentric.shape == (count, 3) and count):
        raise HeadArtistError(
            f"{path} has {triangles.shape}, {barycentric.shape} and {indices.shape} triangles, barycentric weights and "
            "indices: give one triangle, three weights and one number for each landmark."
        )
    if not _are_numbers(triangles, face_count) or not _are_numbers(indices, ALL_SITES) or len(set(indices)) < count:
        raise HeadArtistError(
            f"{path} must number triangles below {face_count} and different landmarks below {ALL_SITES}: mend it, or "
            "remove it to have all landmarks found."
        )
    inside = (np.abs(barycentric - 0.5) <= 0.51).all()  # nothing that is not a number is so
    if not inside or np.abs(barycentric.sum(axis=1) - 1).max() > 0.01:
        raise HeadArtistError(
            f"{path} has barycentric weights that are negative or do not sum to 1: mend it, or remove it."
        )
    sites = LandmarkSites(torch.from_numpy(triangles.astype(np.int64)), torch.from_numpy(barycentric.astype("f4")))
    return KnownLandmarks(torch.from_numpy(indices.astype(np.int64)), sites)


def _read(path: Path) -> dict[str, np.ndarray]:
    held = read_npz(path, [name for names in _NAMES.values() for name in names])
    found = {ours: held[name] for ours, names in _NAMES.items() for name in names if name in held}
    for name in ("triangles", "barycentric"):
        if name not in found:
            raise HeadArtistError(f"{path} has no {' or '.join(_NAMES[name])}: add it, or remove the file.")
    return found


def _are_numbers(array: np.ndarray, below: int) -> bool:
    return array.dtype.kind in "iu" and bool(array.min() >= 0 and array.max() < below)


def no_landmarks() -> LandmarkSites:
    """Make no sites, as before they are found."""
    return LandmarkSites(torch.zeros(0, dtype=torch.int64), torch.zeros(0, 3))


def with_landmarks(template: HeadTemplate, known: KnownLandmarks | None) -> HeadTemplate:
    """Find all of MediaPipe's landmarks on a template.

    The 468 of the face and, where it has eyes, the 10 irises.

    Args:
        template: placed and sized as the open head is.
        known: landmarks whose places are given; they are kept as they are.

    Raises:
        HeadArtistError: when there is hardly any skin to find them on.
    """
    skin = len(template.faces_of("skin"))
    if skin < LEAST_FACES:
        raise HeadArtistError(
            f"{template.name} has {skin} triangles of skin, which make no head: give FLAME's own file, or the mesh "
            "of a head."
        )
    tensors = () if known is None else (known.indices, known.sites.triangles, known.sites.barycentric)
    name = fingerprint(f"{_VERSION}", *_origins(), template.verts, template.faces, template.part, *tensors)
    found = cached(f"landmarks-{name}", lambda: _found(template, known))
    return replace(template, landmark_sites=LandmarkSites(found["triangles"], found["barycentric"]))


def open_head_on(template: HeadTemplate) -> HeadTemplate:
    """Lay the open head onto a template.

    With its shapes and joints, by the template's landmarks.

    So any template lends a generated head the open head's rig; the open head itself is given back as it is.
    """
    if template.name == OPEN:
        return template
    sites = template.landmark_sites
    known = KnownLandmarks(torch.arange(len(sites.triangles)), sites)
    tensors = (template.verts, template.faces, template.part, sites.triangles, sites.barycentric)
    found = cached(f"laid-{fingerprint(f'{_VERSION}', *_origins(), *tensors)}", lambda: _laid(template, known))
    place = Similarity(found["linear"], found["shift"])
    turn = place.linear.T.float()
    person = load_open_head().shaped(found["identity"])
    return replace(
        person,
        verts=found["verts"],
        shape_basis=person.shape_basis @ turn,
        joint_basis=person.joint_basis @ turn,
        expression_basis=person.expression_basis @ turn,
        joints=place(person.joints),
    )


def _origins() -> tuple[Tensor, ...]:
    """List what everything here follows from besides a template.

    The open head's shapes and sites.
    """
    head = load_open_head()
    sites = head.landmark_sites
    return head.verts, head.shape_basis, head.faces, head.part, sites.triangles, sites.barycentric


def _laid(template: HeadTemplate, known: KnownLandmarks | None) -> dict[str, Tensor]:
    """Lay the open head's vertices on the template.

    With the closest identity and place they started from.
    """
    open_head, skin = load_open_head(), template.mesh("skin")
    fit = OpenHeadFit(open_head, skin)()
    person = open_head.shaped(fit.identity)
    close = person.with_verts(fit.place(person.verts))
    outer = torch.zeros(len(close.verts), dtype=torch.bool)
    outer[outer_skin(open_head)] = True
    laid = register(close.mesh("skin"), skin, pins=_pins(open_head, template, known), seeks=outer)
    return {"verts": laid.verts, "identity": fit.identity, "linear": fit.place.linear, "shift": fit.place.shift}


def _found(template: HeadTemplate, known: KnownLandmarks | None) -> dict[str, Tensor]:
    """Find every landmark that the template can have.

    The triangles and weights.
    """
    open_head = load_open_head()
    wanted = open_head.with_verts(_laid(template, known)["verts"]).site_positions()[:FACE_SITES]
    sites = [_nearest(template, "skin", wanted)]
    if _has_both_eyes(template):
        sites.append(_nearest(template, "eyes", _iris_positions(open_head, template)))
    triangles = torch.cat([part.triangles for part in sites])
    barycentric = torch.cat([part.barycentric for part in sites])
    if known is not None:
        there = known.indices < len(triangles)
        triangles[known.indices[there]] = known.sites.triangles[there]
        barycentric[known.indices[there]] = known.sites.barycentric[there]
    return {"triangles": triangles, "barycentric": barycentric}


def _pins(open_head: HeadTemplate, template: HeadTemplate, known: KnownLandmarks | None) -> Pins | None:
    if known is None:
        return None
    face = known.indices < FACE_SITES
    numbers, sites = known.indices[face], open_head.landmark_sites
    places = known.sites.positions(template.verts, template.faces)[face]
    return Pins(sites.triangles[numbers], sites.barycentric[numbers], places)


def _nearest(template: HeadTemplate, part: str, points: Float[Tensor, "n 3"]) -> LandmarkSites:
    """Find the nearest points of one part.

    Its triangles are numbered as in the whole template.
    """
    numbers = (template.part == template.part_names.index(part)).nonzero()[:, 0]
    found = ClosestPoint(Mesh(template.verts, template.faces[numbers]))(points)
    weights = found.barycentric.clamp(min=0)
    return LandmarkSites(numbers[found.face], weights / weights.sum(dim=1, keepdim=True))


def _iris_positions(open_head: HeadTemplate, template: HeadTemplate) -> Float[Tensor, "n 3"]:
    """Carry the open head's iris sites along.

    As each of its eyeballs becomes the template's.
    """
    sites = open_head.site_positions()[FACE_SITES:]
    placed = torch.empty_like(sites)
    for side in (-1, 1):
        (middle, radius), (new_middle, new_radius) = (_eyeball(head, side) for head in (open_head, template))
        here = sites[:, 0] * side > 0
        placed[here] = new_middle + (sites[here] - middle) * (new_radius / radius)
    return placed


def _has_both_eyes(template: HeadTemplate) -> bool:
    """Tell whether both sides of the plane x = 0 have eyeballs."""
    if "eyes" not in template.part_names:
        return False
    across = template.verts[template.faces_of("eyes").unique(), 0]
    return bool((across < 0).any() and (across > 0).any())


def _eyeball(head: HeadTemplate, side: int) -> tuple[Float[Tensor, "3"], Float[Tensor, ""]]:
    """Measure the eyeball on one side.

    Its middle and half its width; the sides are those of the plane x = 0.
    """
    verts = head.verts[head.faces_of("eyes").unique()]
    verts = verts[verts[:, 0] * side > 0]
    low, high = verts.amin(dim=0), verts.amax(dim=0)
    return (low + high) / 2, (high - low)[:2].mean() / 2

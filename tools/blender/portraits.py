"""Proof in Blender: import heads, check their shapes, joints and animation, and render faces of each in a row.

    pip install -r tools/blender/requirements.txt
    python tools/blender/portraits.py heads/clown/head.glb heads/alien/head.glb --out portraits.png

Or with a Blender of your own: `blender --background --python tools/blender/portraits.py -- HEAD.glb ... --out PNG`.
Each head is a row, each pose of `POSES` a column. Cycles renders on the CPU; no display and no GPU are needed. Exits
with 1, and says why, when a head has not the 52 shapes under ARKit's names, no moving joints, or a pose that shows
nothing.
"""

import argparse
import math
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import bpy
import numpy as np
from mathutils import Vector

SIDED = (
    *("browDown", "browOuterUp", "cheekSquint", "eyeBlink", "eyeLookDown", "eyeLookIn", "eyeLookOut", "eyeLookUp"),
    *("eyeSquint", "eyeWide", "jaw", "mouth", "mouthDimple", "mouthFrown", "mouthLowerDown", "mouthPress"),
    *("mouthSmile", "mouthStretch", "mouthUpperUp", "noseSneer"),
)
WHOLE = (
    *("browInnerUp", "cheekPuff", "jawForward", "jawOpen", "mouthClose", "mouthFunnel", "mouthPucker"),
    *("mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "tongueOut"),
)
ARKIT = {*WHOLE, *(name + side for name in SIDED for side in ("Left", "Right"))}
POSES = {
    "neutral": {},
    "smile": {"mouthSmileLeft": 1.0, "mouthSmileRight": 1.0, "cheekSquintLeft": 0.5, "cheekSquintRight": 0.5},
    "blink": {"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0},
    "jaw open": {"jawOpen": 0.8},
}
FOV_DEG = 30.0
SEEN_CHANGE = 0.02  # of full brightness: a pixel that changes by more is seen to change
LEAST_CHANGED = 0.001  # share of a picture's pixels that a pose must change


class BadHead(Exception):
    """Says in one sentence what a head lacks."""


def imported(path: Path) -> tuple[bpy.types.Object, bpy.types.Object]:
    """An empty scene with one GLB in it; returns the mesh with shape keys and the armature that moves it."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.import_scene.gltf(filepath=str(path.absolute()))
    heads = [thing for thing in bpy.data.objects if thing.type == "MESH" and thing.data.shape_keys]
    if len(heads) != 1:
        raise BadHead(f"{path} has {len(heads)} meshes with shape keys: export it with its rig")
    armature = heads[0].find_armature()
    if armature is None:
        raise BadHead(f"{path} has no armature: export it with its rig")
    for thing in bpy.data.objects:  # the importer adds shapes that stand for bones
        thing.hide_render = thing != heads[0]
    return heads[0], armature


def checked_shapes(path: Path, head: bpy.types.Object) -> list[str]:
    """The shape keys besides the basis, which must be ARKit's."""
    names = [key.name for key in head.data.shape_keys.key_blocks][1:]
    if len(names) != len(ARKIT) or set(names) != ARKIT:
        wrong = ", ".join(sorted(ARKIT ^ set(names)))
        raise BadHead(f"{path} has {len(names)} shape keys, which differ from ARKit's 52 in {wrong}")
    return names


def animated(path: Path, head: bpy.types.Object, armature: bpy.types.Object) -> tuple[set[str], set[str]]:
    """Plays the imported actions; returns the shapes and the bones that move by more than a little."""
    shapes: set[str] = set()
    bones: set[str] = set()
    last = max((math.ceil(action.frame_range[1]) for action in bpy.data.actions), default=0)
    for frame in range(last + 1):
        bpy.context.scene.frame_set(frame)
        shapes |= {key.name for key in head.data.shape_keys.key_blocks[1:] if key.value > 0.5}
        bones |= {
            bone.name for bone in armature.pose.bones if bone.matrix_basis.to_quaternion().angle > math.radians(3)
        }
    if not (shapes and bones):
        raise BadHead(f"{path} has actions that move {len(shapes)} shapes and {len(bones)} bones")
    return shapes, bones


def at_rest(head: bpy.types.Object, armature: bpy.types.Object) -> None:
    """Takes the actions off, so that poses are ours."""
    head.data.shape_keys.animation_data_clear()
    armature.animation_data_clear()
    armature.data.pose_position = "REST"


def head_box(head: bpy.types.Object) -> tuple[np.ndarray, np.ndarray]:
    """The lowest and the highest corner of what follows the bones of the head, without neck and shoulders."""
    groups = {group.index for group in head.vertex_groups if group.name not in ("root", "neck")}
    above = [
        vertex.co
        for vertex in head.data.vertices
        if sum(element.weight for element in vertex.groups if element.group in groups) > 0.5
    ]
    places = np.array([head.matrix_world @ place for place in above])
    return places.min(axis=0), places.max(axis=0)


def set_stage(head: bpy.types.Object, size: int, samples: int, azimuth_deg: float) -> None:
    """A camera, light from everywhere and two suns, and Cycles on the CPU."""
    scene = bpy.context.scene
    low, high = head_box(head)
    center, extent = (low + high) / 2, float((high - low).max())
    distance = extent / 2 + 1.05 * extent / 2 / math.tan(math.radians(FOV_DEG / 2))
    # Blender's importer turns y up into z up: the face looks to -y, and its left side is +x.
    azimuth, elevation = math.radians(azimuth_deg), math.radians(4)
    direction = Vector((math.sin(azimuth), -math.cos(azimuth), math.tan(elevation))).normalized()
    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    camera.data.angle = math.radians(FOV_DEG)
    camera.location = Vector(center) + direction * distance
    camera.rotation_euler = direction.to_track_quat("Z", "Y").to_euler()
    scene.collection.objects.link(camera)
    for energy, towards in ((1.2, Vector((-0.6, -1.0, 0.8))), (0.8, direction)):  # the second shines into open mouths
        sun = bpy.data.objects.new("sun", bpy.data.lights.new("sun", "SUN"))
        sun.data.energy, sun.data.angle = energy, math.radians(10)
        sun.rotation_euler = towards.to_track_quat("Z", "Y").to_euler()
        scene.collection.objects.link(sun)
    scene.camera = camera
    scene.world = bpy.data.worlds.new("world")
    if scene.world.node_tree is None:  # before Blender 5
        scene.world.use_nodes = True
    scene.world.node_tree.nodes["Background"].inputs["Color"].default_value = (0.75, 0.75, 0.75, 1.0)
    scene.render.engine = "CYCLES"
    scene.cycles.device, scene.cycles.samples, scene.cycles.use_denoising = "CPU", samples, False
    scene.cycles.max_bounces = 2
    scene.render.resolution_x = scene.render.resolution_y = size
    scene.render.threads_mode, scene.render.threads = "FIXED", 1
    scene.view_settings.view_transform = "Standard"


def rendered(head: bpy.types.Object, weights: dict[str, float], folder: Path) -> np.ndarray:
    """One pose as pixels, rows from the bottom up, RGB in [0, 1]."""
    for key in head.data.shape_keys.key_blocks[1:]:
        key.value = weights.get(key.name, 0.0)
    scene, path = bpy.context.scene, folder / "pose.png"
    scene.render.filepath = str(path)
    bpy.ops.render.render(write_still=True)
    picture = bpy.data.images.load(str(path), check_existing=False)
    width, height = picture.size
    pixels = np.array(picture.pixels[:], dtype=np.float32).reshape(height, width, -1)[..., :3]
    bpy.data.images.remove(picture)
    return pixels


def portraits(path: Path, size: int, samples: int, azimuth_deg: float, folder: Path) -> tuple[np.ndarray, str]:
    """A row of poses, and a line that says what Blender found in the file."""
    head, armature = imported(path)
    names = checked_shapes(path, head)
    bones = [bone.name for bone in armature.data.bones]
    actions = [action.name for action in bpy.data.actions]
    moving_shapes, moving_bones = animated(path, head, armature)
    at_rest(head, armature)
    set_stage(head, size, samples, azimuth_deg)
    row = {pose: rendered(head, weights, folder) for pose, weights in POSES.items()}
    changed = {
        pose: float((np.abs(picture - row["neutral"]).max(axis=-1) > SEEN_CHANGE).mean())
        for pose, picture in row.items()
        if POSES[pose]
    }
    for pose, share in changed.items():
        if share < LEAST_CHANGED:
            raise BadHead(f"{path}: the pose {pose!r} changes only {share:.2%} of the picture")
    found = [
        f"{len(names)} shape keys under ARKit's names",
        f"bones {' '.join(bones)}",
        f"actions {', '.join(actions)} moving {' '.join(sorted(moving_shapes | moving_bones))}",
        "pixels changed " + ", ".join(f"{pose} {share:.1%}" for pose, share in changed.items()),
    ]
    return np.concatenate(list(row.values()), axis=1), f"{path}: " + "; ".join(found)


def save(path: Path, pixels: np.ndarray) -> None:
    """Write pixels, rows from the bottom up, as PNG."""
    height, width, _ = pixels.shape
    picture = bpy.data.images.new("portraits", width, height)
    picture.pixels.foreach_set(np.concatenate([pixels, np.ones_like(pixels[..., :1])], axis=-1).ravel())
    picture.filepath_raw, picture.file_format = str(path.absolute()), "PNG"
    picture.save()


def main(arguments: Sequence[str]) -> int:
    """Render every head, write the picture, and report; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("heads", type=Path, nargs="+", metavar="HEAD.glb")
    parser.add_argument("--out", type=Path, default=Path("portraits.png"))
    parser.add_argument("--size", type=int, default=288, help="pixels of one picture")
    parser.add_argument("--samples", type=int, default=32, help="light paths of one pixel")
    parser.add_argument("--azimuth", type=float, default=15.0, help="degrees to the head's left that it is seen from")
    given = parser.parse_args(arguments)
    rows, lines = [], []
    with tempfile.TemporaryDirectory() as folder:
        for path in given.heads:
            try:
                row, line = portraits(path, given.size, given.samples, given.azimuth, Path(folder))
            except BadHead as lack:
                print(f"portraits: {lack}.", file=sys.stderr)
                return 1
            rows.insert(0, row)  # from the bottom up
            lines.append(line)
    save(given.out, np.concatenate(rows, axis=0))
    print(*lines, f"{given.out}: columns {', '.join(POSES)}", sep="\n")
    return 0


if __name__ == "__main__":
    own = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else sys.argv[1:]
    sys.exit(main(own))

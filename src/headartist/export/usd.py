"""USD: the head as one layer with pictures.

Pictures of its own, beside it; shapes, joints and the demonstration by UsdSkel.
"""

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from headartist.export.glb.animation import DEMONSTRATION, FRAMES_PER_SECOND
from headartist.export.material import ROUGHNESS, MaterialMaps, replacing_pictures
from headartist.export.rig.rig import Rig
from headartist.export.surface import unit_normals
from headartist.export.uv import UvAtlas
from headartist.geometry.mesh import Mesh
from headartist.system.errors import HeadArtistError
from headartist.system.files import replacing

if TYPE_CHECKING:
    from pxr import Usd, UsdGeom, UsdShade

ROOT = "/head"
STILL_MM = 0.02  # a displacement below this is none, as in the GLB
INFLUENCES = 4  # joints a vertex may follow, as in the GLB


def find_usd() -> None:
    """Make sure that USD files can be written.

    Raises:
        HeadArtistError: usd-core is not installed.
    """
    if importlib.util.find_spec("pxr") is None:
        raise HeadArtistError(
            "USD files need usd-core, which was not found: install it (`pip install 'headartist[usd]'`), or leave usd "
            "out of the formats."
        )


def write_usd(
    path: Path | str,
    mesh: Mesh,
    atlas: UvAtlas,
    material: MaterialMaps,
    *,
    rig: Rig | None = None,
    extras: Mapping[str, object] | None = None,
) -> list[Path]:
    """Write a USD file with its pictures.

    `NAME.usd` (binary) with `NAME_usd.png` and so on beside it; returns the paths.

    Our world is USD's: right-handed, y up, v up. Positions stay welded; texture coordinates belong to corners.

    Args:
        path: the file, replaced whole.
        mesh: the surface.
        atlas: its texture coordinates.
        material: its pictures.
        rig: of this very mesh: blend shapes under ARKit's names, a skeleton, and a demonstration of three seconds.
        extras: what to record of the head's origin, as text in `customLayerData`.

    Raises:
        HeadArtistError: usd-core is not installed.
    """
    find_usd()
    from pxr import Usd, UsdGeom, UsdSkel

    path = Path(path)
    stage = Usd.Stage.CreateInMemory()
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.y)
    stage.GetRootLayer().customLayerData = {key: str(value) for key, value in (extras or {}).items()}
    root = (UsdGeom.Xform if rig is None else UsdSkel.Root).Define(stage, ROOT)
    stage.SetDefaultPrim(root.GetPrim())
    surface = _surface(stage, mesh, atlas)
    if rig is not None:
        UsdGeom.SetStageMetersPerUnit(stage, rig.meters_per_unit)
        _bind_rig(stage, surface, rig)
    # Names of its own, because the OBJ beside it may have another atlas.
    pictures_stem = path.with_name(f"{path.stem}_usd")
    with replacing_pictures(pictures_stem, material) as pictures, replacing(path) as draft:
        _bind_material(stage, surface, pictures)
        stage.GetRootLayer().Export(str(draft))
    return [path, *pictures.values()]


def _surface(stage: "Usd.Stage", mesh: Mesh, atlas: UvAtlas) -> "UsdGeom.Mesh":
    from pxr import Sdf, UsdGeom, Vt

    surface = UsdGeom.Mesh.Define(stage, f"{ROOT}/surface")
    verts = _floats(mesh.verts)
    surface.CreatePointsAttr(Vt.Vec3fArray.FromNumpy(verts))
    surface.CreateExtentAttr(Vt.Vec3fArray.FromNumpy(np.stack([verts.min(axis=0), verts.max(axis=0)])))
    surface.CreateFaceVertexCountsAttr(Vt.IntArray.FromNumpy(np.full(len(mesh.faces), 3, dtype=np.int32)))
    surface.CreateFaceVertexIndicesAttr(Vt.IntArray.FromNumpy(_integers(mesh.faces)))
    surface.CreateSubdivisionSchemeAttr(UsdGeom.Tokens.none)
    surface.CreateNormalsAttr(Vt.Vec3fArray.FromNumpy(_floats(unit_normals(mesh))))
    surface.SetNormalsInterpolation(UsdGeom.Tokens.vertex)
    st = UsdGeom.PrimvarsAPI(surface).CreatePrimvar(
        "st", Sdf.ValueTypeNames.TexCoord2fArray, UsdGeom.Tokens.faceVarying
    )
    st.Set(Vt.Vec2fArray.FromNumpy(_floats(atlas.uv)))
    st.SetIndices(Vt.IntArray.FromNumpy(_integers(atlas.faces)))
    return surface


def _bind_material(stage: "Usd.Stage", surface: "UsdGeom.Mesh", pictures: Mapping[str, Path]) -> None:
    """Bind a UsdPreviewSurface that reads the pictures.

    It takes normals as they are, from -1 to 1.
    """
    from pxr import Gf, Sdf, UsdShade

    kinds = Sdf.ValueTypeNames
    material = UsdShade.Material.Define(stage, f"{ROOT}/material")
    shader = _shader(stage, "preview", "UsdPreviewSurface")
    shader.CreateInput("metallic", kinds.Float).Set(0.0)
    shader.CreateInput("roughness", kinds.Float).Set(ROUGHNESS)
    material.CreateSurfaceOutput().ConnectToSource(shader.CreateOutput("surface", kinds.Token))
    reader = _shader(stage, "st", "UsdPrimvarReader_float2")
    reader.CreateInput("varname", kinds.String).Set("st")
    coordinates = reader.CreateOutput("result", kinds.Float2)
    inputs = {
        "color": ("colour", "diffuseColor", kinds.Color3f, "rgb", kinds.Float3),
        "roughness": ("roughness", "roughness", kinds.Float, "r", kinds.Float),
        "normal": ("normal", "normal", kinds.Normal3f, "rgb", kinds.Float3),
    }
    for name, picture in pictures.items():
        prim, wanted, kind, channel, channel_kind = inputs[name]
        texture = _shader(stage, prim, "UsdUVTexture")
        texture.CreateInput("file", kinds.Asset).Set(f"./{picture.name}")
        texture.CreateInput("st", kinds.Float2).ConnectToSource(coordinates)
        texture.CreateInput("sourceColorSpace", kinds.Token).Set("sRGB" if name == "color" else "raw")
        for axis in ("wrapS", "wrapT"):
            texture.CreateInput(axis, kinds.Token).Set("clamp")
        if name == "normal":
            texture.CreateInput("scale", kinds.Float4).Set(Gf.Vec4f(2, 2, 2, 1))
            texture.CreateInput("bias", kinds.Float4).Set(Gf.Vec4f(-1, -1, -1, 0))
        shader.CreateInput(wanted, kind).ConnectToSource(texture.CreateOutput(channel, channel_kind))
    UsdShade.MaterialBindingAPI.Apply(surface.GetPrim()).Bind(material)


def _shader(stage: "Usd.Stage", name: str, kind: str) -> "UsdShade.Shader":
    from pxr import UsdShade

    shader = UsdShade.Shader.Define(stage, f"{ROOT}/material/{name}")
    shader.CreateIdAttr(kind)
    return shader


def _bind_rig(stage: "Usd.Stage", surface: "UsdGeom.Mesh", rig: Rig) -> None:
    """Bind the rig to the mesh.

    Blend shapes and joint shares, the skeleton, and the demonstration.
    """
    from pxr import Gf, Sdf, UsdSkel, Vt

    skeleton = UsdSkel.Skeleton.Define(stage, f"{ROOT}/skeleton")
    places, parents = rig.joints.double().numpy(), rig.joint_parents
    offsets = np.array([places[k] - (places[p] if p >= 0 else 0) for k, p in enumerate(parents)])
    joints = _paths(rig)
    skeleton.CreateJointsAttr(joints)
    skeleton.CreateBindTransformsAttr([Gf.Matrix4d(1).SetTranslate(Gf.Vec3d(*place)) for place in places.tolist()])
    skeleton.CreateRestTransformsAttr([Gf.Matrix4d(1).SetTranslate(Gf.Vec3d(*offset)) for offset in offsets.tolist()])

    binding = UsdSkel.BindingAPI.Apply(surface.GetPrim())
    binding.CreateSkeletonRel().SetTargets([skeleton.GetPath()])
    binding.CreateGeomBindTransformAttr(Gf.Matrix4d(1))
    share, joint = rig.skin_weights.topk(min(INFLUENCES, len(joints)), dim=1)
    share = share / share.sum(dim=1, keepdim=True)
    count = share.shape[1]
    binding.CreateJointIndicesPrimvar(False, count).Set(Vt.IntArray.FromNumpy(_integers(joint)))
    binding.CreateJointWeightsPrimvar(False, count).Set(Vt.FloatArray.FromNumpy(_floats(share).reshape(-1)))
    binding.CreateBlendShapesAttr(list(rig.shape_names))
    targets = [Sdf.Path(f"{ROOT}/surface/{name}") for name in rig.shape_names]
    binding.CreateBlendShapeTargetsRel().SetTargets(targets)
    for target, shape in zip(targets, rig.shapes, strict=True):
        moving = (shape.norm(dim=-1) >= STILL_MM * 1e-3 / rig.meters_per_unit).nonzero()[:, 0]
        blend = UsdSkel.BlendShape.Define(stage, target)
        blend.CreateOffsetsAttr(Vt.Vec3fArray.FromNumpy(_floats(shape[moving])))
        blend.CreatePointIndicesAttr(Vt.IntArray.FromNumpy(_integers(moving)))

    motion = _motion(stage, rig, joints, offsets)
    UsdSkel.BindingAPI.Apply(skeleton.GetPrim()).CreateAnimationSourceRel().SetTargets([motion])


def _motion(stage: "Usd.Stage", rig: Rig, joints: list[str], offsets: np.ndarray) -> object:
    """Write the demonstration as a SkelAnimation.

    In frames; returns its path.
    """
    from pxr import Gf, UsdSkel, Vt

    motion = UsdSkel.Animation.Define(stage, f"{ROOT}/skeleton/{DEMONSTRATION.name}")
    motion.CreateJointsAttr(joints)
    motion.CreateTranslationsAttr(Vt.Vec3fArray.FromNumpy(offsets.astype(np.float32)))
    motion.CreateScalesAttr([Gf.Vec3h(1, 1, 1)] * len(joints))
    motion.CreateBlendShapesAttr(list(rig.shape_names))
    rotations, weights = motion.CreateRotationsAttr(), motion.CreateBlendShapeWeightsAttr()
    times = DEMONSTRATION.times()
    turns = np.tile(np.array([0.0, 0, 0, 1]), (len(times), len(joints), 1))
    for name in DEMONSTRATION.turns:
        if name in rig.joint_names:
            turns[:, rig.joint_names.index(name)] = DEMONSTRATION.rotations(name)
    shape_weights = DEMONSTRATION.shape_weights(rig.shape_names).astype(np.float32)
    for frame in range(len(times)):
        rotations.Set([Gf.Quatf(w, x, y, z) for x, y, z, w in turns[frame].tolist()], frame)
        weights.Set(Vt.FloatArray.FromNumpy(np.ascontiguousarray(shape_weights[frame])), frame)
    stage.SetTimeCodesPerSecond(FRAMES_PER_SECOND)
    stage.SetStartTimeCode(0)
    stage.SetEndTimeCode(len(times) - 1)
    return motion.GetPath()


def _paths(rig: Rig) -> list[str]:
    """Path every joint through its parents.

    As in root/neck/head.
    """
    paths: dict[int, str] = {}
    for k, (name, parent) in enumerate(zip(rig.joint_names, rig.joint_parents, strict=True)):
        paths[k] = f"{paths[parent]}/{name}" if parent >= 0 else name
    return list(paths.values())


def _floats(values: Tensor) -> np.ndarray:
    return np.ascontiguousarray(values.detach().cpu().numpy(), dtype=np.float32)


def _integers(values: Tensor) -> np.ndarray:
    return np.ascontiguousarray(values.detach().to(torch.int32).cpu().numpy()).reshape(-1)

"""USD read back by its own library: surface, pictures, shapes, joints, demonstration."""

import importlib.util

import numpy as np
import pytest
import torch

from ball_avatar import Ball, icosphere, linear_color
from headartist.export import MaterialMaps, bake, export_head, rig_head, unwrap, write_usd
from headartist.export.glb.animation import DEMONSTRATION
from headartist.export.usd import find_usd
from headartist.geometry.mesh import Mesh
from headartist.system.errors import HeadArtistError
from remeshed import TEMPLATE, remeshed


def test_without_its_library_usd_is_refused_in_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(HeadArtistError, match=r"need usd-core.*pip install 'headartist\[usd\]'"):
        export_head(Ball(), tmp_path / "new", formats=["glb", "usd"])
    assert not (tmp_path / "new").exists()  # before anything was written
    with pytest.raises(HeadArtistError, match="usd-core"):
        find_usd()


@pytest.fixture(scope="module")
def pxr():
    return pytest.importorskip("pxr", reason="needs the extra `usd`", exc_type=ImportError)


@pytest.fixture(scope="module")
def rigged():
    return rig_head(remeshed(16), TEMPLATE, eyes=True)


@pytest.fixture(scope="module")
def stage(pxr, rigged, tmp_path_factory):
    from pxr import Usd

    folder = tmp_path_factory.mktemp("usd")
    atlas = unwrap(rigged.mesh, resolution=128)
    material = MaterialMaps(
        bake(rigged.mesh, atlas, linear_color, 128), torch.full((3, 128, 128), 0.5), torch.full((128, 128), 0.3)
    )
    extras = {"prompt": "a bronze büste", "seed": 7}
    paths = write_usd(folder / "head.usd", rigged.mesh, atlas, material, rig=rigged, extras=extras)
    assert [path.name for path in paths] == [
        "head.usd",
        "head_usd.png",
        "head_usd.roughness.png",
        "head_usd.normal.png",
    ]
    assert sorted(path.name for path in folder.iterdir()) == sorted(path.name for path in paths)
    return Usd.Stage.Open(str(folder / "head.usd"))


def attribute(stage, path: str, name: str, time: float | None = None):
    found = stage.GetPrimAtPath(path).GetAttribute(name)
    return np.array(found.Get() if time is None else found.Get(time))


def test_the_surface_comes_back_as_it_was(pxr, tmp_path):
    from pxr import Usd

    mesh = icosphere(3)
    atlas = unwrap(mesh, resolution=128)
    write_usd(tmp_path / "ball.usd", mesh, atlas, MaterialMaps(bake(mesh, atlas, linear_color, 128)))
    stage = Usd.Stage.Open(str(tmp_path / "ball.usd"))
    assert np.array_equal(attribute(stage, "/head/surface", "points"), mesh.verts)
    assert np.array_equal(attribute(stage, "/head/surface", "faceVertexIndices").reshape(-1, 3), mesh.faces)
    uv = attribute(stage, "/head/surface", "primvars:st")
    corner = attribute(stage, "/head/surface", "primvars:st:indices")
    assert np.array_equal(uv[corner], atlas.uv[atlas.faces.reshape(-1)])
    assert stage.GetDefaultPrim().GetTypeName() == "Xform"


def test_the_layer_says_how_large_and_from_where(stage, rigged):
    from pxr import UsdGeom

    assert UsdGeom.GetStageUpAxis(stage) == "Y"
    assert UsdGeom.GetStageMetersPerUnit(stage) == pytest.approx(rigged.meters_per_unit)
    assert stage.GetRootLayer().customLayerData == {"prompt": "a bronze büste", "seed": "7"}


def test_every_picture_is_found_from_the_layer(stage):
    for name, space in (("colour", "sRGB"), ("roughness", "raw"), ("normal", "raw")):
        shader = stage.GetPrimAtPath(f"/head/material/{name}")
        assert shader.GetAttribute("inputs:file").Get().resolvedPath.endswith(".png")
        assert shader.GetAttribute("inputs:sourceColorSpace").Get() == space


def test_shapes_and_joints_move_the_points_as_the_rig_says(stage, rigged):
    """USD's own deformer, fed one shape, gives the rig's posed mesh."""
    from pxr import Usd, UsdSkel

    cache = UsdSkel.Cache()
    root = UsdSkel.Root(stage.GetPrimAtPath("/head"))
    cache.Populate(root, Usd.PrimDefaultPredicate)
    (binding,) = cache.ComputeSkelBindings(root, Usd.PrimDefaultPredicate)
    (skinned,) = binding.GetSkinningTargets()
    assert list(skinned.GetBlendShapeOrder()) == list(TEMPLATE.expression_names)
    query = UsdSkel.BlendShapeQuery(UsdSkel.BindingAPI(stage.GetPrimAtPath("/head/surface")))
    still = 0.02e-3 / rigged.meters_per_unit
    for name in ("jawOpen", "eyeBlinkLeft", "mouthSmileRight"):
        weights = [float(own == name) for own in TEMPLATE.expression_names]
        sub_weights, shape_indices, sub_indices = query.ComputeSubShapeWeights(weights)
        points = stage.GetPrimAtPath("/head/surface").GetAttribute("points").Get()
        assert query.ComputeDeformedPoints(
            sub_weights,
            shape_indices,
            sub_indices,
            query.ComputeBlendShapePointIndices(),
            query.ComputeSubShapePointOffsets(),
            points,
        )
        assert np.abs(np.array(points) - rigged.posed(**{name: 1.0}).verts.numpy()).max() <= still + 1e-6

    skeleton = cache.GetSkelQuery(binding.GetSkeleton())
    transforms = skeleton.ComputeSkinningTransforms(Usd.TimeCode(0))
    assert np.abs(np.array(transforms) - np.eye(4)).max() < 1e-6  # the demonstration begins at rest
    points = stage.GetPrimAtPath("/head/surface").GetAttribute("points").Get()
    assert skinned.ComputeSkinnedPoints(transforms, points, Usd.TimeCode(0))
    assert np.abs(np.array(points) - rigged.mesh.verts.numpy()).max() < 1e-5


def test_a_turned_neck_turns_the_crown_and_leaves_the_chest(stage, rigged):
    from pxr import Usd, UsdSkel

    cache = UsdSkel.Cache()
    root = UsdSkel.Root(stage.GetPrimAtPath("/head"))
    cache.Populate(root, Usd.PrimDefaultPredicate)
    (binding,) = cache.ComputeSkelBindings(root, Usd.PrimDefaultPredicate)
    (skinned,) = binding.GetSkinningTargets()
    frame = Usd.TimeCode(round(0.35 * 30))
    transforms = cache.GetSkelQuery(binding.GetSkeleton()).ComputeSkinningTransforms(frame)
    points = stage.GetPrimAtPath("/head/surface").GetAttribute("points").Get()
    assert skinned.ComputeSkinnedPoints(transforms, points, frame)
    moved = torch.tensor(np.array(points)) - rigged.mesh.verts
    nose = int(torch.where(rigged.part == 0, rigged.mesh.verts[rigged.mesh.faces[:, 0], 2], -9.0).argmax())
    assert moved[rigged.mesh.faces[nose, 0], 0] > 0.05  # to the head's left
    assert moved[int(rigged.mesh.verts[:, 1].argmin())].norm() < 0.02


def test_the_demonstration_takes_three_seconds(stage):
    assert stage.GetEndTimeCode() / stage.GetTimeCodesPerSecond() == DEMONSTRATION.seconds
    motion = "/head/skeleton/demonstration"
    jaw = TEMPLATE.expression_names.index("jawOpen")
    assert attribute(stage, motion, "blendShapeWeights", 0)[jaw] == 0
    assert attribute(stage, motion, "blendShapeWeights", 72)[jaw] == pytest.approx(0.8)


def test_export_writes_usd_with_pictures_of_its_own(pxr, tmp_path):
    paths = export_head(Ball(), tmp_path, texture_size=64, formats=("obj", "usd"))
    assert sorted(path.name for path in paths) == ["head.mtl", "head.obj", "head.png", "head.usd", "head_usd.png"]
    assert sorted(tmp_path.iterdir()) == sorted(paths)


def test_a_failed_write_leaves_no_layer_and_no_picture(pxr, tmp_path):
    mesh = Mesh(torch.eye(3), torch.tensor([[0, 1, 2]]))
    atlas = unwrap(mesh, resolution=64)
    (tmp_path / "head.usd").mkdir()
    with pytest.raises(HeadArtistError, match=r"head\.usd is a folder, and only regular files are replaced"):
        write_usd(tmp_path / "head.usd", mesh, atlas, MaterialMaps(torch.zeros(3, 8, 8)))
    assert [path.name for path in tmp_path.iterdir()] == ["head.usd"]

"""A rigged head in Blender: its shapes, its joints, its animation, and pictures of its faces."""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ball_avatar import linear_color
from headartist.export import MaterialMaps, bake, rig_head, unwrap, write_glb
from headartist.export.rig.color import rig_color
from remeshed import TEMPLATE, remeshed

PORTRAITS = Path(__file__).parents[1] / "tools" / "blender" / "portraits.py"
BLENDER = os.environ.get("BLENDER")
SIZE = 64

# Rendering on a CPU takes its time: only who names a Blender waits for it.
needs_blender = pytest.mark.skipif(
    not BLENDER, reason="no Blender is named by BLENDER=PATH, a program or a Python that has `bpy`"
)


def portraits(*arguments: str | Path) -> subprocess.CompletedProcess:
    assert BLENDER is not None
    own = "blender" in Path(BLENDER).name
    start = [BLENDER, "--background", "--python-exit-code", "1", "--python", PORTRAITS, "--"]
    command = start if own else [BLENDER, PORTRAITS]
    return subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def heads(tmp_path_factory) -> list[Path]:
    """A head with painted eyes, and one with eyeballs and dark rings, so that every blink is seen."""
    folder, paths = tmp_path_factory.mktemp("heads"), []
    for eyes in (False, True):
        rig = rig_head(remeshed(32), TEMPLATE, eyes=eyes)

        def color(points: torch.Tensor, rig=rig) -> torch.Tensor:
            on_eye = torch.stack([lids.near(points) & (lids.height(points) < 0.01) for lids in rig.lids]).any(dim=0)
            return torch.where(on_eye[:, None], 0.0, linear_color(points))

        atlas = unwrap(rig.mesh, resolution=256)
        paths.append(folder / f"head-{eyes}.glb")
        write_glb(paths[-1], rig.mesh, atlas, MaterialMaps(bake(rig.mesh, atlas, rig_color(rig, color), 256)), rig=rig)
    return paths


@needs_blender
def test_blender_finds_shapes_joints_and_animation_and_draws_every_face(heads, tmp_path):
    ended = portraits(*heads, "--out", tmp_path / "faces.png", "--size", str(SIZE), "--samples", "4")
    assert ended.returncode == 0, ended.stderr
    for head in heads:
        (line,) = [line for line in ended.stdout.splitlines() if line.startswith(f"{head}: ")]
        assert "52 shape keys under ARKit's names" in line
        assert "bones root neck head jaw eye_left eye_right" in line
        assert "actions demonstration" in line
    picture = np.asarray(Image.open(tmp_path / "faces.png").convert("RGB"), dtype=float)
    assert picture.shape == (2 * SIZE, 4 * SIZE, 3)
    neutral, *faces = np.split(picture, 4, axis=1)
    for face in faces:
        assert (np.abs(face - neutral).max(axis=-1) > 20).mean() > 0.001


@needs_blender
def test_a_head_without_a_rig_is_told_apart(tmp_path):
    mesh = remeshed(16)
    atlas = unwrap(mesh, resolution=64)
    write_glb(tmp_path / "stiff.glb", mesh, atlas, MaterialMaps(bake(mesh, atlas, linear_color, 64)))
    ended = portraits(tmp_path / "stiff.glb", "--out", tmp_path / "faces.png")
    assert ended.returncode == 1
    assert "has 0 meshes with shape keys: export it with its rig" in ended.stderr

"""Laws of meshes as head templates, and of what a run remembers of a user's file."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

from headartist import provenance
from headartist.errors import HeadArtistError
from headartist.heads import HeadTemplate, load_template, mesh_file
from headartist.heads.landmark_transfer import _nearest, open_head_on
from headartist.heads.mesh_reader import read_mesh
from headartist.heads.mesh_repair import welded
from headartist.heads.open_head_fit import Similarity
from headartist.start import landmark_file

CENTIMETRES = 22.0  # of the file, in a world unit
SHIFT = torch.tensor([3.0, 150.0, -2.0])
MILLIMETRE = 4.5e-3  # in world units


@pytest.fixture(scope="module")
def person() -> HeadTemplate:
    """A person of the open head in centimetres, somewhere else; every coordinate is short in binary and in decimal."""
    head = load_template("open", identity="seed:3")
    return head.with_verts((256 * (CENTIMETRES * head.verts + SHIFT)).round() / 256)


@pytest.fixture(scope="module")
def triangles(person: HeadTemplate) -> torch.Tensor:
    """The head without its neck, with the eyes."""
    faces = person.faces_of("skin", "eyes")
    return faces[(person.verts[:, 1] > SHIFT[1] - 0.62 * CENTIMETRES)[faces].all(dim=1)]


@pytest.fixture(scope="module")
def mesh(person: HeadTemplate, triangles: torch.Tensor) -> trimesh.Trimesh:
    used, faces = triangles.unique(return_inverse=True)
    return trimesh.Trimesh(person.verts[used].numpy(), faces.numpy(), process=False)


@pytest.fixture(scope="module")
def path(mesh: trimesh.Trimesh, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("mesh") / "bald.ply"
    mesh.export(path)
    return path


@pytest.fixture(scope="module")
def head(path: Path) -> HeadTemplate:
    return load_template(path)


def in_the_file(head: HeadTemplate, mesh: trimesh.Trimesh, points: torch.Tensor) -> torch.Tensor:
    """World points of a template in the frame of the file that it was read from, in world units of the open head."""
    placed = head.verts.double()
    file = torch.from_numpy(np.array(mesh.vertices, np.float64))
    a, b = mesh_file.similarity(placed, file)
    return (points.double() @ a.T + b) / CENTIMETRES


def test_a_mesh_in_another_unit_comes_to_the_open_heads_place(head):
    away = (head.site_positions() - load_template().site_positions()[:468]).norm(dim=1)
    assert away.mean() < 8 * MILLIMETRE  # other persons' faces differ by as much
    assert head.verts.abs().max() < 1.05


def test_its_landmarks_are_found(head, person, mesh):
    found = in_the_file(head, mesh, head.site_positions())
    off = (found - person.site_positions()[:468].double() / CENTIMETRES).norm(dim=1)
    assert off.mean() < 1.5 * MILLIMETRE
    assert off.max() < 6 * MILLIMETRE


def test_it_is_a_plain_template(head, mesh):
    assert (head.name, head.part_names, head.joint_names) == ("bald.ply", ("skin",), ("root",))
    assert head.shape_basis.shape == head.expression_basis.shape == (0, len(head.verts), 3)
    assert len(head.faces) == len(mesh.faces)
    assert len(head.landmark_sites.triangles) == 468
    assert head.uv.min() >= 0
    assert head.uv.max() <= 1


def test_what_it_has_not_is_not_given(path, head):
    with pytest.raises(HeadArtistError, match=r"'bald.ply' has no shape directions .*: leave the identity out"):
        load_template(path, identity="seed:7")
    with pytest.raises(HeadArtistError, match=r"'bald.ply' has no expression 'jawOpen'"):
        load_template(path, expression="jawOpen=0.5")
    with pytest.raises(HeadArtistError, match=r"'open' has no shape direction 100: give numbers from 0 to 99"):
        load_template("open", identity="100=1")


def test_it_is_lent_the_open_heads_rig(head):
    laid = open_head_on(head)
    open_head = load_template()
    off = (laid.site_positions()[:468] - head.site_positions()).norm(dim=1)
    assert off.mean() < 0.5 * MILLIMETRE
    assert laid.expression_names == open_head.expression_names
    chin = laid.shaped(expression={"jawOpen": 1.0}).site_positions()[152] - laid.site_positions()[152]
    assert chin[1] < -5 * MILLIMETRE
    assert open_head_on(open_head) is open_head


@pytest.mark.parametrize("name", ["head.obj", "head.glb", "HEAD.PLY"])
def test_every_format_gives_the_same_head(head, mesh, name, tmp_path):
    mesh.export(tmp_path / name.lower())
    again = load_template((tmp_path / name.lower()).rename(tmp_path / name))
    assert torch.equal(again.verts, head.verts)
    assert torch.equal(again.site_positions(), head.site_positions())


@pytest.mark.parametrize("suffix", [".obj", ".ply", ".glb"])
def test_texture_coordinates_are_kept_and_seams_are_closed(mesh, tmp_path, suffix):
    """A file splits vertices at texture seams; the template has one vertex there, and two texture coordinates."""
    corners = np.asarray(mesh.faces)[:500]
    split = corners.reshape(-1)
    uv = np.linspace(0, 1, 2 * len(split)).reshape(-1, 2)
    visual = trimesh.visual.TextureVisuals(uv=uv)
    faces = np.arange(len(split)).reshape(-1, 3)
    seamed = trimesh.Trimesh(mesh.vertices[split], faces, visual=visual, process=False)
    seamed.export(tmp_path / f"seamed{suffix}")
    read = read_mesh(tmp_path / f"seamed{suffix}")
    verts, faces = torch.from_numpy(read.verts), torch.from_numpy(read.faces)
    assert len(welded(verts, faces).unique()) == len(np.unique(mesh.vertices[split], axis=0))
    assert read.uv is not None
    assert torch.equal(verts[faces], torch.from_numpy(mesh.vertices[corners]))
    np.testing.assert_allclose(read.uv[read.uv_faces], uv[np.arange(len(split)).reshape(-1, 3)], atol=1e-6)


def test_landmarks_place_a_head_whichever_way_it_lies_and_what_is_beyond_is_left_out(person, triangles, tmp_path):
    """Turned to z up, in metres, on a wide plate."""
    turn = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
    plate = trimesh.creation.box([20.0, 20.0, 0.1]).subdivide().subdivide().subdivide()
    plate.apply_translation([0, 0, -3.0])
    used, faces = triangles.unique(return_inverse=True)
    verts = torch.cat([(person.verts[used] @ turn) / 100, torch.from_numpy(plate.vertices.copy()).float()])
    both = torch.cat([faces, torch.from_numpy(plate.faces.copy()) + len(used)])
    trimesh.Trimesh(verts.numpy(), both.numpy(), process=False).export(tmp_path / "lying.ply")
    known = torch.arange(0, 468, 3)
    whole = person.with_verts(person.verts @ turn / 100)
    sites = _nearest(whole, "skin", whole.site_positions()[known])
    number = {tuple(face): index for index, face in enumerate(triangles.tolist())}
    np.savez(
        landmark_file(tmp_path / "lying.ply"),
        triangles=np.array([number[tuple(face)] for face in whole.faces[sites.triangles].tolist()]),
        barycentric=sites.barycentric.numpy(),
        landmark_indices=known.numpy(),
    )
    head = load_template(tmp_path / "lying.ply")
    away = (head.site_positions() - load_template().site_positions()[:468]).norm(dim=1)
    assert away.mean() < 8 * MILLIMETRE
    assert len(head.faces) == len(triangles)


# --- files that cannot be used -------------------------------------------------------------------------------------


def _write(path: Path, verts: np.ndarray, faces: np.ndarray) -> Path:
    lines = [*(f"v {x} {y} {z}" for x, y, z in verts), *(f"f {a} {b} {c}" for a, b, c in faces + 1)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("suffix", [".obj", ".ply", ".glb"])
@pytest.mark.parametrize("content", [b"", b"garbage", b"ply\nformat ascii 1.0\nend_header\n", b"glTF\x02\x00\x00\x00"])
def test_a_file_that_is_no_mesh_is_refused_in_one_sentence(tmp_path, suffix, content):
    path = tmp_path / f"head{suffix}"
    path.write_bytes(content)
    with pytest.raises(HeadArtistError, match=f"head{suffix} (cannot be read as a mesh|holds 0 triangles)") as refused:
        load_template(path)
    assert "\n" not in str(refused.value)


def test_a_mesh_with_broken_numbers_or_hardly_any_triangle_is_refused(mesh, tmp_path):
    verts, faces = np.array(mesh.vertices), np.array(mesh.faces)
    with pytest.raises(HeadArtistError, match=r"few.obj holds 7 triangles"):
        load_template(_write(tmp_path / "few.obj", verts, faces[:7]))
    verts[5, 1] = np.nan
    with pytest.raises(HeadArtistError, match=r"nan.obj has vertices that are not finite"):
        load_template(_write(tmp_path / "nan.obj", verts, faces))


def test_what_is_no_head_is_refused_with_what_to_do(tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(open_head_fit, "REACHES", (0.2, 0.08))
    monkeypatch.setattr(mesh_file, "COARSE_REACHES", (0.3,))
    monkeypatch.setattr(mesh_file, "_HEIGHTS", (1.05, 1.65))
    ball = trimesh.creation.icosphere(3)
    path = _write(tmp_path / "ball.obj", ball.vertices, ball.faces)
    with pytest.raises(HeadArtistError, match=r"ball.obj does not look like a head .* in ball.landmarks.npz"):
        load_template(path)


# --- the fit -------------------------------------------------------------------------------------------------------


def test_similarities_compose_and_undo_themselves():
    generator = torch.Generator().manual_seed(0)
    turn = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))[0]
    one = Similarity(2.5 * turn, torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64))
    points = torch.randn(9, 3, generator=generator)
    torch.testing.assert_close(one.inverse()(one(points)), points, atol=1e-5, rtol=0)
    torch.testing.assert_close(one.then(one)(points), one(one(points)), atol=1e-5, rtol=0)


# --- what a run remembers ------------------------------------------------------------------------------------------


def test_provenance_tells_templates_apart_by_content(path, tmp_path):
    copy = shutil.copy(path, tmp_path / "renamed.ply")
    record = provenance.template_record(str(copy))
    assert record == provenance.template_record(str(path))
    assert provenance.template_record("open") == {"name": "open"}
    np.savez(landmark_file(Path(copy)), triangles=np.arange(3))
    assert provenance.template_record(str(copy)) != record


def test_a_run_goes_on_only_with_the_template_that_it_began_with(path):
    before = {"template": {"sha256": "0"}, "prior": {"model": "x"}, "started": "then"}
    record = before | {"template": provenance.template_record(str(path)), "started": "now"}
    with pytest.raises(HeadArtistError, match=r"head was begun with another template, .* use --overwrite"):
        provenance.continued(record, before, Path("head"))
    assert provenance.continued(record, record | {"started": "then"}, Path("head"))["started"] == "then"
    old = {name: value for name, value in record.items() if name != "template"}  # written before templates were
    assert provenance.continued(record, old, Path("head"))

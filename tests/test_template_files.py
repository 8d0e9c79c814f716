"""Laws of meshes as head templates, and of what a run remembers of a user's file."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

import odd_heads
from headartist.config.template import landmark_file
from headartist.heads import HeadTemplate, LandmarkSites, load_template, mesh_file, placing
from headartist.heads.landmark_transfer import KnownLandmarks, _nearest, open_head_on
from headartist.heads.mesh_repair import welded
from headartist.heads.open_head_fit import Similarity
from headartist.heads.readers.mesh import read_mesh
from headartist.runs import provenance
from headartist.system.errors import HeadArtistError

CENTIMETERS = 22.0  # of the file, in a world unit
SHIFT = torch.tensor([3.0, 150.0, -2.0])
MILLIMETER = 4.5e-3  # in world units


@pytest.fixture(scope="module")
def person() -> HeadTemplate:
    """A person of the open head in centimetres, somewhere else; every coordinate is short in binary and in decimal."""
    head = load_template("open", identity="seed:3")
    return head.with_verts((256 * (CENTIMETERS * head.verts + SHIFT)).round() / 256)


@pytest.fixture(scope="module")
def triangles(person: HeadTemplate) -> torch.Tensor:
    """The head without its neck, with the eyes."""
    faces = person.faces_of("skin", "eyes")
    return faces[(person.verts[:, 1] > SHIFT[1] - 0.62 * CENTIMETERS)[faces].all(dim=1)]


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
    return (points.double() @ a.T + b) / CENTIMETERS


def test_a_mesh_in_another_unit_comes_to_the_open_heads_place(head):
    away = (head.site_positions() - load_template().site_positions()[:468]).norm(dim=1)
    assert away.mean() < 8 * MILLIMETER  # other persons' faces differ by as much
    assert head.verts.abs().max() < 1.05


def test_its_landmarks_are_found(head, person, mesh):
    found = in_the_file(head, mesh, head.site_positions())
    off = (found - person.site_positions()[:468].double() / CENTIMETERS).norm(dim=1)
    assert off.mean() < 1.5 * MILLIMETER
    assert off.max() < 6 * MILLIMETER


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
    assert off.mean() < 0.5 * MILLIMETER
    assert laid.expression_names == open_head.expression_names
    chin = laid.shaped(expression={"jawOpen": 1.0}).site_positions()[152] - laid.site_positions()[152]
    assert chin[1] < -5 * MILLIMETER
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
    assert away.mean() < 8 * MILLIMETER
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
    with pytest.raises(
        HeadArtistError, match=f"head{suffix}'? (cannot be read as a mesh|holds 0 triangles|is empty)"
    ) as refused:
        load_template(path)
    assert "\n" not in str(refused.value)


def test_a_mesh_with_broken_numbers_or_hardly_any_triangle_is_refused(mesh, tmp_path):
    verts, faces = np.array(mesh.vertices), np.array(mesh.faces)
    with pytest.raises(HeadArtistError, match=r"few.obj holds 7 triangles"):
        load_template(_write(tmp_path / "few.obj", verts, faces[:7]))
    with pytest.raises(HeadArtistError, match=r"none.obj holds 0 triangles that have an area"):
        load_template(_write(tmp_path / "none.obj", verts, np.repeat(faces[:, :1], 3, axis=1)))
    verts[5, 1] = np.nan
    with pytest.raises(HeadArtistError, match=r"nan.obj cannot be read .*vertices that are not finite"):
        load_template(_write(tmp_path / "nan.obj", verts, faces))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ([0, 0, 0], "at one point"),
        ([1, 0, 0], "on one line"),
        ([1, 0, 1], r"in one plane \(y = 0\)"),
        ([[1, 0, 1], [0, 1, 1], [0, 0, 0]], r"in one plane \(z = 0\)"),
        ([[1, 0, 0], [0, 1, 0], [1, 1, 0]], "in one plane"),
    ],
)
def test_a_mesh_without_a_body_is_refused_by_what_it_lies_on(mesh, tmp_path, change, words):
    matrix = np.array(change) if np.ndim(change) == 2 else np.diag(change)
    path = _write(tmp_path / "flat.obj", np.array(mesh.vertices) @ matrix.T, np.array(mesh.faces))
    with pytest.raises(HeadArtistError, match=f"flat.obj is no head: all its vertices lie {words}; export it again"):
        load_template(path)


def test_a_mesh_in_pieces_is_refused_with_what_to_do(mesh, tmp_path):
    corners = np.array(mesh.vertices)[mesh.faces]
    apart = corners * (1 + 0.01 * np.random.default_rng(0).random((len(corners), 1, 1)))
    path = _write(tmp_path / "loose.obj", apart.reshape(-1, 3), np.arange(3 * len(corners)).reshape(-1, 3))
    with pytest.raises(HeadArtistError, match=r"loose.obj is no closed surface: 100% .* merge its vertices by"):
        load_template(path)


def test_a_mask_is_refused_for_its_holes(tmp_path, quick_search):
    bald = odd_heads.bald()
    middle = bald.verts[bald.faces].mean(dim=1)
    mask = bald.faces[(middle[:, 2] > 2) & (middle[:, 1] > 142)]
    path = _write(tmp_path / "mask.obj", bald.verts.numpy(), mask.numpy())
    with pytest.raises(HeadArtistError, match=r"mask.obj is too open: its holes, .* give the whole head, or close it"):
        load_template(path)


@pytest.fixture
def quick_search(monkeypatch: pytest.MonkeyPatch):
    """Few turns and sizes, among them those of the files below."""
    by_name = {mesh_file._axis(turn[1]) + mesh_file._axis(turn[2]): turn for turn in placing.TURNS}
    monkeypatch.setattr(placing, "TURNS", [by_name["yz"], by_name["z-y"]])
    monkeypatch.setattr(placing, "HEIGHTS", (1.05, 1.3))
    monkeypatch.setattr(placing, "FINE_FITS", 1)


def test_what_is_no_head_is_refused_with_what_to_do(tmp_path, quick_search):
    ball = trimesh.creation.icosphere(3)
    path = _write(tmp_path / "ball.obj", ball.vertices, ball.faces)
    words = r"ball.obj looks like no head from any side: .* where 15 mm is the limit: .* of it in ball.landmarks.npz"
    with pytest.raises(HeadArtistError, match=words):
        load_template(path)
    named = tmp_path / "named.obj"
    named.write_text("o globe\n" + path.read_text("utf-8"), encoding="utf-8")
    with pytest.raises(HeadArtistError, match=r"name the part of it that is one, as in named.obj#globe, or landmarks"):
        load_template(named)
    with pytest.raises(HeadArtistError, match=r"give a head, or landmarks of it"):
        load_template(f"{named}#globe")
    with pytest.raises(HeadArtistError, match=r"has no object or group 'glob': did you mean 'globe'\?"):
        load_template(f"{named}#glob")
    with pytest.raises(HeadArtistError, match=r"has no object or group 'glob': it has none at all"):
        load_template(f"{path}#glob")


# --- odd files of good heads ---------------------------------------------------------------------------------------


def apart(one: HeadTemplate, other: HeadTemplate) -> float:
    """How far landmarks lie apart on average, in millimetres."""
    return float((one.site_positions() - other.site_positions()).norm(dim=1).mean()) / MILLIMETER


def test_a_head_with_another_axis_up_mixed_winding_and_loose_corners_is_found(head, tmp_path, quick_search):
    odd = odd_heads.turned(odd_heads.unwelded(odd_heads.mixed(odd_heads.bald())), "z up, -y in front")
    path = _write(tmp_path / "blender.obj", odd.verts.numpy(), odd.faces.numpy())
    with pytest.warns(UserWarning, match=r"blender.obj: turned so that its z is up and its -y in front$"):
        found = load_template(path)
    assert apart(found, head) < 0.5
    assert len(found.verts) == len(head.verts)


def test_the_turn_that_is_told_is_the_one_that_was_found_not_where_its_search_began():
    tilt = torch.linalg.matrix_exp(0.35 * torch.tensor([[0, -0.6, 0.48], [0.6, 0, -0.64], [-0.48, 0.64, 0]]).double())
    for turn in placing.TURNS:
        found = Similarity(137 * tilt @ turn, torch.zeros(3, dtype=torch.float64))
        assert torch.equal(placing.Place(found, 0.0, 1.0).turn, turn)


def test_a_hollow_head_with_holes_and_specks_is_found(head, tmp_path):
    odd = odd_heads.shells(odd_heads.inside_out(odd_heads.holed(odd_heads.bald())))
    path = _write(tmp_path / "scan.obj", odd.verts.numpy(), odd.faces.numpy())
    with pytest.warns(UserWarning, match=r"scan.obj: [\d,]+ triangles that nobody sees are left out$"):
        found = load_template(path)
    assert apart(found, head) < 1.5
    middle = head.verts.mean(dim=0)
    least = (head.verts - middle).norm(dim=1).min()
    assert (found.verts - middle).norm(dim=1).min() > 0.7 * least


def test_the_head_among_hair_and_joints_is_found_and_may_be_named(head, tmp_path):
    path = tmp_path / "base.obj"
    path.write_text(odd_heads.body_obj(odd_heads.bald()), encoding="utf-8")
    found, named = load_template(path), load_template(f"{path}#body")
    assert apart(found, head) < 0.1
    assert torch.equal(found.verts, named.verts)
    assert provenance.template_record(f"{path}#body") == provenance.template_record(str(path)) | {"group": "body"}


def test_the_part_of_a_scene_that_is_a_head_is_taken_where_its_node_places_it(head, tmp_path, quick_search):
    path = tmp_path / "scene.glb"
    path.write_bytes(odd_heads.scene_glb(odd_heads.bald()))
    with pytest.warns(UserWarning, match=r"scene.glb: only its part 'head' is a head and taken; turned so that its"):
        found = load_template(path)
    assert apart(found, head) < 0.5


def test_landmarks_keep_their_places_on_triangles_that_are_turned_round():
    kept, turned = torch.tensor([True, False, True, True]), torch.tensor([False, True, True, False])
    sites = LandmarkSites(torch.tensor([0, 1, 2, 3]), torch.tensor([[0.5, 0.3, 0.2]]).repeat(4, 1))
    known = KnownLandmarks(torch.tensor([7, 8, 9, 10]), sites).among(kept, turned)
    assert known.indices.tolist() == [7, 9, 10]
    assert known.sites.triangles.tolist() == [0, 1, 2]
    torch.testing.assert_close(known.sites.barycentric[1], torch.tensor([0.5, 0.2, 0.3]))


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

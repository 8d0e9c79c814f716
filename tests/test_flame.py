"""Laws of FLAME files as head templates, on a file in FLAME's shape made from a person of the open head."""

import pickle
import tracemalloc
import zipfile
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from flame_file import IDENTITIES, JOINTS, FlameLike, flame_like, write_flame
from headartist.avatars.tet import TetAvatar
from headartist.config.avatars import FieldConfig, TetConfig
from headartist.config.template import landmark_file
from headartist.geometry.cameras import turntable
from headartist.geometry.closest import ClosestPoint
from headartist.heads import HeadTemplate, landmark_transfer, load_template, npz
from headartist.heads.landmark_transfer import read_landmarks
from headartist.heads.landmarks import landmark_map
from headartist.system.errors import HeadArtistError

MILLIMETER = 4.5e-3  # in world units
FLIP = torch.tensor([-1.0, 1.0, 1.0])


@pytest.fixture(scope="module")
def flame() -> FlameLike:
    return flame_like()


@pytest.fixture(scope="module")
def path(flame: FlameLike, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_flame(tmp_path_factory.mktemp("flame") / "flame2023.pkl", flame.arrays)


@pytest.fixture(scope="module")
def head(path: Path) -> HeadTemplate:
    return load_template(path)


@pytest.fixture(scope="module")
def truth(flame: FlameLike, head: HeadTemplate) -> HeadTemplate:
    """The open head that the file was made from, moved to where the file's eyes have come."""
    shift = head.joints[3:].mean(dim=0) - flame.head.joints[_joints(flame)[3:]].mean(dim=0)
    return replace(flame.head, verts=flame.head.verts + shift, joints=flame.head.joints + shift)


def _joints(flame: FlameLike) -> list[int]:
    return [flame.head.joint_names.index(name) for name in JOINTS]


def same(one: HeadTemplate, other: HeadTemplate) -> bool:
    """Whether all but the name is equal, bit for bit."""
    for item in fields(HeadTemplate):
        if item.name in ("name", "landmark_sites"):
            continue
        a, b = getattr(one, item.name), getattr(other, item.name)
        if not (torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b):
            return False
    a, b = one.landmark_sites, other.landmark_sites
    return torch.equal(a.triangles, b.triangles) and torch.equal(a.barycentric, b.barycentric)


# --- what is in the file -------------------------------------------------------------------------------------------


def test_the_head_is_the_file_s_in_the_open_heads_world(flame, head, truth):
    open_head = load_template()
    eyes = [open_head.joint_names.index(name) for name in ("eye_left", "eye_right")]
    torch.testing.assert_close(head.joints[3:].mean(dim=0), open_head.joints[eyes].mean(dim=0))
    torch.testing.assert_close(head.verts, truth.verts[flame.kept], atol=1e-5, rtol=0)
    assert head.meters_per_unit == open_head.meters_per_unit
    assert head.name == "flame2023.pkl"


def test_identities_are_in_standard_deviations_and_move_the_joints(flame, head):
    coefficients = torch.randn(100, generator=torch.Generator().manual_seed(3))
    moved = head.shaped(coefficients).verts - head.verts
    torch.testing.assert_close(moved, flame.head.shaped(coefficients).verts[flame.kept] - flame.head.verts[flame.kept])
    regressor = torch.from_numpy(flame.arrays["J_regressor"]).float()
    torch.testing.assert_close(head.shaped(coefficients).joints - head.joints, regressor @ moved, atol=1e-5, rtol=0)
    assert len(head.shape_basis) == IDENTITIES


def test_expressions_have_the_files_numbers(flame, head):
    assert head.expression_names[:2] == ("expression_000", "expression_001")
    assert len(head.expression_names) == len(head.expression_basis) == 100
    third = head.shaped(expression={"expression_003": 0.5}).verts - head.verts
    torch.testing.assert_close(third, 0.5 * flame.head.expression_basis[3][flame.kept])


def test_the_rig_is_flames(flame, head, truth):
    assert head.joint_names == JOINTS
    assert head.joint_parents == (-1, 0, 1, 1, 1)
    torch.testing.assert_close(head.joints, truth.joints[_joints(flame)], atol=1e-4, rtol=0)
    torch.testing.assert_close(head.skin_weights.sum(dim=1), torch.ones(len(head.verts)))


def test_eyes_are_what_nothing_but_the_eyes_joints_moves(flame, head):
    count = int((flame.head.part == flame.head.part_names.index("eyes")).sum())
    assert head.part_names == ("skin", "eyes")
    assert int((head.part == 1).sum()) == count
    assert head.skin_weights[head.faces_of("eyes").unique(), 3:].sum(dim=1).min() > 0.95


def test_a_head_with_an_eye_on_one_side_alone_has_no_irises(flame, tmp_path):
    """Another joint moves the right eye, so that it counts as skin."""
    weights = flame.arrays["weights"].copy()
    weights[:, 0] += weights[:, 4]
    weights[:, 4] = 0
    assert len(load_template(write_flame(tmp_path / "f.npz", changed(flame, weights=weights))).site_positions()) == 468


def test_what_the_file_lacks_is_legal(head):
    assert head.uv.min() >= 0
    assert head.uv.max() <= 1
    assert head.uv_faces.shape == head.faces.shape
    assert int(head.uv_faces.max()) < len(head.uv)
    assert (head.verts[head.mirror] - head.verts * FLIP).norm(dim=1).max() < 0.5 * MILLIMETER


@pytest.mark.parametrize(
    ("name", "protocol"), [("flame.npz", 0), ("flame.safetensors", 0), ("flame.pkl", 4), ("FLAME.PKL", 5)]
)
def test_every_container_gives_the_same_head(flame, head, tmp_path, name, protocol):
    written = write_flame(tmp_path / name.lower(), flame.arrays, protocol)
    assert same(load_template(written.rename(tmp_path / name)), head)


# --- landmarks -----------------------------------------------------------------------------------------------------


def test_landmarks_are_found_where_the_open_head_has_them(head, truth):
    off = (head.site_positions() - truth.site_positions()).norm(dim=1) / MILLIMETER
    assert off[:468].mean() < 1.2
    assert off[:468].max() < 4.5
    assert off[468:].max() < 2.0


def test_landmarks_lie_on_skin_and_irises_on_eyes(head):
    sites = head.landmark_sites
    assert head.part[sites.triangles].tolist() == [0] * 468 + [1] * 10
    assert sites.barycentric.min() >= 0
    torch.testing.assert_close(sites.barycentric.sum(dim=1), torch.ones(478))


def test_landmarks_follow_identity_and_expression(path, head):
    shaped = load_template(path, identity="seed:7,0=1.5", expression="expression_003=0.5")
    coefficients = torch.randn(IDENTITIES, generator=torch.Generator().manual_seed(7))
    coefficients[0] = 1.5
    expected = head.shaped(coefficients, {"expression_003": 0.5})
    assert torch.equal(shaped.verts, expected.verts)
    assert (shaped.site_positions() - head.site_positions()).norm(dim=1).max() > MILLIMETER


def test_a_template_is_laid_over_once(path, head, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(landmark_transfer, "register", None)  # would fail if it were done again
    assert same(load_template(path), head)


def test_a_landmark_file_is_believed(flame, path, head, truth, tmp_path):
    """105 points, as FLAME's MediaPipe embedding has, at the true places on the file's triangles."""
    own = write_flame(tmp_path / "own.npz", flame.arrays)
    known = torch.arange(0, 420, 4)
    places = truth.site_positions()[known]
    sites = landmark_transfer._nearest(head, "skin", places)
    np.savez(
        landmark_file(own),
        lmk_face_idx=sites.triangles.numpy(),
        lmk_b_coords=sites.barycentric.double().numpy(),
        landmark_indices=known.numpy(),
    )
    led = load_template(own)
    assert torch.equal(led.landmark_sites.triangles[known], sites.triangles)
    assert (led.site_positions()[known] - places).norm(dim=1).max() < 0.1 * MILLIMETER
    off, off_before = ((one.site_positions() - truth.site_positions())[:468].norm(dim=1) for one in (led, head))
    assert off.mean() < 0.8 * off_before.mean()


GOOD = {"triangles": np.arange(3), "barycentric": np.full((3, 3), 1 / 3), "landmark_indices": np.array([4, 8, 15])}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"triangles": np.array([0, 1, 99])}, "must number triangles below 50"),
        ({"landmark_indices": np.array([4, 8, 478])}, "different landmarks below 478"),
        ({"landmark_indices": np.array([4, 4, 8])}, "different landmarks below 478"),
        ({"barycentric": np.ones((3, 3))}, "do not sum to 1"),
        ({"barycentric": np.tile([3.0, -1.0, -1.0], (3, 1))}, "are negative"),
        ({"barycentric": np.full((3, 3), np.nan)}, "do not sum to 1"),
        ({"barycentric": np.full((2, 3), 1 / 3)}, "one triangle, three weights and one number"),
        ({"triangles": np.array([None] * 3)}, "cannot be read"),
    ],
)
def test_a_landmark_file_that_makes_no_sense_is_refused(changed, words, tmp_path):
    np.savez(tmp_path / "x.landmarks.npz", **(GOOD | changed))
    with pytest.raises(HeadArtistError, match=words):
        landmark_transfer.read_landmarks(tmp_path / "x.landmarks.npz", 50)


def test_a_landmark_file_without_triangles_is_refused(tmp_path):
    np.savez(tmp_path / "x.landmarks.npz", barycentric=GOOD["barycentric"])
    with pytest.raises(HeadArtistError, match="has no triangles or lmk_face_idx"):
        landmark_transfer.read_landmarks(tmp_path / "x.landmarks.npz", 50)


# --- what is made of it --------------------------------------------------------------------------------------------


def test_a_head_begins_as_the_template_under_its_landmarks(head):
    field = FieldConfig(levels=2, base=4, growth=2.0, log2_table=8, width=8, depth=1)
    config = TetConfig(resolution=16, shape=field, color=field, sdf_base="template")
    avatar = TetAvatar(config, head, generator=torch.Generator().manual_seed(0))
    surface = avatar.to_mesh()
    sites = head.site_positions()
    gap = (ClosestPoint(surface)(sites).of(surface.verts, surface.faces) - sites).norm(dim=1)
    assert gap.mean() < 0.25 * avatar.grid.cell
    assert gap.max() < avatar.grid.cell
    views = turntable(2, elevation_deg=10.0, fov_y_deg=40.0, radius=3.0)
    face, back = (landmark_map(head, views, 64) > 0).flatten(1).sum(dim=1).tolist()
    assert face > back > 0


# --- files that cannot be used -------------------------------------------------------------------------------------


def changed(flame: FlameLike, **arrays: np.ndarray | None) -> dict[str, np.ndarray]:
    return {key: array for key, array in (flame.arrays | arrays).items() if array is not None}


def broken(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array[7, 1] = np.nan
    return array


@pytest.mark.parametrize(
    ("key", "change", "words"),
    [
        ("shapedirs", lambda _: None, "has no shapedirs, so it is not a FLAME model"),
        ("v_template", lambda a: a[:-1], r"shapedirs has shape .* where FLAME has"),
        ("v_template", lambda a: 1000 * a, "spans .* FLAME files are in metres"),
        ("v_template", broken, "v_template holds values that are not finite"),
        ("weights", lambda a: a[:, :4], "weights has shape"),
        ("f", lambda a: a + 5000, "f names vertices that are not there"),
        ("f", lambda a: a + 0.4, "f holds values that are not whole numbers"),
        ("f", lambda a: a[:1], "the triangles of f have no area"),
        ("f", lambda a: a[:0], "f names vertices that are not there"),
        ("f", lambda a: a.astype(int) - 1, "f names vertices that are not there"),
        ("f", lambda a: a * 0 + 7, "the triangles of f have no area"),
        ("v_template", lambda a: a * 0 + 1, "all vertices of v_template lie at one point: give FLAME's own file"),
        ("v_template", lambda a: a * [1, 0, 1], r"all vertices of v_template lie in one plane \(y = 0\)"),
        ("v_template", lambda a: a[:, :1] * [1, 2, 3], "all vertices of v_template lie on one line"),
        ("shapedirs", lambda a: a[..., :2] * 0 + 5, "shapedirs moves a vertex by 5 m for one standard deviation"),
        ("shapedirs", lambda a: a[..., :2] * np.nan, "shapedirs holds values that are not finite numbers"),
        ("weights", lambda a: a * 3, "the rows of weights sum to 3, "),
        ("weights", lambda a: a * 0, "the rows of weights sum to 0, "),
        ("weights", lambda a: a * 0 + [3, -2, 0, 0, 0], "the least of them is -2: they are no shares of 1"),
        ("J_regressor", lambda a: a * 2, "the rows of J_regressor sum to 2, not to 1"),
        (
            "kintree_table",
            lambda a: a * 0 + [[0, 2, 1, 1, 1], [0, 1, 2, 3, 4]],
            "gives joint 1 the parent 2, which is none",
        ),
        ("kintree_table", lambda a: a * 0 - 1, "gives joint 1 the parent"),
        ("kintree_table", lambda a: a[:, :3], "kintree_table has shape"),
        ("shapedirs", lambda a: a.astype(float) * 1e300, "shapedirs holds values that are not finite numbers"),
        ("weights", lambda a: np.eye(5)[np.full(len(a), 3)], "has 0 triangles of skin, which make no head"),
        ("J_regressor", lambda _: np.array([None]), "cannot be read at J_regressor"),
    ],
)
def test_a_file_that_is_no_flame_model_is_refused_in_one_sentence(flame, tmp_path, key, change, words):
    arrays = changed(flame, shapedirs=flame.arrays["shapedirs"][..., :2])
    arrays = changed(replace(flame, arrays=arrays), **{key: change(flame.arrays[key])})
    with pytest.raises(HeadArtistError, match=words) as refused:
        load_template(write_flame(tmp_path / "flame.npz", arrays))
    assert "\n" not in str(refused.value)
    assert str(refused.value).endswith(".")


@pytest.mark.parametrize("suffix", [".pkl", ".npz", ".safetensors"])
@pytest.mark.parametrize("content", [b"", b"garbage", b"PK\x03\x04garbage", b"\x80\x02}."])
def test_a_file_that_is_something_else_is_refused_in_one_sentence(tmp_path, suffix, content):
    path = tmp_path / f"flame{suffix}"
    path.write_bytes(content)
    with pytest.raises(HeadArtistError, match=f"flame{suffix}'? ") as refused:
        load_template(path)
    assert "\n" not in str(refused.value)


def test_a_pickle_that_wants_to_run_something_is_refused_by_name(flame, tmp_path, monkeypatch: pytest.MonkeyPatch):
    class Hostile:
        def __reduce__(self):
            return exec, ("open('canary', 'w')",)

    monkeypatch.chdir(tmp_path)
    Path("flame.pkl").write_bytes(pickle.dumps(flame.arrays | {"f": Hostile()}, 2))
    with pytest.raises(HeadArtistError, match=r"flame\.pkl is not read, because it names '__builtin__\.exec'"):
        load_template("flame.pkl")
    assert not Path("canary").exists()


@pytest.mark.parametrize("content", [b"PK\x03\x04 cut short", b"\x93NUMPY\x01\x00", b"plain words"])
def test_a_damaged_archive_is_refused_in_one_sentence(tmp_path, content):
    template, landmarks = tmp_path / "head.npz", tmp_path / "head.landmarks.npz"
    for path in (template, landmarks):
        path.write_bytes(content)
    with pytest.raises(HeadArtistError, match="cannot be read"):
        load_template(template)
    with pytest.raises(HeadArtistError, match="cannot be read"):
        read_landmarks(landmarks, 10)


def test_an_archive_of_more_than_any_head_is_refused_unread(flame, tmp_path, monkeypatch: pytest.MonkeyPatch):
    np.savez_compressed(tmp_path / "flame.npz", v_template=np.zeros((10_000, 3)))
    monkeypatch.setattr(npz, "LARGEST", 100_000)
    with pytest.raises(HeadArtistError, match=r"it holds 240,\d+ bytes, more than any head model"):
        load_template(tmp_path / "flame.npz")


def claiming(shape: tuple[int, ...], content: bytes) -> bytes:
    """An .npy of this content whose header says something else."""
    head = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".encode()
    head += b" " * (-(len(head) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + content


def test_an_archive_whose_sizes_are_lies_costs_no_memory(tmp_path):
    path, names = tmp_path / "flame.npz", ("v_template", "lies")
    for shape in ((500_000_000,), (2**40, 2**40)):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("v_template.npy", claiming(shape, b"\0" * 1_000_000))
        tracemalloc.start()
        with pytest.raises(
            HeadArtistError, match=r"cannot be read at v_template \(it claims [\d,]+ bytes, but 1,000,128"
        ):
            npz.read_npz(path, names)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 3_000_000
    # The directory says less than is there: no more than that is unpacked.
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("v_template.npy", claiming((10_000_000,), b"\0" * 80_000_000))
    stored = bytearray(path.read_bytes())
    entry = stored.rindex(b"PK\x01\x02")
    stored[entry + 24 : entry + 28] = (128 + 8_000).to_bytes(4, "little")
    path.write_bytes(stored)
    tracemalloc.start()
    with pytest.raises(HeadArtistError, match="cannot be read at v_template"):
        npz.read_npz(path, names)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3_000_000


def test_a_file_of_gigabytes_is_refused_unread(tmp_path):
    for suffix in (".pkl", ".npz", ".safetensors"):
        with (tmp_path / f"flame{suffix}").open("wb") as file:
            file.truncate(1 << 31)
        with pytest.raises(HeadArtistError, match=r"has 2,147,483,648 bytes, more than the 268,435,456 that are read"):
            load_template(tmp_path / f"flame{suffix}")


def test_an_archive_that_is_locked_or_packed_in_an_unknown_way_is_refused(tmp_path):
    np.savez(tmp_path / "flame.npz", v_template=np.zeros(3))
    stored = (tmp_path / "flame.npz").read_bytes()
    entry = stored.index(b"PK\x01\x02")
    for flag, method, words in ((1, 0, "encrypted"), (0, 99, "compression method is not supported")):
        damaged = bytearray(stored)
        damaged[6] = damaged[entry + 8] = flag
        damaged[8] = damaged[entry + 10] = method
        (tmp_path / "flame.npz").write_bytes(damaged)
        with pytest.raises(HeadArtistError, match=f"cannot be read at v_template .*{words}"):
            load_template(tmp_path / "flame.npz")


def test_landmarks_that_are_no_lists_of_numbers_are_refused(tmp_path):
    path = tmp_path / "head.landmarks.npz"
    np.savez(path, triangles=np.int64(3), barycentric=np.ones(3) / 3)
    with pytest.raises(HeadArtistError, match="one triangle, three weights and one number"):
        read_landmarks(path, 10)
    np.savez(path, triangles=np.array(["a"]), barycentric=np.ones((1, 3)) / 3)
    with pytest.raises(HeadArtistError, match="other things than numbers"):
        read_landmarks(path, 10)
    single = np.float64([1.0])
    np.save(path.with_suffix(".npy"), single)
    path.with_suffix(".npy").rename(path)
    with pytest.raises(HeadArtistError, match="cannot be read"):
        read_landmarks(path, 10)

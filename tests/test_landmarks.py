"""Laws of the landmark map, and equality with a plain retelling of the data set's drawing rules."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from headartist.geometry.cameras import Cameras, look
from headartist.heads import HeadTemplate, LandmarkSites, load_template
from headartist.heads.landmarks import FACE_OVAL, FEATURES, PUPILS, landmark_map, render_landmarks, unoccluded

DATA = Path(__file__).parent / "data"
OVAL, LIPS = (10, 200, 10), (10, 180, 10)
RIGHT_EYE, LEFT_EYE, RIGHT_BROW, LEFT_BROW = (180, 200, 10), (10, 200, 180), (180, 220, 10), (10, 220, 180)
RIGHT_PUPIL, LEFT_PUPIL = (250, 200, 10), (10, 200, 250)
SWAP = {
    RIGHT_EYE: LEFT_EYE,
    LEFT_EYE: RIGHT_EYE,
    RIGHT_BROW: LEFT_BROW,
    LEFT_BROW: RIGHT_BROW,
    RIGHT_PUPIL: LEFT_PUPIL,
    LEFT_PUPIL: RIGHT_PUPIL,
    OVAL: OVAL,
    LIPS: LIPS,
}


@pytest.fixture(scope="module")
def head() -> HeadTemplate:
    return load_template("open")


def picture(template: HeadTemplate, cameras: Cameras, size: int = 512, **options) -> np.ndarray:
    """The first view as uint8, `h w 3`."""
    return (landmark_map(template, cameras, size, **options)[0] * 255).round().byte().permute(1, 2, 0).numpy()


def codes(image: np.ndarray) -> np.ndarray:
    """Colours as one number a pixel."""
    return image.astype(np.int32) @ np.array([65536, 256, 1], np.int32)


def colors(image: np.ndarray) -> set[tuple[int, int, int]]:
    return {(code >> 16, code >> 8 & 255, code & 255) for code in np.unique(codes(image)).tolist() if code}


def mask(image: np.ndarray, rgb: tuple[int, int, int]) -> np.ndarray:
    return codes(image) == rgb[0] * 65536 + rgb[1] * 256 + rgb[2]


def without(image: np.ndarray, *rgbs: tuple[int, int, int]) -> np.ndarray:
    """The picture with these colours made black."""
    gone = np.any([mask(image, rgb) for rgb in rgbs], axis=0)
    return np.where(gone[..., None], np.uint8(0), image)


def assert_same_lines(image: np.ndarray, expected: np.ndarray, within: int = 2) -> None:
    """Each colour of either picture has the same colour of the other within a few pixels."""
    kernel = np.ones((2 * within + 1,) * 2, np.uint8)
    assert colors(image) == colors(expected)
    for rgb in colors(image):
        one, other = mask(image, rgb).astype(np.uint8), mask(expected, rgb).astype(np.uint8)
        assert (one <= cv2.dilate(other, kernel)).all(), rgb
        assert (other <= cv2.dilate(one, kernel)).all(), rgb


def by_the_data_sets_rules(pixels: np.ndarray, size: int) -> np.ndarray:
    """The rules as MediaPipe's drawing and the data set's pupil drawing state them: normalised points, BGR, a dict."""
    connections = json.loads((DATA / "landmarks_connections.json").read_text())
    bgr = {
        "FACE_OVAL": (10, 200, 10),
        "LEFT_EYE": (180, 200, 10),
        "LEFT_EYEBROW": (180, 220, 10),
        "RIGHT_EYE": (10, 200, 180),
        "RIGHT_EYEBROW": (10, 220, 180),
        "LIPS": (10, 180, 10),
    }
    specification = {tuple(edge): color for part, color in bgr.items() for edge in connections[part]}
    coordinates = {}
    for index, (x, y) in enumerate(pixels / size):
        if 0 <= x <= 1 and 0 <= y <= 1:
            coordinates[index] = min(int(x * size), size - 1), min(int(y * size), size - 1)
    image = np.zeros((size, size, 3), np.uint8)
    for (start, end), color in specification.items():
        if start in coordinates and end in coordinates:
            cv2.line(image, coordinates[start], coordinates[end], color, 2)
    for index, color in {468: (10, 200, 250), 473: (250, 200, 10)}.items():
        if index in coordinates:
            x, y = coordinates[index]
            for row in range(y - 2, y + 2):
                for column in range(x - 2, x + 2):
                    if 0 <= row < size and 0 <= column < size:
                        image[row, column] = color
    return image[:, :, ::-1]


def test_golden_drawing():
    expected = cv2.imread(str(DATA / "landmarks_golden.png"))[:, :, ::-1]
    np.testing.assert_array_equal(render_landmarks(np.load(DATA / "landmarks_pixels.npy"), 512), expected)


def test_golden_drawing_follows_the_data_sets_rules():
    pixels = np.load(DATA / "landmarks_pixels.npy")
    np.testing.assert_array_equal(render_landmarks(pixels, 512), by_the_data_sets_rules(pixels, 512))


@pytest.mark.parametrize("seed", range(6))
def test_any_points_are_drawn_by_the_data_sets_rules(seed):
    # A third of the points is outside the frame, some lie on its very edges.
    generator = torch.Generator().manual_seed(seed)
    pixels = (torch.rand(478, 2, generator=generator) * 640 - 64).numpy()
    pixels[::17, 0], pixels[::19, 1], pixels[::23, 0], pixels[::29, 1] = 0, 0, 512, 512
    np.testing.assert_array_equal(render_landmarks(pixels, 512), by_the_data_sets_rules(pixels, 512))


def test_edges_are_mediapipes():
    connections = json.loads((DATA / "landmarks_connections.json").read_text())
    names = ["FACE_OVAL", "LEFT_EYE", "LEFT_EYEBROW", "RIGHT_EYE", "RIGHT_EYEBROW", "LIPS"]
    for part, name in zip((FACE_OVAL, *FEATURES), names, strict=True):
        assert sorted(part.edges()) == sorted(map(tuple, connections[name])), name


def test_a_pupil_is_a_square_of_four_pixels_up_and_left_of_its_landmark():
    pixels = np.full((478, 2), -1.0)
    pixels[468] = (100.9, 50.0)
    image = render_landmarks(pixels, 512)
    expected = np.zeros_like(image)
    expected[48:52, 98:102] = RIGHT_PUPIL
    np.testing.assert_array_equal(image, expected)


@pytest.mark.parametrize(("size", "side"), [(64, 2), (128, 2), (256, 2), (384, 3), (512, 4), (1024, 8)])
def test_the_pupil_scales_with_the_picture(size, side):
    pixels = np.full((478, 2), -1.0)
    pixels[473] = (size / 2, size / 2)
    assert mask(render_landmarks(pixels, size), LEFT_PUPIL).sum() == side**2


@pytest.mark.parametrize("size", [64, 128, 512])
def test_every_drawn_landmark_lights_the_pixel_that_its_surface_point_projects_to(head, size):
    cameras = look(20.0, 10.0, 35.0)
    sites = head.landmark_sites
    corners = head.verts[head.faces[sites.triangles]]
    points = torch.einsum("lk,lkc->lc", sites.barycentric, corners)
    pixels, _ = cameras.project(points, size)
    image = picture(head, cameras, size)
    ends = {index for part in (FACE_OVAL, *FEATURES) for edge in part.edges() for index in edge}
    columns, rows = pixels[0, sorted(ends)].floor().int().T.tolist()
    assert image[rows, columns].any(axis=-1).all()
    for pupil in PUPILS:
        x, y = pixels[0, pupil.site].floor().int().tolist()
        assert tuple(image[y, x]) == pupil.rgb


def test_the_map_is_a_batch_of_views_in_the_unit_range(head):
    views = landmark_map(head, look(torch.tensor([0.0, 50.0, 180.0])), 128)
    assert views.shape == (3, 3, 128, 128)
    assert views.dtype == torch.float32
    assert views.min() == 0
    assert views.max() == pytest.approx(250 / 255)
    torch.testing.assert_close(views[1:2], landmark_map(head, look(50.0), 128))


def test_a_frontal_view_shows_every_colour(head):
    assert colors(picture(head, look(0.0))) == set(SWAP)


def test_the_subjects_left_is_on_the_right_of_a_frontal_view(head):
    image = picture(head, look(0.0))
    for rgb in (LEFT_EYE, LEFT_BROW, LEFT_PUPIL):
        assert mask(image, rgb).nonzero()[1].min() > 256
        assert mask(image, SWAP[rgb]).nonzero()[1].max() < 256


def test_the_map_follows_the_mesh(head):
    # A quarter of the head's width to the subject's left, at the depth of the face: the pupils move as projected.
    shift = torch.tensor([0.25, 0.0, 0.0])
    cameras = look(0.0)
    before, after = picture(head, cameras), picture(head.with_verts(head.verts + shift), cameras)
    for pupil in PUPILS:
        site = head.site_positions()[pupil.site][None]
        expected = (cameras.project(site + shift, 512)[0] - cameras.project(site, 512)[0])[0, 0, 0]
        moved = mask(after, pupil.rgb).nonzero()[1].mean() - mask(before, pupil.rgb).nonzero()[1].mean()
        assert moved == pytest.approx(float(expected), abs=1.0)


def test_another_identity_gives_another_map(head):
    identity = torch.zeros(100)
    identity[0] = 2.0
    assert not np.array_equal(picture(head.shaped(identity), look(0.0)), picture(head, look(0.0)))


def test_an_open_jaw_moves_oval_and_lips_down_and_leaves_the_rest(head):
    before, after = picture(head, look(0.0)), picture(head.shaped(expression={"jawOpen": 1.0}), look(0.0))
    assert_same_lines(without(after, OVAL, LIPS), without(before, OVAL, LIPS), within=1)
    for rgb in (OVAL, LIPS):
        assert mask(after, rgb).nonzero()[0].max() > mask(before, rgb).nonzero()[0].max() + 10


def test_a_wink_changes_one_eye_and_nothing_else(head):
    before, after = picture(head, look(0.0)), picture(head.shaped(expression={"eyeBlinkRight": 1.0}), look(0.0))
    assert mask(after, RIGHT_EYE).nonzero()[0].min() > mask(before, RIGHT_EYE).nonzero()[0].min() + 3
    eye = (RIGHT_EYE, RIGHT_PUPIL)
    assert_same_lines(without(after, *eye), without(before, *eye), within=1)


@pytest.mark.parametrize("azimuth", [0.0, 25.0, -60.0])
def test_a_reflected_mesh_gives_the_reflected_map(head, azimuth):
    # Every site keeps its number and thus its colour, although it now stands on the other side.
    reflected = head.with_verts(head.verts * torch.tensor([-1.0, 1.0, 1.0]))
    assert_same_lines(picture(reflected, look(-azimuth)), picture(head, look(azimuth))[:, ::-1])


@pytest.mark.parametrize("azimuth", [0.0, 20.0, -15.0])
def test_a_mirrored_person_gives_the_reflected_map_with_left_and_right_swapped(head, azimuth):
    winking = head.shaped(expression={"eyeBlinkLeft": 0.7, "mouthSmileRight": 0.8, "browOuterUpLeft": 1.0})
    mirrored = head.with_verts((winking.verts * torch.tensor([-1.0, 1.0, 1.0]))[head.mirror])
    reflected = picture(winking, look(azimuth))[:, ::-1]
    swapped = np.zeros_like(reflected)
    for rgb, other in SWAP.items():
        swapped[mask(reflected, rgb)] = other
    assert_same_lines(picture(mirrored, look(-azimuth)), swapped, within=3)


@pytest.mark.parametrize("azimuth", [180.0, -180.0, 120.0, -91.0, 260.0])
def test_back_views_leave_only_the_oval(head, azimuth):
    image = picture(head, look(azimuth))
    assert colors(image) == {OVAL}
    pixels, _ = look(azimuth).project(head.site_positions(), 512)
    np.testing.assert_array_equal(image, render_landmarks(pixels[0].double().numpy(), 512, face=False))


@pytest.mark.parametrize("azimuth", [89.0, -89.0, 271.0, 360.0])
def test_front_views_show_the_face(head, azimuth):
    assert LIPS in colors(picture(head, look(azimuth)))


def test_the_back_view_angle_is_an_option(head):
    assert colors(picture(head, look(60.0), back_view_deg=45.0)) == {OVAL}
    assert LIPS in colors(picture(head, look(120.0), back_view_deg=150.0))


def test_lines_end_where_the_head_leaves_the_frame(head):
    close_up = look(0.0, fov_y_deg=10.0)
    pixels, _ = close_up.project(head.site_positions(), 512)
    outside = ((pixels < 0) | (pixels > 512)).any(dim=-1)[0]
    assert outside.any()
    assert not outside.all()
    kept = picture(head, close_up)
    np.testing.assert_array_equal(kept, by_the_data_sets_rules(pixels[0].double().numpy(), 512))


def test_nothing_behind_the_camera_is_drawn(head):
    # The camera stands inside the head and looks away from the face.
    inside = look(0.0, radius=0.1)
    assert (inside.project(head.site_positions(), 512)[1] < 0).all()
    assert not picture(head, inside).any()


def test_hidden_landmarks_take_their_lines_along():
    pixels = np.load(DATA / "landmarks_pixels.npy")
    visible = np.ones(478, dtype=bool)
    visible[[13, 473]] = False
    moved_away = pixels.copy()
    moved_away[[13, 473]] = -1
    np.testing.assert_array_equal(render_landmarks(pixels, 512, visible=visible), render_landmarks(moved_away, 512))


def test_without_irises_a_pupil_is_guessed_from_corners_and_lids(head):
    pixels = np.load(DATA / "landmarks_pixels.npy")
    guessed = pixels.copy()
    for pupil in PUPILS:
        guessed[pupil.site] = pixels[list(pupil.corners), 0].mean(), pixels[list(pupil.lids), 1].mean()
    np.testing.assert_array_equal(render_landmarks(pixels[:468], 512), render_landmarks(guessed, 512))
    without_irises = LandmarkSites(head.landmark_sites.triangles[:468], head.landmark_sites.barycentric[:468])
    assert_same_lines(
        picture(replace(head, landmark_sites=without_irises), look(0.0)), picture(head, look(0.0)), within=8
    )


def test_from_the_front_the_head_hides_no_feature(head):
    seen = unoccluded(head, look(0.0))[0]
    features = sorted({index for part in FEATURES for edge in part.edges() for index in edge} | {468, 473})
    assert seen[features].all()


def test_from_the_side_the_far_half_is_hidden(head):
    image = picture(head, look(85.0), hide_occluded=True)
    assert {LEFT_EYE, LEFT_PUPIL, LEFT_BROW} <= colors(image)
    assert not colors(image) & {RIGHT_EYE, RIGHT_PUPIL}
    complete = picture(head, look(85.0))
    assert not (image.any(axis=-1) & ~complete.any(axis=-1)).any()


def test_hiding_keeps_the_oval_of_back_views(head):
    np.testing.assert_array_equal(picture(head, look(150.0), hide_occluded=True), picture(head, look(150.0)))


@pytest.fixture
def screen(head) -> HeadTemplate:
    """One site on a triangle at z = 0, and a movable second triangle that the tests hold before it."""
    triangle = torch.tensor([[-0.5, -0.5, 0.0], [0.5, -0.5, 0.0], [0.0, 0.5, 0.0]])
    return replace(
        head,
        verts=torch.cat([triangle, triangle]),
        faces=torch.arange(6).view(2, 3),
        part=torch.zeros(2, dtype=torch.int64),
        landmark_sites=LandmarkSites(torch.tensor([0]), torch.full((1, 3), 1 / 3)),
        **{"uv": torch.zeros(6, 2), "uv_faces": torch.arange(6).view(2, 3), "mirror": torch.arange(6)},
        **{name: getattr(head, name)[:, :6] for name in ("shape_basis", "expression_basis")},
        skin_weights=head.skin_weights[:6],
    )


@pytest.mark.parametrize(
    ("offset", "seen"),
    [
        ((0.0, 0.0, 0.5), False),
        ((0.0, 0.0, -0.5), True),
        ((0.0, 0.0, 0.01), True),
        ((0.0, 0.0, 3.5), True),
        ((2.0, 0.0, 0.5), True),
    ],
    ids=["before", "behind", "closer than the margin", "behind the camera", "beside"],
)
def test_a_triangle_hides_what_it_stands_before(screen, offset, seen):
    held = torch.cat([screen.verts[:3], screen.verts[3:] + torch.tensor(offset)])
    assert unoccluded(screen.with_verts(held), look(0.0)).tolist() == [[seen]]
    # The hiding does not depend on which way the triangle winds.
    turned = replace(screen, verts=held, faces=torch.tensor([[0, 1, 2], [3, 5, 4]]))
    assert unoccluded(turned, look(0.0)).tolist() == [[seen]]


def test_a_triangle_seen_edge_on_hides_nothing(screen):
    edge_on = torch.tensor([[0.0, -0.5, 0.2], [0.0, 0.5, 0.2], [0.0, 0.0, 0.8]])
    aligned = screen.with_verts(torch.cat([screen.verts[:3] + torch.tensor([0.0, 1 / 6, 0.0]), edge_on]))
    assert unoccluded(aligned, look(0.0)).tolist() == [[True]]

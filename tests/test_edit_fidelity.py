"""How the fidelity of an edit is measured: on heads of which every answer is known."""

import pytest
import torch

from ball_avatar import Ball, linear_color
from headartist.avatars.avatar import Material
from headartist.evaluate.edit_fidelity import EditFidelity, edit_fidelity, lab, noted
from headartist.geometry.mesh import Mesh
from headartist.heads import load_template
from headartist.system.errors import HeadArtistError

TEMPLATE = load_template("open")


class Changed(Ball):
    """The ball moved as a whole and darkened."""

    def __init__(self, *, by: float = 0.0, darker: float = 0.0, subdivisions: int = 3) -> None:
        super().__init__(subdivisions)
        self.by, self.darker = torch.tensor([by, 0.0, 0.0]), darker
        self.mesh = Mesh(self.mesh.verts + self.by, self.mesh.faces)

    def material_at(self, points: torch.Tensor) -> Material:
        return Material(linear_color(points - self.by) - self.darker)


@pytest.mark.parametrize(
    ("rgb", "expected"),
    [
        ((1.0, 1.0, 1.0), (100.0, 0.0, 0.0)),
        ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0)),
        ((1.0, 0.0, 0.0), (53.24, 80.09, 67.20)),
        ((0.0, 1.0, 0.0), (87.73, -86.18, 83.18)),
        ((0.0, 0.0, 1.0), (32.30, 79.19, -107.86)),
        ((0.5, 0.5, 0.5), (53.39, 0.0, 0.0)),
        ((0.02, 0.02, 0.02), (1.40, 0.0, 0.0)),
    ],
)
def test_lab_has_the_published_values(rgb, expected):
    torch.testing.assert_close(lab(torch.tensor([rgb]))[0], torch.tensor(expected), rtol=0, atol=0.03)


def test_a_head_is_like_itself():
    same = EditFidelity(landmark_shift=0.0, untouched=1.0, color_difference=0.0)
    assert edit_fidelity(Ball(), Ball(), TEMPLATE) == same


def test_a_head_that_moved_shifts_all_landmarks_as_far():
    corners = TEMPLATE.site_positions()[[33, 133, 263, 362]]
    apart = float((corners[:2].mean(0) - corners[2:].mean(0)).norm())
    found = edit_fidelity(Ball(), Changed(by=0.1), TEMPLATE)
    assert found.landmark_shift == pytest.approx(0.1 / apart, rel=1e-4)
    assert (found.untouched, found.color_difference) == (0.0, 0.0)
    within = edit_fidelity(Ball(), Changed(by=0.019 * apart), TEMPLATE)
    assert (within.untouched, within.color_difference) == (1.0, pytest.approx(0.0, abs=0.01))


def test_a_change_of_colour_is_measured_where_nothing_moved():
    found = edit_fidelity(Ball(), Changed(darker=0.05), TEMPLATE)
    assert found.landmark_shift == 0
    middles = Ball().mesh.verts[Ball().mesh.faces].mean(1)
    difference = (lab(linear_color(middles)) - lab(linear_color(middles) - 0.05)).norm(dim=1)
    assert found.color_difference == pytest.approx(float(difference.mean()), rel=0.02)  # triangles are nearly even


def test_other_triangles_of_the_same_surface_are_nearly_no_change():
    found = edit_fidelity(Ball(4), Changed(subdivisions=3), TEMPLATE)
    assert found.landmark_shift < 0.02
    assert found.untouched > 0.9
    assert found.color_difference < 1


def test_a_head_without_a_surface_cannot_be_compared():
    vanished = Ball()
    vanished.mesh = Mesh(vanished.mesh.verts[:0], vanished.mesh.faces[:0])
    for heads in ((Ball(), vanished), (vanished, Ball())):
        with pytest.raises(HeadArtistError, match="One of the two heads has no surface"):
            edit_fidelity(*heads, TEMPLATE)


def test_fidelity_says_what_it_is():
    assert str(EditFidelity(landmark_shift=0.0213, untouched=0.87, color_difference=3.42)) == (
        "landmarks moved by 2.1% of the distance between the eyes; 87% of the surface stayed in place, and its colour "
        "changed by 3.4 (delta E)"
    )


def test_what_was_noted_is_read_back_under_its_old_names_too():
    old = {"likeness": {"landmark_shift": 0.1, "untouched": 0.5, "colour_difference": 2.0}}
    new = {"edit_fidelity": {"landmark_shift": 0.1, "untouched": 0.5, "color_difference": 2.0}}
    assert noted(old) == noted(new) == EditFidelity(landmark_shift=0.1, untouched=0.5, color_difference=2.0)
    assert noted({}) is None

"""How much an error counts by where it is."""

import torch

from headartist.heads.landmarks import FACE_OVAL, FEATURES
from headartist_foundry.train.face_weight import FACE_MARGIN, FACE_WEIGHT, FEATURE_MARGIN, FEATURE_WEIGHT, face_weight


def test_errors_count_more_on_and_around_the_face_and_most_on_its_features():
    marks = torch.zeros(2, 3, 64, 64)
    marks[0, :, 30, 40] = torch.tensor(FACE_OVAL.rgb) / 255  # a point in row 7, column 10 of the latent
    with_face, without = face_weight(marks, 16)
    assert with_face.shape == (1, 16, 16)
    assert (without == 1).all()

    def near(margin):
        places = torch.zeros(16, 16, dtype=torch.bool)
        places[7 - margin : 8 + margin, 10 - margin : 11 + margin] = True
        return places

    on_face = torch.where(near(FACE_MARGIN), FACE_WEIGHT, 1.0)
    assert torch.equal(with_face[0], on_face)
    assert torch.equal(face_weight(marks, 16, 9.0)[0][0], torch.where(near(FACE_MARGIN), 9.0, 1.0))
    for part in FEATURES:
        marks[0, :, 30, 40] = torch.tensor(part.rgb) / 255
        assert torch.equal(face_weight(marks, 16)[0][0], torch.where(near(FEATURE_MARGIN), FEATURE_WEIGHT, on_face))

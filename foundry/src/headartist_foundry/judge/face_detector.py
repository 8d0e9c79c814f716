"""A program for another Python: where are faces in pictures?

MediaPipe wants older libraries than the foundry, so it lives in an environment of its own
(`python -m venv DIR && DIR/bin/pip install mediapipe==0.10.21`) and is asked through files:

    DIR/bin/python face_detector.py PICTURES.npz FACES.npz CONFIDENCE

The first file holds `pictures`, n h w 3 uint8. The second gets `found`, n bool, and `points`, n 478 2 in [0, 1], of
what is a face with at least that confidence.
"""

import sys

import numpy as np

POINTS = 478


def detect(pictures: np.ndarray, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """Find which pictures show a face, and its landmarks.

    Returns n bool and n 478 2 in [0, 1], irises included.
    """
    from mediapipe.python.solutions.face_mesh import FaceMesh

    found, points = np.zeros(len(pictures), bool), np.zeros((len(pictures), POINTS, 2), np.float32)
    sure = {"min_detection_confidence": confidence, "min_tracking_confidence": confidence}
    with FaceMesh(static_image_mode=True, refine_landmarks=True, max_num_faces=1, **sure) as mesh:
        for index, picture in enumerate(pictures):
            faces = mesh.process(picture).multi_face_landmarks
            if faces:
                found[index] = True
                points[index] = [(point.x, point.y) for point in faces[0].landmark]
    return found, points


if __name__ == "__main__":
    with np.load(sys.argv[1], allow_pickle=False) as file:
        shown = file["pictures"]
    which, where = detect(shown, float(sys.argv[3]))
    np.savez(sys.argv[2], found=which, points=where)

"""Laws of the pictures and the video."""

import numpy as np
import pytest
import torch
from PIL import Image

from ball_avatar import Ball
from headartist.export.pictures import contact_sheet, preview, save_png, to_bytes
from headartist.export.video import turntable_video
from headartist.system.errors import HeadArtistError

imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")


def test_a_png_comes_back_to_the_last_bit(tmp_path):
    levels = torch.arange(256, dtype=torch.float32).reshape(1, 16, 16) / 255
    image = torch.cat([levels, levels.flip(1), levels.flip(2)])
    save_png(tmp_path / "a.png", image)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a.png")), (image * 255).round().permute(1, 2, 0).numpy())


def test_pixels_are_clamped():
    pixels = to_bytes(torch.tensor([-0.5, 0.5, 1.5]).reshape(3, 1, 1))
    assert pixels.tolist() == [[[0, 128, 255]]]


def test_a_contact_sheet_shows_the_views_round_the_head():
    sheet = contact_sheet(Ball(), views=4, size=32, elevation_deg=0.0)
    assert sheet.shape == (3, 64, 128)
    face, left, back, right = sheet[:, 16, 16::32].T  # the middle of each view: +z, +x, -z, -x
    near = {"atol": 0.02, "rtol": 0}
    assert torch.allclose(face, torch.tensor([0.5, 0.5, 0.8]), **near)
    assert torch.allclose(left, torch.tensor([0.8, 0.5, 0.5]), **near)
    assert torch.allclose(back, torch.tensor([0.5, 0.5, 0.2]), **near)
    assert torch.allclose(right, torch.tensor([0.2, 0.5, 0.5]), **near)


def test_a_contact_sheet_has_normals_below_the_colours():
    sheet = contact_sheet(Ball(), views=2, size=32)
    for middle in sheet[:, 48, 16::32].T:  # a ball's middle faces every camera
        assert torch.allclose(middle, torch.tensor([0.5, 0.5, 1.0]), atol=0.05, rtol=0)
    assert torch.equal(sheet[:, 0, 0], torch.ones(3))
    assert torch.equal(sheet[:, 32, 0], torch.full((3,), 0.5))


def test_a_preview_is_small():
    assert preview(Ball(), size=16).shape == (3, 32, 64)


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("video") / "turn.mp4"
    turntable_video(Ball(), path, views=6, size=64, fps=12, progress=False)
    return path


@pytest.fixture(scope="module")
def decoded(video):
    reader = imageio_ffmpeg.read_frames(str(video))
    about = next(reader)
    return about, [np.frombuffer(frame, np.uint8).reshape(64, 128, 3) for frame in reader]


def test_a_video_holds_every_view(decoded):
    about, frames = decoded
    assert len(frames) == 6
    assert about["size"] == (128, 64)
    assert about["fps"] == 12
    assert about["codec"] == "h264"
    assert about["pix_fmt"].startswith("yuv420p")


def test_a_video_turns(decoded):
    _, frames = decoded
    colors = [frame[:, :64].astype(float) for frame in frames]
    for one, next_one in zip(colors, colors[1:] + colors[:1], strict=True):
        assert np.abs(one - next_one).mean() > 5


def test_a_video_keeps_the_colours(decoded):
    _, frames = decoded
    sheet = contact_sheet(Ball(), views=6, size=64, elevation_deg=15.0, fov_y_deg=45.0)
    for k, frame in enumerate(frames):
        view = slice(64 * k + 20, 64 * k + 44)
        for beside, above in ((0, 0), (64, 64)):
            expected = to_bytes(sheet[:, above + 20 : above + 44, view]).astype(float)
            assert np.abs(frame[20:44, beside + 20 : beside + 44] - expected).mean() < 3


def test_a_broken_video_leaves_the_old_one(tmp_path):
    class Broken(Ball):
        def render(self, *_, **__):
            raise RuntimeError("out of memory")

    (tmp_path / "turn.mp4").write_text("old")
    with pytest.raises(RuntimeError, match="out of memory"):
        turntable_video(Broken(), tmp_path / "turn.mp4", views=2, size=16, progress=False)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("turn.mp4", "old")]


def test_video_errors_name_the_next_step(tmp_path, monkeypatch):
    with pytest.raises(HeadArtistError, match="63 pixels cannot be encoded: use an even size, such as 64"):
        turntable_video(Ball(), tmp_path / "turn.mp4", size=63)
    with pytest.raises(HeadArtistError, match=r"must end in \.mp4"):
        turntable_video(Ball(), tmp_path / "turn.gif")
    with pytest.raises(HeadArtistError, match="video of 0 views has nothing to show: use 1 or more"):
        turntable_video(Ball(), tmp_path / "turn.mp4", views=0)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", "false")
    with pytest.raises(HeadArtistError, match=r"false is no ffmpeg that runs here and encodes H\.264"):
        turntable_video(Ball(), tmp_path / "turn.mp4", views=2, size=64, progress=False)
    assert list(tmp_path.iterdir()) == []

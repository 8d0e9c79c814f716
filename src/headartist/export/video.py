"""Turntable video: the head turning once.

Its colours beside its normals.
"""

import functools
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from headartist.avatars.avatar import Avatar
from headartist.export.pictures import render_pair, to_bytes
from headartist.geometry.cameras import turntable
from headartist.system.errors import HeadArtistError
from headartist.system.files import replacing

ANSWER_S = 20.0  # a program that takes longer to say what it can is none to wait for
_GET_FFMPEG = "install it (`pip install imageio-ffmpeg`), or name it in the environment variable IMAGEIO_FFMPEG_EXE."


def turntable_video(
    avatar: Avatar, path: Path | str, *, views: int = 120, size: int = 512, fps: int = 30, progress: bool = True
) -> None:
    """Film the head turning once as MP4.

    The evaluation path of the paper (5.3), in H.264 that any browser plays.

    Frames go to the encoder one by one, so memory does not grow with `views`.

    Args:
        avatar: the head.
        path: the file, ending in `.mp4`, replaced whole.
        views: frames of one full turn, at least 1.
        size: height of the video in pixels, even; the width is twice that.
        fps: frames a second.
        progress: whether to show a bar on the terminal.

    Raises:
        HeadArtistError: there are no views, `size` is odd, the file is not an `.mp4`, or ffmpeg is missing or fails.
    """
    if views < 1:
        raise HeadArtistError(f"A video of {views} views has nothing to show: use 1 or more, such as 120.")
    if size % 2:
        raise HeadArtistError(f"A video of {size} pixels cannot be encoded: use an even size, such as {size + 1}.")
    if Path(path).suffix != ".mp4":
        raise HeadArtistError(f"The video {path} must end in .mp4: rename it.")
    cameras = turntable(views)

    def frames() -> Iterator[np.ndarray]:
        for k in tqdm(range(views), desc="video", unit="frame", disable=not progress):
            yield to_bytes(
                torch.cat([pictures[0] for pictures in render_pair(avatar, cameras[k : k + 1], size)], dim=2)
            )

    with replacing(path) as draft:
        _encode(frames(), draft, width=2 * size, height=size, fps=fps)


def _encode(frames: Iterable[np.ndarray], path: Path, *, width: int, height: int, fps: int) -> None:
    """Stream 8-bit RGB frames through ffmpeg.

    Colours are tagged BT.709, or players would shift them.
    """
    encoder = [find_ffmpeg(), "-y", "-loglevel", "error"]
    encoder += ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(fps), "-i", "-"]
    encoder += ["-vf", "scale=out_color_matrix=bt709:out_range=tv", "-pix_fmt", "yuv420p"]
    encoder += ["-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709", "-color_range", "tv"]
    encoder += ["-c:v", "libx264", "-crf", "16", "-movflags", "+faststart", str(path)]
    with tempfile.TemporaryFile() as log:
        # In a session of its own, a Ctrl-C reaches us alone, and not both at once.
        process = subprocess.Popen(encoder, stdin=subprocess.PIPE, stderr=log, start_new_session=True)
        assert process.stdin is not None
        try:
            for frame in frames:
                process.stdin.write(frame.data)
        except BrokenPipeError:
            pass  # ffmpeg has stopped; its own words below say why
        except BaseException:
            process.kill()
            raise
        finally:
            with suppress(BrokenPipeError):
                process.stdin.close()
            process.wait()
        if process.returncode != 0:
            log.seek(0)
            reason = log.read().decode(errors="replace").strip().splitlines()[-1:] or ["no reason given"]
            raise HeadArtistError(f"ffmpeg could not write {path.name} ({reason[0]}): mend that and run it again.")


def find_ffmpeg() -> str:
    """Find the encoder, once it has answered.

    It says that it can encode H.264.

    Raises:
        HeadArtistError: there is none, or another program in its place.
    """
    try:  # imported here only, since a head can be exported without it
        import imageio_ffmpeg

        path: str = imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError) as error:
        raise HeadArtistError(f"Videos need ffmpeg, which was not found: {_GET_FFMPEG}") from error
    if not _encodes(path):
        raise HeadArtistError(f"{path} is no ffmpeg that runs here and encodes H.264 (libx264): {_GET_FFMPEG}")
    return path


@functools.cache
def _encodes(path: str) -> bool:
    """Tell whether a program is a working ffmpeg.

    One that runs here and has the encoder.
    """
    ask = [path, "-hide_banner", "-encoders"]
    try:
        answer = subprocess.run(ask, stdin=subprocess.DEVNULL, capture_output=True, timeout=ANSWER_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return b"libx264" in answer.stdout

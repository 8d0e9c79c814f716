"""The viewer: heads and all that shows them in one HTML file, which a browser opens without any network.

The page itself, `viewer.html`, is bundled by `tools/viewer`. Nothing here needs torch.
"""

import base64
import json
import struct
import warnings
import webbrowser
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from headartist.errors import HeadArtistError
from headartist.files import write_text
from headartist.folder import HeadFolder, claimed

_PAGE = files("headartist") / "viewer.html"
_PLACE = "<!-- heads -->"
_JSON_CHUNK = 0x4E4F534A
_MISMADE = "write it again as binary glTF 2.0 with everything inside."


@dataclass(frozen=True)
class ViewedHead:
    """A head as the viewer shows it.

    Attributes:
        glb: the model: binary glTF 2.0 that refers to no other file.
        name: what its download is called, without the suffix.
        prompt: whose head; None where nobody wrote it down, and so below.
        seed: what every random draw followed from.
        version: the release of headartist that made it.
        prior: the judge.
        licence: under which others may use it.
    """

    glb: bytes
    name: str
    prompt: str | None = None
    seed: int | None = None
    version: str | None = None
    prior: str | None = None
    licence: str | None = None


def read_head(path: Path | str) -> ViewedHead:
    """The head of a Head folder, or of a GLB file, with what its file and its folder say of its origin.

    Raises:
        HeadArtistError: when there is none, or its file is damaged or refers to other files.
    """
    path = Path(path)
    if path.is_dir():
        return _read_folder(HeadFolder(path))
    if not path.is_file() or path.suffix.lower() != ".glb":
        raise HeadArtistError(
            f"{path} is neither a Head folder nor a .glb file: give the --out of `headartist generate`, or a GLB."
        )
    glb = path.read_bytes()
    return ViewedHead(glb, path.stem, **_origin(path, glb, {}))


def _read_folder(folder: HeadFolder) -> ViewedHead:
    if not folder.glb.is_file():
        folder.read_config()  # says so where this is no Head folder at all
        raise HeadArtistError(
            f"{folder.path} has no {folder.glb.name}: run `headartist export {folder.path}` once it is made."
        )
    glb = folder.glb.read_bytes()
    return ViewedHead(glb, folder.path.absolute().name or "head", **_origin(folder.glb, glb, folder.read_provenance()))


def view(sources: Sequence[Path], *, out: Path | None = None, show: bool = False) -> Path:
    """Write the viewer of some heads and return its path.

    Args:
        sources: Head folders and GLB files.
        out: the HTML file; by default `viewer.html` in the first Head folder, or beside the first GLB, named as it is.
        show: whether to open the page in the browser.

    Raises:
        HeadArtistError: when a head cannot be read or the page not be written there.
    """
    if out is not None and out.suffix.lower() not in (".html", ".htm"):
        raise HeadArtistError(f"The page {out} must end in .html: rename it, or another file may be lost.")
    heads = [read_head(source) for source in sources]
    with ExitStack() as claims:
        if out is None and sources:
            first = Path(sources[0])
            out = HeadFolder(first).viewer if first.is_dir() else first.with_suffix(".html")
            if HeadFolder(first).config.exists():
                folder = claims.enter_context(claimed(first))
                claims.enter_context(folder.owning([out.name])).append(out)
        path = Path(out or "viewer.html")
        write_viewer(path, heads)
    if show and not webbrowser.open(path.absolute().as_uri()):
        warnings.warn(f"no browser was found: open {path} in one", stacklevel=2)
    return path


def write_viewer(path: Path | str, heads: Sequence[ViewedHead]) -> None:
    """Write one page that shows `heads` side by side; it works from `file://` and asks the network for nothing.

    Args:
        path: the HTML file, replaced whole.
        heads: at least one.

    Raises:
        HeadArtistError: when there are no heads, or the path is a folder.
    """
    path = Path(path)
    if not heads:
        raise HeadArtistError("A viewer of 0 heads has nothing to show: give at least one Head folder or .glb file.")
    if path.is_dir():
        raise HeadArtistError(f"{path} is a folder: name a file in it, such as {path / 'viewer.html'}.")
    write_text(path, page(heads))


def page(heads: Sequence[ViewedHead]) -> str:
    """The page as text: `viewer.html` with the heads as blocks of data that no browser runs."""
    about = [_about(head) for head in heads]
    blocks = [_data_block("heads", "application/json", _inert(about))]
    for k, head in enumerate(heads):
        text = base64.b64encode(head.glb).decode("ascii")
        blocks.append(_data_block(f"head-{k}", "application/octet-stream;base64", text))
    before, place, after = _template().partition(_PLACE)
    assert place, "viewer.html has no place for heads"
    return before + "\n".join(blocks) + after


def _about(head: ViewedHead) -> dict[str, str | None]:
    """What the page says of a head; the seed as text, since a browser's numbers have no 64 bits."""
    known = {name: value for name, value in asdict(head).items() if name != "glb"}
    return known | {"seed": None if head.seed is None else str(head.seed)}


@cache
def _template() -> str:
    return _PAGE.read_text(encoding="utf-8")


def _data_block(name: str, kind: str, text: str) -> str:
    return f'<script id="{name}" type="{kind}">{text}</script>'


def _inert(value: object) -> str:
    """JSON that cannot end the block it stands in, whatever a prompt says: without `<`, `>`, `&`, and in ASCII."""
    text = json.dumps(value, allow_nan=False)
    return text.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026")


def _origin(path: Path, glb: bytes, provenance: Mapping[str, Any]) -> dict[str, Any]:
    """What a GLB's `asset` and a folder's provenance say; the GLB first, since it may have come from elsewhere."""
    document = _document(path, glb)
    asset = document["asset"]
    extras = asset.get("extras")
    record: dict[str, Any] = {**provenance, **(extras if isinstance(extras, dict) else {})}
    prior = provenance.get("prior")
    model = (prior.get("model") or prior.get("object")) if isinstance(prior, dict) else None
    seed = record.get("seed")
    return {
        "prompt": _text(record.get("prompt")),
        "seed": seed if isinstance(seed, int) else None,
        "version": _text(record.get("headartist")),
        "prior": _text(model),
        "licence": _text(record.get("licence") or asset.get("copyright")),
    }


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _document(path: Path, glb: bytes) -> dict[str, Any]:
    """The JSON chunk of a GLB (glTF 2.0, section 4.4), when a page can show it by itself.

    Raises:
        HeadArtistError: when it is damaged, no GLB at all, or refers to other files.
    """
    try:
        magic, version, length, chunk, kind = struct.unpack_from("<4sIIII", glb)
        document = json.loads(glb[20 : 20 + chunk])
        whole = (magic, version, kind) == (b"glTF", 2, _JSON_CHUNK) and length == len(glb)
        whole = whole and isinstance(document["asset"], dict)
        links = [part.get("uri", "data:") for parts in ("buffers", "images") for part in document.get(parts, [])]
        strangers = [unquote(link) for link in links if not link.startswith("data:")]
    except (struct.error, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        whole = False
    if not whole:
        raise HeadArtistError(f"{path} is damaged or not a GLB: {_MISMADE}")
    if strangers:
        raise HeadArtistError(f"{path} refers to another file, {strangers[0]!r}: {_MISMADE}")
    return document

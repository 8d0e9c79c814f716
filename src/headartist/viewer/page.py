"""The viewer: heads and all that shows them in one HTML file, which a browser opens without any network.

The page itself, `viewer.html`, is bundled by `tools/viewer`. Nothing here needs torch.
"""

import base64
import json
import warnings
import webbrowser
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from headartist.system.errors import HeadArtistError
from headartist.system.files import replacing
from headartist.training.belongings import is_page
from headartist.training.folder import HeadFolder, claimed
from headartist.viewer.viewable import read_document

_PAGE = files("headartist.viewer") / "viewer.html"
_PLACE = "<!-- heads -->"
LARGEST_PAGE = 500_000_000  # letters; browsers hold no text of 2**29
SUFFIXES = (".glb", ".vrm")  # a VRM is a GLB


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
    """Read the head of a Head folder, or of a GLB file, with what its file and its folder say of its origin.

    Raises:
        HeadArtistError: when there is none, or its file is too large, damaged or more than a page can show.
    """
    path = Path(path)
    file = _file(path)
    _check_size([file])
    glb = file.read_bytes()
    provenance = HeadFolder(path).read_provenance() if path.is_dir() else {}
    name = path.absolute().name or "head" if path.is_dir() else path.stem
    return ViewedHead(glb, name, **_origin(read_document(str(file), glb), provenance))


def _file(path: Path) -> Path:
    """Find the GLB of a Head folder, or take the file itself; what is no regular file might never end."""
    if not path.is_dir():
        if path.is_file() and path.suffix.lower() in SUFFIXES:
            return path
        raise HeadArtistError(
            f"{path} is neither a Head folder nor a .glb file: give the --out of `headartist generate`, or a GLB."
        )
    folder = HeadFolder(path)
    for part in (folder.config, folder.provenance, folder.glb):
        if part.exists() and not part.is_file():
            raise HeadArtistError(f"{part} is not a regular file: move it away.")
    if not folder.glb.is_file():
        folder.read_config()  # says so where this is no Head folder at all
        raise HeadArtistError(f"{path} has no {folder.glb.name}: run `headartist export {path}` once it is made.")
    return folder.glb


def _check_size(files: Sequence[Path]) -> None:
    letters = sum(file.stat().st_size for file in files) * 4 // 3
    if letters > LARGEST_PAGE:
        names, most = " and ".join(map(str, files)), LARGEST_PAGE / 1e6
        raise HeadArtistError(
            f"{names} would make a page of {letters / 1e6:,.0f} MB, and browsers open {most:,.0f} MB: view fewer heads "
            "at once, or save them smaller (`headartist export --variant game`)."
        )


def view(sources: Sequence[Path | str], *, out: Path | str | None = None, show: bool = False) -> Path:
    """Write the viewer of some heads and return its path.

    Args:
        sources: Head folders and GLB files.
        out: the HTML file; by default `viewer.html` in the first Head folder, or beside the first GLB, named as it is.
        show: whether to open the page in the browser.

    Raises:
        HeadArtistError: when a head cannot be read, the page not be written there, or no browser could open it.
    """
    out = None if out is None else Path(out)
    if out is not None and out.suffix.lower() not in (".html", ".htm"):
        raise HeadArtistError(f"The page {out} must end in .html: rename it, or another file may be lost.")
    _check_size([_file(Path(source)) for source in sources])
    heads = [read_head(source) for source in sources]
    with ExitStack() as claims:
        if out is None and sources:
            first = Path(sources[0])
            out = HeadFolder(first).viewer if first.is_dir() else first.with_suffix(".html")
            if out.is_file() and not is_page(out):
                raise HeadArtistError(f"{out} is there and no page of headartist: name another with --out.")
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
    with replacing(path) as draft, draft.open("w", encoding="utf-8") as file:
        file.writelines(_pieces(heads))


def page(heads: Sequence[ViewedHead]) -> str:
    """Write the page as text: `viewer.html` with the heads as blocks of data that no browser runs."""
    return "".join(_pieces(heads))


def _pieces(heads: Sequence[ViewedHead]) -> Iterator[str]:
    """Write the page head by head, so that one at a time is in memory twice."""
    before, place, after = _template().partition(_PLACE)
    assert place, "viewer.html has no place for heads"
    yield before
    yield _data_block("heads", "application/json", _inert([_about(head) for head in heads]))
    for k, head in enumerate(heads):
        text = base64.b64encode(head.glb).decode("ascii")
        yield "\n" + _data_block(f"head-{k}", "application/octet-stream;base64", text)
    yield after


def _about(head: ViewedHead) -> dict[str, str | None]:
    """Collect what the page says of a head; the seed as text, since a browser's numbers have no 64 bits."""
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


def _origin(document: Mapping[str, Any], provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Collect what a GLB's `asset` and a folder's provenance say; the GLB first: it may be from elsewhere."""
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

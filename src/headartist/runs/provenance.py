"""Provenance: where a head comes from, so that it can be made again."""

import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from headartist.config.config import Config
from headartist.config.priors import PriorConfig
from headartist.config.template import OPEN, landmark_file, split_template
from headartist.heads.kept_template import load_kept
from headartist.heads.load import load_template
from headartist.heads.template import HeadTemplate
from headartist.priors.files.hub import locate
from headartist.priors.files.hub_cache import check_content
from headartist.priors.files.layout import WEIGHTS, weights_variant
from headartist.priors.files.sources import resolve
from headartist.system.errors import HeadArtistError, shown
from headartist.system.files import content_hash
from headartist.system.version import package_version
from headartist.training.folder import HeadFolder

if TYPE_CHECKING:  # it is made of what is here
    import headartist.runs.head


def provenance(
    config: Config, template: Mapping[str, str], device: torch.device, prior: object | None
) -> dict[str, Any]:
    """Record a run: versions, template, prior, seed, device.

    Args:
        config: what was asked.
        template: its record (see `template_record`).
        device: where it runs.
        prior: a prior that was passed as an object; None for the one that the config names.
    """
    return {
        "headartist": package_version(),
        "commit": _commit(),
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "prompt": config.prompt,
        "seed": config.seed,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        "threads": torch.get_num_threads(),
        "template": dict(template),
        "prior": prior_record(config) if prior is None else {"object": type(prior).__qualname__},
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def begun(
    config: Config,
    reworded: Config,
    begun_with: Mapping[str, str],
    device: torch.device,
    prior: object | None,
    parent: "headartist.runs.head.Head | None",
    objectives: Mapping[str, object],
) -> dict[str, Any]:
    """Make the record that a run begins with.

    Args:
        config: what was asked.
        reworded: what the prior is told, where that is something else.
        begun_with: the template's record that its Head folder, or its parent's, has.
        device: where it runs.
        prior: a prior that was passed as an object; None for the one that the config names.
        parent: the head that is edited; None for a head that begins as the template.
        objectives: those that were passed as objects, by their stage's name.
    """
    # An edit has its parent's template; else the file that is named must still be the one that the head began with.
    template = begun_with if parent is not None else template_record(config.template, gone=begun_with)
    record = provenance(config, template, device, prior)
    if reworded != config:
        record["reworded_prompt"] = reworded.prompt
    if objectives:
        record["objectives"] = {stage: type(own).__qualname__ for stage, own in objectives.items()}
    if parent is not None:
        record["parent"] = {"folder": parent.folder.name, "sha256": config.parent, "prompt": parent.config.prompt}
    return record


def continued(record: dict[str, Any], before: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Make the record of a run that goes on where `before` stopped: it began when that began.

    Args:
        record: of this run.
        before: the folder's; empty where there is none.
        folder: the Head folder.

    Raises:
        HeadArtistError: when another prior, template or objective is at work; the same content under another
            name is the same.
    """
    if not before:
        return record
    if before.get("template", record["template"]) != record["template"]:
        raise HeadArtistError(
            f"{folder} was begun with another template, or landmarks of it, of the same name: use --overwrite to start "
            "again, another --out, or bring that file back."
        )
    old, new = (made.get("prior", {}) for made in (before, record))
    if changed := _changes(old, new):
        raise HeadArtistError(
            f"{folder} was begun with another prior ({changed}): use --overwrite to start again, another --out, or "
            "bring that prior back."
        )
    if before.get("objectives", {}) != record.get("objectives", {}):
        raise HeadArtistError(
            f"{folder} was begun with other objectives ({shown(before.get('objectives', {}))}): give those again, use "
            "--overwrite to start again, or another --out."
        )
    return record | {"started": before.get("started", record["started"])}


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Say what tells two records of a prior apart; nothing where they are of the same weights."""
    if "sha256" in old and "sha256" in new:
        parts = {part for part, _ in {*old["sha256"].items()} ^ {*new["sha256"].items()}}
        return f"other weights in {', '.join(sorted(parts))}" if parts else ""
    names = [str(record.get("model") or record.get("object")) for record in (old, new)]
    return "" if old == new else " -> ".join(names)


def template_at_rest(template: str, home: HeadFolder | None) -> tuple[HeadTemplate, Mapping[str, str]]:
    """Load a head's template without identity and expression, and its record.

    That is the kept one, else the user's file.

    Args:
        template: as the user typed it; a relative path counts from the folder that headartist runs in.
        home: the Head folder that may keep it, which may have been made by a release that kept none; None for a head
            that begins.

    Raises:
        HeadArtistError: when what is kept is damaged, or nothing is and the file is not there, is another one, or
            cannot be used.
    """
    if template == OPEN:
        return load_template(), template_record(OPEN)
    if home is None:
        return load_template(template), template_record(template)
    before = home.read_provenance().get("template") or {}
    if home.template.exists():
        return load_kept(home.template), before
    if not split_template(template)[0].is_file():
        raise HeadArtistError(
            f"{home.path} keeps no template of its own, and {template!r}, which it was made from, is not there: bring "
            "that file back, or run headartist in the folder that this path counts from."
        )
    record = template_record(template)
    if before and before != record:
        raise HeadArtistError(
            f"{home.path} was begun with another template, or landmarks of it, of the same name: bring that file back."
        )
    return load_template(template), record


def template_record(template: str, gone: Mapping[str, str] | None = None) -> Mapping[str, str]:
    """Name the shipped template, or give the sha256 of the user's file and landmarks; names may change.

    Args:
        template: as the user typed it.
        gone: the record to give when that file is not there.
    """
    if template == OPEN:
        return {"name": OPEN}
    path, group = split_template(template)
    if gone is not None and not path.is_file():
        return gone
    landmarks = landmark_file(path)
    own = {"landmarks_sha256": content_hash(landmarks)} if landmarks.is_file() else {}
    return {"sha256": content_hash(path), **own, **({"group": group} if group else {})}


def prior_record(config: Config) -> dict[str, Any]:
    """Give the prior's ids and the sha256 of its weights files, which must be on this machine.

    Of a second prior and further ones it holds the sha256 alone, under names that begin with their own.

    Raises:
        HeadArtistError: a file of the hub's cache is not what it was fetched as.
    """
    record, *others = (_record_of(prior) for prior in config.priors)
    for number, other in enumerate(others, start=2):
        named = {f"{number} {other['model']} {part}": sha256 for part, sha256 in other["sha256"].items()}
        record["sha256"] |= named
    return record


def _record_of(prior: PriorConfig) -> dict[str, Any]:
    source = resolve(prior.model, None if prior.controlnet == "own" else prior.controlnet)
    folders = locate(source, half=False, offline=True)
    return {
        "model": source.name,
        "base": _identity(folders["unet"].parent),
        "controlnet": _identity(folders["controlnet"]) if "controlnet" in folders else None,
        "sha256": {part: _weights_hash(folder, part) for part, folder in folders.items() if part in WEIGHTS},
    }


def _identity(folder: Path) -> str:
    """Call a folder as others find it: `owner/name@revision` in the hub's cache, else its name."""
    parts = folder.resolve().parts
    if "snapshots" in parts:
        at = parts.index("snapshots")
        return f"{parts[at - 1].removeprefix('models--').replace('--', '/')}@{'/'.join(parts[at + 1 :])}"
    return folder.name


def _weights_hash(folder: Path, part: str) -> str:
    variant = weights_variant(folder, part)
    weights = folder / f"{WEIGHTS[part]}{f'.{variant}' if variant else ''}.safetensors"
    sha256 = content_hash(weights)
    check_content(weights, sha256)
    return sha256


def _commit() -> str | None:
    """Ask git for the commit that this very file is tracked in; None for an installed package."""
    here = Path(__file__)
    try:
        for command in (["ls-files", "--error-unmatch", here.name], ["rev-parse", "HEAD"]):
            answer = subprocess.run(["git", *command], cwd=here.parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return answer.stdout.strip()

"""The command line: `headartist generate "a DSLR portrait of a clown"` and its sisters.

Torch is imported when the work begins, so that help and mistakes are answered at once.
"""

import shlex
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from headartist.commands.arguments import (
    Command,
    Doctor,
    Edit,
    Explain,
    Export,
    Generate,
    Presets,
    Video,
    View,
    parse,
)
from headartist.config.config import Config
from headartist.config.explain import explain
from headartist.config.exports import Exports
from headartist.config.presets import PRESETS, preset
from headartist.config.text import from_json, override, to_json
from headartist.runs.editing import edit, edit_config
from headartist.runs.exporting import write_meshes, write_video
from headartist.runs.generation import generate
from headartist.runs.sweep import generate_seeds
from headartist.system.errors import HeadArtistError, one_line
from headartist.system.json_files import read_text
from headartist.system.version import package_version
from headartist.training.folder import HeadFolder, claimed
from headartist.viewer.page import view

if TYPE_CHECKING:  # torch comes with it
    import headartist.runs.head

DONE, MISTAKE = 0, 2


def run(arguments: Sequence[str]) -> int:
    """Carry out one command line and return the exit status: 0, or 2 for a user's mistake.

    What becomes of signals and streams is settled by `headartist.door`.
    """
    if list(arguments) == ["--version"]:
        print(f"headartist {package_version()}")
        return DONE
    command = parse(arguments)
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning  # type: ignore[assignment]
        try:
            return _carry_out(command)
        except HeadArtistError as error:
            print(f"headartist: {error}", file=sys.stderr)
            return MISTAKE
        except OSError as error:  # a full disk, a lost permission: the system's words say enough
            words = f"{error.filename}: {error.strerror}" if error.filename else str(error)
            print(f"headartist: {one_line(words)}", file=sys.stderr)
            return MISTAKE


def _carry_out(command: Command) -> int:
    """Do what a command asks; its results go to stdout and all talk to stderr."""
    match command:
        case Generate():
            _generate(command)
        case Edit():
            _edit(command)
        case Export(path):
            names = ("formats", "texture_size", "rig", "eyes", "iris", "variant", "delight")
            exports = Exports(**{name: getattr(command, name) for name in names})
            with _opened(path) as head:
                for written in write_meshes(head, exports):
                    print(written)
        case Video(path, views, size, fps):
            exports = Exports(video_views=views, video_size=size, video_fps=fps)
            with _opened(path) as head:
                print(write_video(head, exports))
        case View(heads, out, show):
            print(view(heads, out=out, show=show))
        case Presets(None):
            for name, config in PRESETS.items():
                stages = ", ".join(f"{stage.name} {stage.steps:,}" for stage in config.stages)
                print(f"{name:10} prior {config.prior.model}; steps: {stages}")
        case Presets(name):
            print(to_json(preset(name)), end="")
        case Explain(name, overrides):
            usual = preset(name)
            print(explain(override(usual, overrides), usual), end="")
        case Doctor():
            return _doctor()
        case _:
            assert_never(command)
    return DONE


def _generate(command: Generate) -> None:
    """Make the head or the heads, and print the Head folder or the sheet."""
    config, progress = _config(command), not command.quiet
    if command.seeds is None:
        head = generate(command.prompt, config, out=command.out, overwrite=command.overwrite, progress=progress)
        _finish(head.folder, quiet=command.quiet)
        return
    out = Path("heads") if command.out is None else command.out
    sheet = generate_seeds(
        command.prompt, config, command.seeds, out=out, overwrite=command.overwrite, progress=progress
    )
    print(sheet)
    if not command.quiet:
        all_of_them = f"{shlex.quote(str(out))}/{sheet.name.removesuffix('seeds.png')}[0-9]*"
        _tell_next(f"headartist view {all_of_them} --out heads.html --open")


def _edit(command: Edit) -> None:
    """Make the edited head, and say how much of its parent is left."""
    config, progress = _edit_config(command), not command.quiet
    head = edit(command.head, config, out=command.out, overwrite=command.overwrite, progress=progress)

    from headartist.evaluate.edit_fidelity import noted  # here, because torch comes with it

    print(noted(head.provenance), file=sys.stderr)
    _finish(head.folder, quiet=command.quiet)


def _finish(folder: Path, *, quiet: bool) -> None:
    """Print a finished head's folder, and say on stderr what to type next."""
    print(folder)
    if not quiet:
        head = shlex.quote(str(folder))
        _tell_next(f"headartist view {head} --open", f"headartist export {head} --formats glb --eyes")


def _tell_next(*commands: str) -> None:
    sys.stdout.flush()  # so that it is the last line where both streams lead to one place
    print(f"next: {', or '.join(commands)}", file=sys.stderr)


def _doctor() -> int:
    """Print what was found, and tell by the status whether something is in the way of a run."""
    from headartist.commands.doctor import findings  # here, because torch comes with it

    found = list(findings())
    width = max(len(each.subject) for each in found)
    for each in found:
        print(f"{'!' if each.mend else ' '} {each.subject:{width}}  {each.text}")
        if each.mend:
            print(f"  {'':{width}}  {each.mend}")
    hindered = any(each.stops for each in found)
    print("Something is in the way of a run (!)." if hindered else "Nothing is in the way of a run.")
    return MISTAKE if hindered else DONE


@contextmanager
def _opened(path: Path) -> Iterator["headartist.runs.head.Head"]:
    """A head whose folder is written to meanwhile."""
    HeadFolder(path).read_config()  # before torch is imported: most mistakes are found here
    with claimed(path):
        from headartist.runs.head import load_head

        yield load_head(path)


def _config(command: Generate) -> Config:
    """The preset, or the given config, with the command's options and overrides applied."""
    config = _starting_config(command)
    prior = {"model": command.prior, "controlnet": command.controlnet, "dtype": command.dtype}
    start = {"template": command.template, "identity": command.identity, "expression": command.expression}
    own = {"seed": command.seed, **start}
    run_settings = {"device": command.device, "threads": command.threads}
    assignments = [
        f"{prefix}{name}={value}"
        for prefix, settings in (("prior.", prior), ("", own), ("run.", run_settings))
        for name, value in settings.items()
        if value is not None
    ]
    if command.negative is not None:
        assignments += [
            f"{stage.name}.terms.{number}.negative={command.negative}"
            for stage in config.stages
            for number, term in enumerate(stage.terms)
            if term.draws == "color"
        ]
    return override(config, [*assignments, *command.overrides])


def _edit_config(command: Edit) -> Config:
    """The config of the edit, with the command's options and overrides applied."""
    names = ("geometry_steps", "texture_steps", "keep_geometry", "keep_texture", "reshape", "expression")
    asked = {name: getattr(command, name) for name in names}
    config = edit_config(command.head, command.instruction, base=command.preset, **asked)
    own = {"seed": command.seed, "prior.model": command.prior}
    run_settings = {"run.device": command.device, "run.threads": command.threads}
    given = [f"{path}={value}" for path, value in (own | run_settings).items() if value is not None]
    return override(config, [*given, *command.overrides])


def _starting_config(command: Generate) -> Config:
    if command.config is None:
        return preset("embedded" if command.preset is None else command.preset)
    if command.preset is not None:
        raise HeadArtistError(f"--preset {command.preset} and --config {command.config} exclude each other: give one.")
    return _read_config(command.config)


def _read_config(path: Path) -> Config:
    try:
        if path.is_dir():
            return HeadFolder(path).read_config()
        return from_json(read_text(path), source=str(path))
    except OSError:
        raise HeadArtistError(f"--config {path} cannot be read: give a JSON file or a Head folder.") from None


def _show_warning(message: Warning | str, *_details: object) -> None:
    print(f"headartist: warning: {message}", file=sys.stderr)

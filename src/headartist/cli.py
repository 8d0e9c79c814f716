"""The command line: `headartist generate "a DSLR portrait of a clown"` and its sisters.

Torch is imported when the work begins, so that help and mistakes are answered at once.
"""

import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, assert_never

import tyro

from headartist.config.config import Config
from headartist.config.exports import Exports, Format, Iris, Variant
from headartist.config.presets import PRESETS, preset
from headartist.config.text import from_json, override, to_json
from headartist.runs.editing import edit, edit_config
from headartist.runs.generation import generate, write_meshes, write_video
from headartist.runs.sweep import generate_seeds
from headartist.system.errors import HeadArtistError, one_line
from headartist.system.json_files import read_text
from headartist.training.folder import HeadFolder, claimed
from headartist.viewer.page import view

if TYPE_CHECKING:  # torch comes with it
    import headartist.training.checkpoint

DONE, MISTAKE = 0, 2

_UNSET = "(default: the preset's)"
_KEPT = "(default: the head's own)"
Word = Annotated[str | None, tyro.conf.arg(metavar="WORD", help_behavior_hint=_UNSET)]
Number = Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint=_UNSET)]
Place = Annotated[Path | None, tyro.conf.arg(metavar="PATH", help_behavior_hint="")]
Prompt = Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="PROMPT", help_behavior_hint="")]
HeadPath = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="HEAD", help_behavior_hint="")]
Instruction = Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="INSTRUCTION", help_behavior_hint="")]
Overrides = Annotated[
    tyro.conf.UseAppendAction[tuple[str, ...]], tyro.conf.arg(name="set", metavar="PATH=VALUE", help_behavior_hint="")
]


@dataclass(frozen=True)
class Generate:
    """Make a head from a sentence.

    Started again with the same settings, it goes on where it was stopped.
    """

    prompt: Prompt
    """whose head, as in "a DSLR portrait of an old man with a beard"; the embedded prior knows no names"""
    preset: Annotated[str | None, tyro.conf.arg(metavar="WORD", help_behavior_hint="(default: embedded)")] = None
    """settings to start from; `headartist presets` lists them"""
    config: Place = None
    """settings to start from instead of a preset: a JSON file, or the Head folder of an earlier head"""
    seed: Number = None
    """every random draw follows from it"""
    seeds: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="")] = None
    """make N heads, of this seed and the next ones, and a sheet of them all; those that are done stay as they are"""
    out: Place = None
    """the Head folder, heads/<prompt>-<seed> by default; with --seeds the folder of them all, heads by default"""
    prior: Word = None
    """the judge: embedded, sd21, sd15, a diffusers folder or a hub id"""
    controlnet: Word = None
    """its landmark ControlNet: a folder or a hub id"""
    dtype: Word = None
    """precision of the prior: auto, float32, bfloat16 or float16"""
    device: Word = None
    """auto, cpu, cuda or cuda:N"""
    threads: Number = None
    """CPU threads; 0 leaves the choice to torch"""
    negative: Word = None
    """negative text of the stages that draw colour"""
    template: Annotated[str | None, tyro.conf.arg(metavar="PATH", help_behavior_hint=_UNSET)] = None
    """the head to start from: open, a FLAME file (.pkl, .npz, .safetensors) or a mesh (.obj, .ply, .stl, .glb, .gltf,
    .vrm), FILE#NAME for one of its objects or groups"""
    identity: Word = None
    """which person of the template: seed:7, or shape directions in standard deviations, 0=1.5,3=-2; those of the open
    head called size, heavy, wide, crown and chin by name too, wide=-1.5"""
    expression: Word = None
    """its expression, as in jawOpen=0.6,mouthSmileLeft=0.5"""
    overwrite: bool = False
    """start again, in place of whatever head is in the folder"""
    quiet: bool = False
    """no progress bars"""
    overrides: Overrides = ()
    """any other setting by its path, as in geometry.steps=300, "texture.objective=Ssd(7.5, anchor=0.3)" or
    "texture.t_max=Linear(0.98, 0.7, begin=0.25)"; `headartist presets NAME` prints all paths"""


@dataclass(frozen=True)
class Edit:
    """Change a finished head by a sentence: its shape moves, then its colours; the head itself stays as it is.

    Started again with the same settings, it goes on where it was stopped.
    """

    head: HeadPath
    """the Head folder to start from"""
    instruction: Instruction
    """what is new, as in "with a beard"; or a whole new prompt, as in "a DSLR portrait of a young man" """
    preset: Annotated[str | None, tyro.conf.arg(metavar="WORD", help_behavior_hint=_KEPT)] = None
    """settings whose stages and prior to use"""
    geometry_steps: Number = None
    """steps of moving the shape"""
    texture_steps: Number = None
    """steps of colouring"""
    keep_geometry: bool = False
    """leave the shape as it is"""
    keep_texture: bool = False
    """leave the colours as they are"""
    reshape: bool = False
    """let hair and hats grow farther than vertices move; less of the head is sure to stay"""
    expression: Annotated[str | None, tyro.conf.arg(metavar="WORD", help_behavior_hint=_KEPT)] = None
    """the landmarks' expression, as in jawOpen=0.6,mouthSmileLeft=0.5"""
    seed: Number = None
    """every random draw follows from it"""
    out: Place = None
    """the new Head folder; beside the old one by default"""
    prior: Word = None
    """the judge: embedded, sd21, sd15, a diffusers folder or a hub id"""
    device: Word = None
    """auto, cpu, cuda or cuda:N"""
    threads: Number = None
    """CPU threads; 0 leaves the choice to torch"""
    overwrite: bool = False
    """start again, in place of whatever head is in the new folder"""
    quiet: bool = False
    """no progress bars"""
    overrides: Overrides = ()
    """any other setting by its path, as in edit_geometry.objective.cfg_scale=20"""


@dataclass(frozen=True)
class Export:
    """Write a head's meshes again, with other settings."""

    head: HeadPath
    """the Head folder"""
    formats: tuple[Format, ...] = Exports().formats
    """which files"""
    texture_size: int = 1024
    """pixels of the square texture"""
    rig: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = True
    """leave out the template's shapes, joints, mouth, teeth and tongue"""
    eyes: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = False
    """with the rig, open the lids and set in the template's eyeballs"""
    iris: Iris = "painted"
    """of those eyeballs: as the head's eyes are painted, or the colour of plain ones"""
    variant: Variant = "full"
    """game writes head_game files of at most 20,000 triangles and a texture of at most 1,024 pixels"""
    delight: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = False
    """divide the soft light that was learned with the colours out of them"""


@dataclass(frozen=True)
class Video:
    """Film a head on a turntable."""

    head: HeadPath
    """the Head folder"""
    views: int = 120
    """frames of one turn"""
    size: int = 512
    """height in pixels"""
    fps: int = 30
    """frames a second"""


@dataclass(frozen=True)
class View:
    """Write one HTML file that shows heads in a browser, without a network."""

    heads: Annotated[
        tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="HEAD [HEAD ...]", help_behavior_hint="")
    ]
    """Head folders or .glb files, to be seen side by side"""
    out: Place = None
    """the HTML file; viewer.html in the first Head folder by default"""
    open: bool = False
    """open it in the browser"""


@dataclass(frozen=True)
class Presets:
    """List the presets, or print one as JSON."""

    name: Annotated[tyro.conf.Positional[str | None], tyro.conf.arg(metavar="[NAME]")] = None
    """the preset to print; save it, change it and give it to --config"""


Command = (
    Annotated[Generate, tyro.conf.subcommand("generate")]
    | Annotated[Edit, tyro.conf.subcommand("edit")]
    | Annotated[Export, tyro.conf.subcommand("export")]
    | Annotated[Video, tyro.conf.subcommand("video")]
    | Annotated[View, tyro.conf.subcommand("view")]
    | Annotated[Presets, tyro.conf.subcommand("presets")]
)


def run(arguments: Sequence[str]) -> int:
    """Carry out one command line and return the exit status: 0, or 2 for a user's mistake.

    What becomes of signals and streams is settled by `headartist_command`.
    """
    command = tyro.cli(
        Command,
        prog="headartist",
        description="A sentence becomes a 3D head.",
        args=list(arguments),
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning  # type: ignore[assignment]
        try:
            _carry_out(command)
        except HeadArtistError as error:
            print(f"headartist: {error}", file=sys.stderr)
            return MISTAKE
        except OSError as error:  # a full disk, a lost permission: the system's words say enough
            words = f"{error.filename}: {error.strerror}" if error.filename else str(error)
            print(f"headartist: {one_line(words)}", file=sys.stderr)
            return MISTAKE
    return DONE


def _carry_out(command: Generate | Edit | Export | Video | View | Presets) -> None:
    match command:
        case Generate():
            print(_generate(command))
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
        case _:
            assert_never(command)


def _generate(command: Generate) -> Path:
    """Make the head or the heads; returns the Head folder or the sheet."""
    config, progress = _config(command), not command.quiet
    if command.seeds is None:
        return generate(command.prompt, config, out=command.out, overwrite=command.overwrite, progress=progress).folder
    out = Path("heads") if command.out is None else command.out
    return generate_seeds(
        command.prompt, config, command.seeds, out=out, overwrite=command.overwrite, progress=progress
    )


def _edit(command: Edit) -> None:
    """Make the edited head, and say how much of its parent is left."""
    config, progress = _edit_config(command), not command.quiet
    head = edit(command.head, config, out=command.out, overwrite=command.overwrite, progress=progress)

    from headartist.evaluate.edit_fidelity import Likeness  # here, because torch comes with it

    print(Likeness(**head.provenance["likeness"]))
    print(head.folder)


@contextmanager
def _opened(path: Path) -> Iterator["headartist.training.checkpoint.Head"]:
    """A head whose folder is written to meanwhile."""
    HeadFolder(path).read_config()  # before torch is imported: most mistakes are found here
    with claimed(path):
        from headartist.training.checkpoint import load_head

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

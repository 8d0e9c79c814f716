"""The command line's grammar: every command's options, and how words become one of them. Nothing here needs torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, cast

import tyro

from headartist.config.exports import Exports, Format, Iris, Variant

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
    """no progress bars, and no word of what to do next"""
    overrides: Overrides = ()
    """any other setting by its path, as in geometry.steps=300, "texture.objective=Ssd(7.5, anchor=0.3)" or
    "texture.t_max=Linear(0.98, 0.7, begin=0.25)"; `headartist config` prints all paths"""


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
    """no progress bars, and no word of what to do next"""
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


@dataclass(frozen=True)
class Explain:
    """Print every setting of a preset, with what it is; a star marks what --set changes."""

    preset: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="[PRESET]")] = "embedded"
    """the preset; `headartist presets` lists them"""
    overrides: Overrides = ()
    """settings by their paths, as `generate` takes them"""


@dataclass(frozen=True)
class Doctor:
    """Say what this machine has for making heads, and what is in the way; exit status 2 where something is."""


Command = (
    Annotated[Generate, tyro.conf.subcommand("generate")]
    | Annotated[Edit, tyro.conf.subcommand("edit")]
    | Annotated[Export, tyro.conf.subcommand("export")]
    | Annotated[Video, tyro.conf.subcommand("video")]
    | Annotated[View, tyro.conf.subcommand("view")]
    | Annotated[Presets, tyro.conf.subcommand("presets")]
    | Annotated[Explain, tyro.conf.subcommand("config")]
    | Annotated[Doctor, tyro.conf.subcommand("doctor")]
)


def parse(arguments: Sequence[str]) -> Command:
    """Read one command line.

    Raises:
        SystemExit: help was asked for, or the grammar refuses a word; either is told on the terminal.
    """
    grammar = cast(Any, Command)  # a union, which type checkers take for no class
    return cast(
        Command,
        tyro.cli(
            grammar,
            prog="headartist",
            description="A sentence becomes a 3D head. `headartist --version` tells the release.",
            args=list(arguments),
            config=(tyro.conf.FlagCreatePairsOff,),
        ),
    )

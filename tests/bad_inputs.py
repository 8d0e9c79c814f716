"""Bad input by class: command lines, settings and damaged files, and what must become of each of them.

Run `python tests/bad_inputs.py` for the table. Nothing is trained: where the slow work would begin, input counts as
accepted.
"""

import contextlib
import io
import json
import os
import signal
import struct
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import mock

os.environ["HF_HUB_OFFLINE"] = "1"  # nothing here asks the network

import torch
from safetensors.torch import load_file, save_file

import headartist.config.limits
from headartist import cli
from headartist.avatars.tet import TetAvatar
from headartist.config.avatars import FieldConfig, TetConfig
from headartist.config.presets import SMOKE
from headartist.config.stage import Stage
from headartist.config.text import from_json, override, to_json
from headartist.heads.template import HeadTemplate
from headartist.priors import load_prior
from headartist.system.errors import HeadArtistError, one_line
from headartist.training import loop
from headartist.training.checkpoint import Position, save_checkpoint, save_head
from headartist.training.folder import HeadFolder, open_folder
from headartist.training.optimizer import make_optimizer
from headartist.training.problem import Problem, judges
from toys import ToyPrior

CPU = torch.device("cpu")
MEMORY = 24 << 30  # of the machine that the cases suppose
LONGEST_S = 10.0
LONGEST_SENTENCE = 420
FIELD = FieldConfig(levels=2, base=4, growth=2.0, log2_table=6, width=4, depth=1)
AVATAR = TetConfig(resolution=4, shape=FIELD, color=FIELD, sdf_base="template")
CONFIG = replace(SMOKE, prompt="a clown", avatar=AVATAR, exports=replace(SMOKE.exports, rig=False))

Call = Callable[[], int]


class Accepted(BaseException):
    """Raised where the slow work would begin."""


class Hang(BaseException):
    """Raised when an input takes too long."""


@dataclass(frozen=True)
class Case:
    """One input.

    Attributes:
        call: what the user does, in the current folder, after which an exit status is left.
        names: a word that the sentence must hold.
        prepare: makes the files that it finds, in the current folder.
    """

    call: Call
    names: str = ""
    prepare: Callable[[], object] = lambda: None


@dataclass(frozen=True)
class Outcome:
    """What became of an input: "told" or "accepted", or "traceback", "hang" or "bad sentence" with its details."""

    kind: str
    told: str = ""


def line(*arguments: str) -> Call:
    """A command line."""
    return lambda: cli.run(list(arguments))


def generate(*options: str, names: str | None = None) -> Case:
    """`headartist generate clown` with options, of which the sentence names the first value."""
    first = next((option for option in options if not option.startswith("-")), "")
    return Case(line("generate", "clown", *options), first if names is None else names)


def assign(assignment: str) -> Case:
    """A `--set`, which the sentence names by the last word of its path."""
    return Case(line("generate", "clown", "--set", assignment), _last_name(assignment))


def override_with(assignment: str) -> Case:
    """The same from Python, which is quicker."""
    return Case(called(lambda: override(SMOKE, [assignment])), _last_name(assignment))


def _last_name(assignment: str) -> str:
    path, _, value = assignment.partition("=")
    inner = value.partition("(")[0] in ("Linear", "Piecewise", "Constant", "Ssd") or value == "seed"
    return "" if inner or "\ud800" in path or len(path) > 100 else path.strip().rpartition(".")[2]


def called(function: Callable[[], object]) -> Call:
    """A call of the Python interface, whose errors are printed as the command line does."""

    def call() -> int:
        try:
            function()
        except HeadArtistError as error:
            print(f"headartist: {error}", file=sys.stderr)
            return cli.MISTAKE
        except OSError as error:
            print(f"headartist: {one_line(str(error))}", file=sys.stderr)
            return cli.MISTAKE
        return cli.DONE

    return call


@called
def resume() -> None:
    """What a run does with the files that it finds in `head`, before its first step."""
    folder = HeadFolder(Path("head"))
    config = folder.read_config()
    folder.read_provenance()
    avatar = TetAvatar.empty(config.avatar)
    problem = Problem(config, avatar, mock.Mock(spec=HeadTemplate), judges(config, lambda _: ToyPrior()), CPU)
    list(loop.train(problem, folder, torch.Generator()))


def made_head(step: int = 3) -> HeadFolder:
    """A folder `head` with a checkpoint after some steps of the first stage, or a finished head for -1."""
    folder = HeadFolder(Path("head"))
    open_folder(folder, CONFIG)
    folder.write_provenance({"prompt": "a clown", "template": {"name": "open"}, "prior": {"model": "x", "sha256": {}}})
    avatar, generator = TetAvatar.empty(AVATAR), torch.Generator()
    if step < 0:
        save_head(folder, Position(len(CONFIG.stages), 0, 1.0), avatar, generator)
        return folder
    optimizer = make_optimizer(avatar, CONFIG.stages[0])
    avatar.sdf(torch.zeros(1, 3)).sum().backward()
    optimizer.step()
    save_checkpoint(folder, Position(0, step, 1.0), avatar, optimizer, generator, [])
    for row in range(step):
        folder.append_metrics({"stage": CONFIG.stages[0].name, "step": row, "loss": 1.0})
    return folder


def damaged(file: str, content: bytes) -> Callable[[], object]:
    """A head with a file of other content."""
    return lambda: (made_head().path / file).write_bytes(content)


def with_metadata(progress: object, *, raw: bool = False) -> Callable[[], object]:
    """A checkpoint that says to have come so far."""
    metadata = None if progress is None else {"progress": str(progress) if raw else json.dumps(progress)}

    def prepare() -> None:
        path = made_head().checkpoint
        save_file(load_file(path), path, metadata)

    return prepare


def with_tensors(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[], object]:
    """A checkpoint whose tensors were changed."""

    def prepare() -> None:
        path = made_head().checkpoint
        tensors = load_file(path)
        change(tensors)
        plain = {name: tensor.contiguous() for name, tensor in tensors.items()}
        save_file(plain, path, {"progress": json.dumps({"stage": 0, "step": 3, "seconds": 1.0})})

    return prepare


def instead(file: str, make: Callable[[Path], object]) -> Callable[[], object]:
    """A finished head with something else in the place of a file."""

    def prepare() -> None:
        path = made_head(-1).path / file
        path.unlink(missing_ok=True)
        make(path)

    return prepare


def settings(value: Any = CONFIG, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every setting of a config, as its place in the JSON and its value."""
    for item in fields(value):
        inner, place = getattr(value, item.name), (*path, item.name)
        if item.name in ("stages", "terms"):
            for index, each in enumerate(inner):
                yield from settings(each, (*place, index))
        elif is_dataclass(inner) and not hasattr(inner, "value"):
            yield from settings(inner, place)
        else:
            yield place, inner


@cache
def _text(stages: tuple[Stage, ...]) -> str:
    return to_json(replace(CONFIG, stages=stages))


def changed_json(place: tuple[Any, ...], value: Any, stages: tuple[Stage, ...] = CONFIG.stages) -> str:
    """The config's JSON with some stages, and another value at a place."""
    data = json.loads(_text(stages))
    inner = data
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = value
    return json.dumps(data)


def from_file(text: str | bytes, names: str = "") -> Case:
    """`--config x.json` with that content."""
    content = text if isinstance(text, bytes) else text.encode("utf-8")
    call = line("generate", "clown", "--config", "x.json", "--out", "new", "--prior", "embedded")
    return Case(call, names, lambda: Path("x.json").write_bytes(content))


WRONG = (
    float("nan"),
    float("inf"),
    -float("inf"),
    -1,
    1e308,
    True,
    "\0",
    "x\ud800",
    None,
    {},
    {"type": "Nosuch"},
    [[]],
)
WRONG_NUMBERS = (*WRONG, "x", [])


def _wrong_values() -> Iterator[Case]:
    once = [(CONFIG.stages[:1], place, value) for place, value in settings(replace(CONFIG, stages=CONFIG.stages[:1]))]
    losses = [((stage,), ("stages", 0, "terms", 0, "objective"), stage.term.objective) for stage in CONFIG.stages[1:]]
    inner = [
        (stages, (*place, item.name), getattr(loss, item.name))
        for stages, place, loss in losses
        for item in fields(loss)
    ]
    for stages, place, value in once + inner:
        number = (isinstance(value, int | float) and not isinstance(value, bool)) or hasattr(value, "value")
        for wrong in WRONG_NUMBERS if number else WRONG:
            if (wrong is None and value is None) or (wrong is True and isinstance(value, bool)):
                continue
            text = changed_json(place, wrong, stages)
            named = "" if place[-1] in ("name", "first", "last") else str(place[-1])
            yield Case(called(lambda text=text: from_json(text)), named)


DEEP = 100_000
LITERALS = [
    "{[]:1}",
    "{{}}",
    "-" * 60_000 + "1",
    "-" * 400 + "1",
    "(" * 450,
    "[" * 450 + "]" * 40,
    "1" * 400,
    "1" * 5_000,
    "0x" + "f" * 480,
    "1_" * 200,
    "nan",
    "inf",
    "-inf",
    "1e999",
    "-1e999",
    "1e308",
    "'x'",
    "b'x'",
    "f'{1}'",
    "...",
    "None",
    "True",
    "()",
    "[]",
    "{}",
    "{'type': 'Ssd'}",
    "lambda: 1",
    "a.b",
    "a[0]",
    "__import__('os').system('x')",
    "x()",
    "Nosuch()",
    "Nosuch(1, 2)",
    "Ssd(*x)",
    "Ssd(**{'cfg_scale': 1})",
    "Ssd(1, cfg_scale=2)",
    "Ssd(type=Sds)",
    "Ssd(1,2,3,4)",
    "Ssd(x=1)",
    "Ssd(1",
    "Linear(0,1,0,-1)",
    "Linear(0,1,.5,.5)",
    "Piecewise(0,1,-1)",
    "Piecewise(0,1,5000)",
    "Piecewise(nan,1,1)",
    "Constant(nan)",
    "Constant(1e308)",
    "1 if 1 else 2",
    "1if 1else 2",
    "1+1",
    "1+2j",
    "2j",
    "not 1",
    "~1",
    "'\\d'",
    "\\",
    "#",
    ";",
    "\n",
    "\t",
    "\r\n",
    "\u202e",
    "\0",
    "\ud800",
    "x\ud800y",
    "é" * 300,
    "1 " * 249,
    "9" * 20,
    "1e400",
    "0b1" + "0" * 400,
    "yield 1",
    "await x",
    "x:=1",
    "*x",
    "**x",
    "=",
    "==",
    "===",
    ",",
    ",,",
    ", ,",
    "Ssd(Ssd(Ssd(Ssd(1))))",
    "Ssd(cfg_scale=Ssd())",
    "Ssd([1])",
    "Ssd({})",
    "Ssd(None)",
    "Ssd(True)",
    "Ssd('1')",
    "Ssd(-1)",
    "Ssd(1e308)",
    "Refine(ddim_steps=1000000000)",
    "Refine(inner_steps=10**9)",
    "Refine(features=x)",
    "Refine(residual=1)",
    "TetConfig()",
    "Config()",
]
TARGETS = ["geometry.steps", "geometry.background", "geometry.t_max", "geometry.draws", "run.log_every", "views.radius"]


def _assignments() -> Iterator[Case]:
    for literal in LITERALS:
        yield assign(f"geometry.objective={literal}")
        for target in TARGETS:
            yield override_with(f"{target}={literal}")


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _loop(path: Path) -> None:
    path.symlink_to(path.name)


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        header = json.dumps({"avatar.x": {"dtype": "F32", "shape": [1 << 32], "data_offsets": [0, 1 << 34]}}).encode()
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + (1 << 34))


STRANGE: dict[str, Callable[[Path], object]] = {
    "pipe": _pipe,
    "endless": _endless,
    "loop": _loop,
    "folder": lambda path: path.mkdir(),
    "sparse": _sparse,
    "empty": lambda path: path.write_bytes(b""),
    "gone": lambda _path: None,
}

BAD_ROWS = [
    b"{",
    b"[]",
    b"null",
    b"1",
    b'"x"',
    b"{}",
    b'{"stage": "geometry"}',
    b'{"stage": "nosuch", "step": 1}',
    b'{"stage": "geometry", "step": "x"}',
    b'{"stage": [], "step": 1}',
    b'{"stage": "geometry", "step": null}',
    b"\xff\xfe\x00",
    b"[" * DEEP,
    b"1" * 5_000,
    b"\x00" * 50,
    b"",
    b'{"stage": "geometry", "step": NaN}',
]
_SMALL = {"seconds": 1.0, "step": 3, "stage": 0}
BAD_PROGRESS = [
    [],
    1,
    "x",
    None,
    {},
    {"nosuch": 1},
    _SMALL | {"more": 1},
    _SMALL | {"stage": 99},
    _SMALL | {"stage": -1},
    _SMALL | {"stage": 1.0},
    _SMALL | {"stage": True},
    _SMALL | {"stage": None},
    _SMALL | {"stage": "0"},
    _SMALL | {"stage": []},
    _SMALL | {"step": -1},
    _SMALL | {"step": 10**30},
    _SMALL | {"step": 1.5},
    _SMALL | {"step": float("nan")},
    _SMALL | {"step": 21},
    _SMALL | {"step": {}},
    _SMALL | {"stage": 3, "step": 5},
    _SMALL | {"seconds": float("nan")},
    _SMALL | {"seconds": -1},
    _SMALL | {"seconds": float("inf")},
    _SMALL | {"seconds": "x"},
    _SMALL | {"stage": 4, "step": 0},
    _SMALL | {"stage": 10**400},
]


def _set(name: str, value: torch.Tensor) -> Callable[[dict[str, torch.Tensor]], object]:
    return lambda tensors: tensors.update({name: value})


_MOMENT = torch.zeros(1)
BAD_TENSORS: list[Callable[[dict[str, torch.Tensor]], object]] = [
    _set("optimizer.0", _MOMENT),
    _set("optimizer.", _MOMENT),
    _set("optimizer.x.exp_avg", _MOMENT),
    _set("optimizer.-1.exp_avg", _MOMENT),
    _set("optimizer.99.exp_avg", _MOMENT),
    _set("optimizer.0.nosuch", _MOMENT),
    _set("optimizer.0.exp_avg", _MOMENT),
    _set("optimizer.0.exp_avg", torch.zeros(1, dtype=torch.int64)),
    _set("optimizer.0.step", torch.zeros(3)),
    _set("generator", _MOMENT),
    _set("generator", torch.zeros(5, dtype=torch.uint8)),
    _set("generator", torch.zeros(0, dtype=torch.uint8)),
    lambda t: t.pop("generator"),
    lambda t: t.pop("optimizer.0.step"),
    lambda t: t.pop("optimizer.0.exp_avg"),
    lambda t: t.pop("avatar.steps"),
    _set("avatar.nosuch", _MOMENT),
    _set("avatar.steps", torch.zeros(())),
    _set("avatar.steps", torch.zeros(3, dtype=torch.int64)),
    _set("avatar.known_sdf", torch.zeros(3)),
    _set("avatar.known_sdf", torch.zeros(125, dtype=torch.float64)),
    _set("avatar.known_sdf", torch.zeros(125, dtype=torch.bool)),
    _set("avatar.sdf.encoding.table", torch.zeros(2, 2)),
    _set("avatar.sdf.encoding.table", torch.zeros(2, 2, dtype=torch.complex64)),
]

RECORDS = [
    "[]",
    "null",
    "1",
    '"x"',
    "{",
    "",
    "NaN",
    '{"prior": null}',
    '{"prior": []}',
    '{"prior": "x"}',
    '{"template": null}',
    '{"template": []}',
    '{"prior": {"sha256": null}}',
    '{"prior": {"sha256": []}}',
    '{"prior": {"sha256": {"unet": []}}}',
    '{"started": []}',
    '{"started": {}}',
    '{"likeness": 1}',
    '{"edit_fidelity": 1}',
    '{"parent": []}',
    '{"prompt": ["x"]}',
    '{"a": 1, "a": 2}',
    "[" * DEEP,
    '{"x": ' * 2_000,
    "1" * 5_000,
    "\ufeff[]",
    " " * (2 << 20),
]
GOOD = json.loads(to_json(CONFIG))
JSON_TEXTS: list[str | bytes] = [
    "",
    " ",
    "{",
    "}",
    "[]",
    "null",
    "1",
    '"x"',
    "true",
    "NaN",
    "[" * DEEP,
    '{"a":' * DEEP,
    "[" * DEEP + "]" * DEEP,
    "1" * 5_000,
    '{"seed": ' + "1" * 5_000 + "}",
    to_json(CONFIG) + "x",
    to_json(CONFIG) + to_json(CONFIG),
    to_json(CONFIG)[:-20],
    "\ufeff{",
    '{"seed": 1, "seed": 2}',
    '{"stages": [], "stages": []}',
    to_json(CONFIG).encode("utf-16"),
    to_json(CONFIG).encode("utf-32"),
    to_json(CONFIG).encode("utf-16-le"),
    b"\xff\xfe",
    b"\x00" * 100,
    b"\x80",
    b"%PDF-1.4",
    os.urandom(200),
    b" " * (2 << 20),
    json.dumps(GOOD | {"nosuch": 1}),
    json.dumps(GOOD | {"sede": 1}),
    json.dumps(GOOD | {"version": 2}),
    json.dumps(GOOD | {"": 1}),
    json.dumps(GOOD | {"x" * 5_000: 1}),
    json.dumps(GOOD | {"a\nb": 1}),
    json.dumps(GOOD | {"\ud800": 1}),
    json.dumps(GOOD | {"type": "Nosuch"}),
    json.dumps(GOOD | {"type": 1}),
    json.dumps(GOOD | {"type": None}),
    json.dumps(GOOD | {"type": []}),
    json.dumps(GOOD | {"stages": GOOD["stages"] * 50}),
    json.dumps(GOOD | {"stages": [1]}),
    json.dumps(GOOD | {"stages": {}}),
    json.dumps(GOOD | {"stages": "x"}),
    json.dumps(GOOD | {"stages": None}),
    json.dumps(GOOD | {"stages": [GOOD["stages"][0]] * 2}),
    json.dumps({"stages": GOOD["stages"], "avatar": {"resolution": 10**400}}),
    json.dumps(GOOD | {"run": {"type": "Exports"}}),
    json.dumps(GOOD | {"prior": {"type": "Nosuch", "model": "embedded"}}),
    json.dumps(GOOD | {"prompt": "x" * 20_000, "negative": 1}),
    json.dumps(GOOD | {"view_text": "appendd"}),
    json.dumps(GOOD | {"exports": {"formats": "glbb"}}),
    json.dumps(GOOD | {"views": {"azimuth_deg": [1, 2, 3]}}),
    json.dumps(GOOD | {"views": {"radius": [3]}}),
    json.dumps(GOOD | {"views": {"radius": [4, 3]}}),
    json.dumps(GOOD | {"parent": "0" * 64}),
    json.dumps(GOOD | {"identity": "x" * 20_000}),
    json.dumps(GOOD | {"template": "x\0.obj"}),
]

SIZES = [
    "avatar.resolution=2000",
    "avatar.resolution=3000",
    "avatar.resolution=1",
    "avatar.resolution=1000000000000",
    "avatar.shape.depth=100000",
    "avatar.shape.width=1000000",
    "avatar.shape.levels=1000",
    "avatar.shape.log2_table=60",
    "avatar.color.log2_table=60",
    "avatar.shape.base=100000",
    "avatar.shape.growth=1e308",
    "avatar.shape.growth=15",
    "avatar.band=1000000",
    "avatar.fit_steps=10000000000",
    "avatar.radius=1e-300",
    "avatar.radius=1e300",
    "avatar.offset_cells=1e30",
    "geometry.render_size=100000",
    "geometry.render_size=7",
    "geometry.views=100000",
    "geometry.views=1024",
    "texture.render_size=8192",
    "geometry.steps=10000000000",
    "exports.texture_size=1000000",
    "exports.texture_size=16384",
    "exports.video_size=100000",
    "exports.video_views=1000000000",
    "exports.video_fps=1000000",
    "run.threads=3000000000",
    "run.threads=-1",
    "refinement.objective.inner_steps=10000000000",
    "refinement.objective.ddim_steps=10000000",
    "geometry.objective.cfg_scale=1e30",
    "geometry.rates.mlp=1e30",
    "geometry.regularizers.laplacian=1e300",
    "geometry.weight_decay=1e300",
    "landmarks.back_view_deg=1e9",
    "seed=9223372036854775808",
]


def _head_command(command: str, *options: str, prepare: Callable[[], object] = lambda: None, names: str = "") -> Case:
    return Case(line(command, "head", *options), names, prepare)


def _classes() -> dict[str, list[Case]]:
    posix = os.name != "nt"
    strange = {name: make for name, make in STRANGE.items() if posix or name in ("folder", "sparse", "empty", "gone")}
    finished = lambda: made_head(-1)  # noqa: E731 - a name for a preparation
    return {
        "--set, whatever is typed": [
            *_assignments(),
            *(
                assign(text)
                for text in (
                    "",
                    "=",
                    "x",
                    "seed",
                    "=3",
                    ".=3",
                    "..=3",
                    "a" * 100_000,
                    "a." * 50_000 + "b=1",
                    "stages=3",
                )
            ),
            *(
                assign(text)
                for text in (
                    "geometry=3",
                    "prior=Nosuch()",
                    "prior=",
                    "avatar=3",
                    "seed.x.y=1",
                    "\ud800=1",
                    "\n=1",
                    "prompt=\0",
                )
            ),
            *(
                assign(text)
                for text in (
                    "exports.formats=glb,,",
                    "exports.formats=glbb",
                    "geometry.trains=",
                    "geometry.name=",
                    "template=\ud800",
                )
            ),
            *(
                assign(text)
                for text in (
                    "geometry.name=seed",
                    "geometry.name=texture",
                    "geometry.name=" + "a" * 100,
                    "geometry.draws=\ud800",
                )
            ),
        ],
        "sizes and counts": [
            *(assign(text) for text in SIZES),
            *(generate("--seeds", n) for n in ("0", "-1", "1000000000", "1001", "1" * 400)),
            *(generate("--threads", n) for n in ("3000000000", "-1", "1" * 400)),
            *(generate("--seed", n) for n in ("-1", "9223372036854775808", "1" * 400)),
            generate("--seed", "9223372036854775807", "--seeds", "2", names="seed"),
            *(
                _head_command("video", "--size", n, prepare=finished, names="size")
                for n in ("100000", "0", "-2", "33", "4098")
            ),
            *(_head_command("video", "--views", n, prepare=finished, names="views") for n in ("-1", "1000000000")),
            *(_head_command("video", "--fps", n, prepare=finished, names="fps") for n in ("0", "-1", "1000000000")),
            *(
                _head_command("export", "--texture-size", n, prepare=finished)
                for n in ("0", "-1", "15", "100000", "1" * 400)
            ),
            *(
                _head_command("edit", "with a beard", "--geometry-steps", n, prepare=finished)
                for n in ("-1", "10000000000")
            ),
        ],
        "words that are no choice": [
            generate("--preset", ""),
            generate("--preset", "papper"),
            generate("--preset", "x" * 10_000, names="preset"),
            generate("--preset", "a\nb"),
            *(
                generate("--device", d, names="device")
                for d in (
                    "",
                    "gpu",
                    "cuda:",
                    "cuda:-1",
                    "cuda:x",
                    "cuda:1:1",
                    "cuda:" + "9" * 23,
                    "cuda:\u0663",
                    "CPU",
                    "\0",
                )
            ),
            *(
                generate("--dtype", d, names="dtype")
                for d in ("", "float61", "auto,float32", "Auto", "\ud800", "x" * 10_000)
            ),
            Case(line("presets", ""), "preset"),
            Case(line("presets", "nosuch"), "nosuch"),
            Case(line("presets", "\0"), "preset"),
        ],
        "options that are none": [
            Case(line()),
            Case(line("")),
            Case(line("nosuch")),
            Case(line("generate")),
            Case(line("generate", "a", "b")),
            Case(line("edit")),
            Case(line("edit", "head")),
            Case(line("view", "--nosuch")),
            Case(line("generate", "clown", "--nosuch")),
            Case(line("--", "x")),
            Case(line("generate", "clown", "--seed")),
            Case(line("generate", "clown", "--seed", "x")),
            Case(line("video", "head", "--size", "1.5")),
            Case(line("generate", "clown", "--seed", "1" * 5_000)),
            Case(line("export", "head", "--formats", "glbb")),
            Case(line("video")),
            Case(line("export", "head", "--variant", "x" * 5_000)),
            Case(line("generate", "clown", "--seeds", "nan")),
        ],
        "a config of JSON": [*(from_file(text) for text in JSON_TEXTS)],
        "a config's values": [*_wrong_values()],
        "a config's file": [
            *(
                Case(
                    line("generate", "clown", "--config", "c/x"),
                    "x",
                    lambda make=make: (Path("c").mkdir(), make(Path("c/x"))),
                )
                for make in strange.values()
            ),
            *(
                generate("--config", path, names="")
                for path in ("", "nowhere", "x\0y", "x" * 300, "x/" * 3_000, "\udcff", "a\nb", "~nobody")
            ),
            generate("--config", "x", "--preset", "quick", names="exclude"),
        ],
        "the place of a head": [
            *(
                Case(line(*command), "", lambda make=make: (Path("head").mkdir(), make(Path("head/config.json"))))
                for make in strange.values()
                for command in (
                    ("export", "head"),
                    ("video", "head"),
                    ("edit", "head", "old"),
                    ("generate", "clown", "--config", "head"),
                )
            ),
            *(
                Case(line(*command, path, *more))
                for path in (
                    "",
                    "nowhere",
                    "x\0y",
                    "x" * 300,
                    "x/" * 3_000,
                    "\udcff",
                    "a\nb",
                    "/dev/null",
                    "/dev/zero",
                    "x" * 10_000,
                )
                for command, more in ((("export",), ()), (("video",), ()), (("edit",), ("old",)))
            ),
            *(Case(line("export", "head"), "", lambda make=make: make(Path("head"))) for name, make in strange.items()),
        ],
        "a damaged head": [
            *(
                Case(line(*command), "head", instead(file, make))
                for file in ("head.safetensors", "checkpoint/state.safetensors")
                for name, make in strange.items()
                for command in (("export", "head"), ("video", "head"))
            ),
            *(
                Case(line("edit", "head", "old"), "", instead("head.safetensors", make))
                for name, make in strange.items()
                if name != "empty"
            ),
        ],
        "a checkpoint's metadata": [
            *(Case(resume, "state.safetensors", with_metadata(progress)) for progress in BAD_PROGRESS),
            *(
                Case(resume, "state.safetensors", with_metadata(text, raw=True))
                for text in ("", "{", "[" * DEEP, "1" * 5_000, "\0")
            ),
            *(
                Case(line("export", "head"), "state.safetensors", with_metadata(progress))
                for progress in BAD_PROGRESS[:8]
            ),
        ],
        "a checkpoint's tensors": [*(Case(resume, "head", with_tensors(change)) for change in BAD_TENSORS)],
        "a provenance": [
            *(Case(resume, "provenance.json", damaged("provenance.json", text.encode())) for text in RECORDS)
        ],
    }


def _others() -> dict[str, list[Case]]:
    """Inputs of templates, priors and prompts."""
    finished = lambda: made_head(-1)  # noqa: E731 - a name for a preparation
    paths = ("", "x\0y", "x" * 300, "/dev/zero", "\udcff", "~nobody/x", "a\nb", ".", "/")
    return {
        "prompts": [
            Case(line("generate", prompt))
            for prompt in ("", " ", "\0", "\ud800", "a\ud800b", "x" * 100_000, "\u200b", "\n")
        ],
        "templates": [
            generate("--template", path + suffix, names="emplate" if len(path) < 9 else "")
            for path in paths
            for suffix in ("", ".obj", ".pkl", ".npz", ".glb")
        ],
        "identities": [
            *(
                generate("--identity", text)
                for text in ("0=1e300", "0=nan", "x", "=", "seed:-1", "seed:" + "9" * 400, "9" * 400 + "=1", "0=1,0=1")
            ),
            *(
                generate("--expression", text)
                for text in ("jawOpen=1e300", "x", "=1", "jawOpen=nan", "jawOpen", "jawOpen=1,jawOpen=1")
            ),
        ],
        "priors": [
            *(Case(called(lambda path=path: load_prior(path))) for path in (*paths, "a/b", "a/b/c", "x" * 10_000)),
            *(Case(called(lambda path=path: load_prior("embedded", controlnet=path))) for path in paths),
        ],
        "places to write to": [
            *(
                generate("--out", path, names="")
                for path in ("x\0y", "x" * 300, "x/" * 3_000, "/dev/zero", "/dev/null/x", "/proc/x")
            ),
            *(
                Case(line("view", "head", "--out", path), "", finished)
                for path in ("x\0y", "x" * 300, "/dev/null/x", ".")
            ),
        ],
        "pages": [
            Case(line("view", path)) for path in ("", "x\0y", "x" * 300, "/dev/zero", "\udcff", "a\nb", ".", "x.glb")
        ],
    }


def _good() -> dict[str, list[Case]]:
    """Inputs that must be accepted, or go on working."""
    literals = [
        "geometry.objective=Ssd(7.5, anchor=0.3)",
        "geometry.objective=Sds(50)",
        "texture.t_max=Linear(0.98, 0.7, begin=0.25, end=0.5)",
        "seed=0x10",
        "texture.t_max=Piecewise(1, .5, .1)",
        "texture.t_max=0.5",
        "geometry.trains=sdf",
        "exports.formats=glb,ply",
        "views.radius=3, 3.5",
        "views.radius=(3, 3.5)",
        "texture.negative=a=b, c",
        "texture.negative=",
        "avatar.resolution=128",
        "geometry.steps=0",
        "geometry.steps=1_000",
        "run.checkpoint_every=1000000000",
        "prior=StableDiffusion(model=sd15)",
        "geometry.text=ein Löwe 🦁",
        "views.azimuth_deg=-180,180",
        "seed=-0",
        "exports.texture_size=4096",
        "exports.video_size=1080",
        "geometry.render_size=512",
        "geometry.views=8",
        "avatar.shape.log2_table=19",
    ]
    options = [
        [],
        ["--preset", "quick"],
        ["--seed", "9223372036854775807"],
        ["--device", "cuda:7"],
        ["--threads", "64"],
        ["--dtype", "bfloat16"],
        ["--identity", "seed:7"],
        ["--expression", "jawOpen=0.6"],
        ["--negative", "a, b"],
        ["--seeds", "8"],
        ["--out", "a b"],
        ["--out", "Köpfe/ä"],
    ]
    return {
        "settings": [assign(literal) for literal in literals],
        "options": [generate(*each) for each in options],
        "configs": [
            from_file(to_json(CONFIG)),
            from_file("\ufeff" + to_json(CONFIG)),
            from_file(to_json(CONFIG).replace("\n", "\r\n")),
            from_file(json.dumps({"stages": GOOD["stages"]})),
            from_file(json.dumps(GOOD | {"prompt": "é\n"}, ensure_ascii=False)),
        ],
        "heads": [
            Case(line(*command), "", prepare)
            for prepare in (made_head, lambda: made_head(-1))
            for command in (("export", "head"), ("video", "head"))
        ],
        "damaged metrics": [Case(resume, "", damaged("metrics.jsonl", row + b"\n" + row)) for row in BAD_ROWS],
    }


CLASSES = _classes()
GOOD_INPUTS = _good()
OTHERS = _others()


def _accepted(*_arguments: object, **_rest: object) -> Any:
    raise Accepted


@contextlib.contextmanager
def bounded(seconds: float = LONGEST_S) -> Iterator[None]:
    """Raise `Hang` in what takes longer, where the system has alarms."""
    if not hasattr(signal, "setitimer"):
        yield
        return

    def ring(*_: object) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def nothing_slow() -> Iterator[None]:
    """What takes long raises `Accepted` instead."""
    generation = import_module("headartist.runs.generation")
    with (
        mock.patch.object(generation, "_optimize", _accepted),
        mock.patch.object(generation, "check_prior"),
        mock.patch.object(loop, "train_step", _accepted),
        mock.patch("headartist.export.export_head", _accepted),
        mock.patch("headartist.export.turntable_video", _accepted),
        mock.patch.object(headartist.config.limits, "machine_memory", return_value=MEMORY),
    ):
        yield


def outcome(case: Case) -> Outcome:
    """What becomes of an input."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", errors) for errors in ("strict", "backslashreplace"))
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        case.prepare()
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), bounded():
                status: object = case.call()
        except SystemExit as ended:  # the command line's parser
            return _judged(case, ended.code, _written(err), parser=True)
        except Accepted:
            return Outcome("accepted")
        except Hang:
            return Outcome("hang")
        except Exception:
            return Outcome("traceback", traceback.format_exc())
    return Outcome("accepted") if status == cli.DONE else _judged(case, status, _written(err), parser=False)


def _written(stream: io.TextIOWrapper) -> str:
    stream.flush()
    content = stream.buffer
    assert isinstance(content, io.BytesIO)
    return content.getvalue().decode()


def _judged(case: Case, status: object, told: str, *, parser: bool) -> Outcome:
    fine = status == cli.MISTAKE and told and "Traceback" not in told
    if parser:
        return Outcome("told" if fine and len(told) < 20_000 else "bad sentence", told)
    one = (
        told.count("\n") == 1
        and told.endswith("\n")
        and len(told) < LONGEST_SENTENCE
        and told.startswith("headartist: ")
    )
    return Outcome("told" if fine and one and case.names[:20].split("\n")[0] in told else "bad sentence", told)


def table(classes: dict[str, list[Case]]) -> list[tuple[str, Counter[str], list[str], float]]:
    """Every class with its outcomes, what was wrong in words, and the seconds that it took."""
    rows = []
    for name, cases in classes.items():
        started = time.perf_counter()
        with nothing_slow():
            found = [outcome(case) for case in cases]
        wrong = [f"{index}: {each.kind}: {each.told[-400:]}" for index, each in enumerate(found)]
        rows.append((name, Counter(each.kind for each in found), wrong, time.perf_counter() - started))
    return rows


def main() -> None:
    """Print the table."""
    kinds = ("traceback", "hang", "accepted", "bad sentence")
    for title, classes in (("bad input", CLASSES), ("of other rooms", OTHERS), ("good input", GOOD_INPUTS)):
        print(f"{title:28}{'inputs':>8}" + "".join(f"{kind:>14}" for kind in kinds) + f"{'seconds':>10}")
        for name, counts, wrong, seconds in table(classes):
            print(f"{name:28}{counts.total():8}" + "".join(f"{counts[kind]:14}" for kind in kinds) + f"{seconds:10.1f}")
            if "-v" in sys.argv:
                print(*wrong, sep="\n")
        print()


if __name__ == "__main__":
    main()

"""Checkpoints and finished heads: what an avatar, its optimizer and its draws need to go on, bit for bit."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from headartist.avatars.avatar import TrainableAvatar
from headartist.config.bounds import Count, Within, check_settings
from headartist.config.config import Config
from headartist.config.limits import require_size
from headartist.system.errors import HeadArtistError
from headartist.system.files import replacing
from headartist.system.json_files import parse_json
from headartist.training.folder import HeadFolder


@dataclass(frozen=True)
class Position:
    """How far a run has come.

    Attributes:
        stage: index of the current stage; the number of stages when all is done.
        step: steps of that stage that are done.
        seconds: wall time of all runs so far.
    """

    stage: Count = 0
    step: Count = 0
    seconds: Annotated[float, Within(0, 1e12)] = 0.0

    def __post_init__(self) -> None:
        check_settings(self, "progress.")


@dataclass(frozen=True)
class Checkpoint:
    """A state read back from disk.

    Its tensors go by "avatar.<name>", "optimizer.<index>.<name>", "objective.<term>.<name>" and "generator".
    """

    path: Path
    position: Position
    tensors: Mapping[str, Tensor]

    def objective(self, term: int) -> dict[str, Tensor]:
        """Return what the objective of a term of the stage had learned and drawn."""
        return _under(f"objective.{term}.", self.tensors)

    def restore_generator(self, generator: torch.Generator) -> None:
        """Put the random draws where they were.

        Raises:
            HeadArtistError: when the file is damaged.
        """
        try:
            generator.set_state(self.tensors["generator"])
        except (KeyError, RuntimeError, TypeError) as error:  # torch's words for a state that is none
            raise _damaged(self.path, error) from error

    def restore_avatar(self, avatar: TrainableAvatar) -> None:
        """Put the avatar where it was.

        Raises:
            HeadArtistError: when it is another kind of avatar than the one that was saved.
        """
        saved = _under("avatar.", self.tensors)
        if _forms(saved) != _forms(avatar.state_dict()):
            raise HeadArtistError(
                f"The head in {self.path.parent.parent} does not fit its own config.json: bring the old config.json "
                "back, or use --overwrite to start again."
            )
        avatar.load_state_dict(saved)

    def restore_optimizer(self, optimizer: torch.optim.Optimizer) -> None:
        """Give the moments back to an optimizer of the same parameters; before its first step there are none.

        Raises:
            HeadArtistError: when they are not those of such an optimizer.
        """
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        saved = _under("optimizer.", self.tensors)
        state: dict[int, dict[str, Tensor]] = {}
        for index, parameter in enumerate(parameters):
            moments = _under(f"{index}.", saved)
            wanted = {"exp_avg": parameter, "exp_avg_sq": parameter, "step": torch.zeros(())}
            if moments and _forms(moments) != _forms(wanted):
                raise _damaged(self.path, f"moments of parameter {index} that no optimizer keeps")
            if moments:
                state[index] = moments
        if len(saved) != sum(map(len, state.values())):
            raise _damaged(self.path, "moments of parameters that the stage does not train")
        optimizer.load_state_dict(optimizer.state_dict() | {"state": state})


def save_checkpoint(
    folder: HeadFolder,
    position: Position,
    avatar: TrainableAvatar,
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
    objectives: Sequence[Mapping[str, Tensor]],
) -> None:
    """Replace the checkpoint in one move; a kill at any moment leaves the old one or the new one, whole."""
    tensors = {f"avatar.{name}": tensor for name, tensor in avatar.state_dict().items()}
    for term, learned in enumerate(objectives):
        tensors |= {f"objective.{term}.{name}": tensor for name, tensor in learned.items()}
    for index, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": torch.as_tensor(moment) for name, moment in moments.items()}
    _write(folder.checkpoint, tensors | {"generator": generator.get_state()}, _as_metadata(position))


def save_head(folder: HeadFolder, position: Position, avatar: TrainableAvatar, generator: torch.Generator) -> None:
    """Write the finished avatar as `head.safetensors`, then let the checkpoint say that nothing is left to do."""
    _write(folder.weights, avatar.state_dict(), {"format": "pt"})
    _write(folder.checkpoint, {"generator": generator.get_state()}, _as_metadata(position))


def load_checkpoint(folder: HeadFolder, config: Config | None = None) -> Checkpoint | None:
    """Return the last checkpoint of a folder, on the CPU; None before the first.

    Args:
        folder: the Head folder.
        config: its own, to hold the file against; None takes what is there.

    Raises:
        HeadArtistError: when the file is damaged, or is of another config.
    """
    if not folder.checkpoint.exists():
        return None
    for path in (folder.checkpoint, folder.weights):
        if config and path.exists():
            require_size(path, *config.avatars)
    tensors, metadata = _read(folder.checkpoint)
    progress = _progress(folder.checkpoint, metadata, config)
    if not _under("avatar.", tensors):  # finished: the avatar is the head
        tensors |= {f"avatar.{name}": tensor for name, tensor in _read(folder.weights)[0].items()}
    return Checkpoint(folder.checkpoint, progress, tensors)


def is_finished(folder: HeadFolder, config: Config) -> bool:
    """Tell whether all stages of the config are done in this folder."""
    if not folder.checkpoint.exists():
        return False
    with _opened(folder.checkpoint) as file:  # the header alone: weights may be large
        return _progress(folder.checkpoint, file.metadata() or {}, config).stage == len(config.stages)


def _as_metadata(position: Position) -> dict[str, str]:
    return {"progress": json.dumps(asdict(position))}


def _write(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with replacing(path) as draft:
        draft.write_bytes(save(plain, metadata))


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    if not path.is_file():  # a device or a pipe would be read without an end
        raise _damaged(path, "no regular file")
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise _damaged(path, error) from error


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    with _opened(path) as file:
        return {_name_today(name): file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118


def _name_today(name: str) -> str:
    """Translate a tensor's name of release 0.1.0; names of today stay."""
    name = re.sub(r"^(avatar\.)?colour\.", r"\1color.", re.sub(r"^optimiser\.", "optimizer.", name))
    return re.sub(r"^objective\.(?!\d)", "objective.0.", name)


def _progress(path: Path, metadata: Mapping[str, str], config: Config | None = None) -> Position:
    """Tell how far a checkpoint has come, by its file's metadata; within the stages of the config that it is of.

    Raises:
        HeadArtistError: when that is not said, or cannot be.
    """
    try:
        said = parse_json(metadata["progress"], "its progress")
        progress = Position(**{item.name: said.pop(item.name) for item in fields(Position)}, **said)
    except (KeyError, TypeError, AttributeError, HeadArtistError) as error:
        raise _damaged(path, "it does not say how far it has come") from error
    if config is None:
        return progress
    steps = [*(stage.steps for stage in config.stages), 0]
    if progress.stage >= len(steps) or progress.step > steps[progress.stage]:
        raise _damaged(path, f"stage {progress.stage + 1}, step {progress.step} is not of its config.json")
    return progress


def _damaged(path: Path, error: object) -> HeadArtistError:
    return HeadArtistError(f"{path} is damaged ({error}): use --overwrite to start again, or bring the file back.")


def _forms(tensors: Mapping[str, Tensor]) -> dict[str, tuple[torch.Size, torch.dtype]]:
    """Names, shapes and number formats."""
    return {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}

"""How the tetrahedral head starts: its signed distance made that of the template, and remembered on disk."""

import hashlib
import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from headartist.fields import Field, hash_levels
from headartist.files import replacing
from headartist.geometry.distance import SignedDistance
from headartist.geometry.mesh import Mesh
from headartist.geometry.tets import TetGrid
from headartist.tet_config import FieldConfig, TetConfig

BATCH = 10_000  # points an iteration (paper, supplement D)
_NEAR_SHARE = 0.5  # of the batch is drawn near the surface
_NEAR_CELLS = 2.0
_GRID_RATE, _MLP_RATE, _LAST_RATE = 1e-2, 1e-3, 0.05  # learning rates, and the share of them at the end
_SEED = 0
_VERSION = 1  # of this file's arithmetic: a new number makes every remembered start stale


def make_field(config: FieldConfig, outputs: int, radius: float, generator: torch.Generator) -> Field:
    """A fresh field of `outputs` values on the cube [-radius, radius]^3."""
    levels = hash_levels(config.levels, config.base, config.growth, config.log2_table)
    return Field(levels, outputs, radius=radius, width=config.width, depth=config.depth, generator=generator)


def initial_shape(config: TetConfig, mesh: Mesh) -> dict[str, Tensor]:
    """The tensors of a `TetAvatar` that make its surface the mesh's, computed once per mesh and config.

    With `sdf_base="template"` that is `sdf_base`, the mesh's signed distance at the grid's vertices; with "fit" the
    parameters of `sdf`. Kept in the folder `HEADARTIST_CACHE`, or in the user's cache folder. The computation draws
    from a generator of its own with a fixed seed, so the result follows from the arguments and, by rounding, from the
    kind of device and the release of torch; one is remembered for each.

    Args:
        config: of the head.
        mesh: what it starts from, in world units; an open bust is closed below.
    """
    path = _cache_folder() / f"shape-{_fingerprint(config, mesh)}.safetensors"
    # A damaged or unreadable file is no reason to stop: what it held is computed again.
    with suppress(OSError, SafetensorError):
        return load_file(path, device=str(mesh.verts.device))
    grid = TetGrid(config.resolution, config.radius)
    distance = SignedDistance(mesh)(grid.positions(mesh.verts.device))
    if config.sdf_base == "template":
        tensors = {"sdf_base": distance}
    else:
        fitted = _fitted(config, grid, distance)
        tensors = {f"sdf.{name}": tensor.detach() for name, tensor in fitted.state_dict().items()}
    # A read-only home costs a repetition, not the run.
    with suppress(OSError):
        _write(path, tensors)
    return tensors


def _fitted(config: TetConfig, grid: TetGrid, distance: Float[Tensor, "n"]) -> Field:
    """A field with `sum (s(p) - distance(p))^2` minimised over random points p (paper 4.2.1).

    Points are drawn from the grid's vertices, the only places where the field is ever asked, half of them from those
    near the surface.
    """
    generator = torch.Generator().manual_seed(_SEED)
    field = make_field(config.shape, 1, config.radius, generator).to(distance.device)
    positions = grid.positions(distance.device)
    near = (distance.abs() < _NEAR_CELLS * grid.cell).nonzero()[:, 0]
    near_count = int(BATCH * _NEAR_SHARE) if len(near) else 0
    groups = [
        {"params": list(field.encoding.parameters()), "lr": _GRID_RATE},
        {"params": list(field.mlp.parameters()), "lr": _MLP_RATE},
    ]
    optimiser = torch.optim.Adam(groups, betas=(0.9, 0.99), eps=1e-15, fused=True)
    decay = _LAST_RATE ** (1 / max(config.fit_steps, 1))
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimiser, decay)
    for _ in range(config.fit_steps):
        anywhere = torch.randint(len(grid), (BATCH - near_count,), generator=generator).to(distance.device)
        close = torch.randint(max(len(near), 1), (near_count,), generator=generator).to(distance.device)
        points = torch.cat([anywhere, near[close]])
        loss = (field(positions[points])[:, 0] - distance[points]).square().mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
    return field


def _cache_folder() -> Path:
    """Where results are remembered between runs."""
    named = os.environ.get("HEADARTIST_CACHE")
    return Path(named) if named else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "headartist"


def _fingerprint(config: TetConfig, mesh: Mesh) -> str:
    """A name for everything that the result follows from; what cannot change it is put back to its default."""
    default = TetConfig()
    relevant = replace(
        config, colour=default.colour, offset_cells=default.offset_cells, refresh=default.refresh, band=default.band
    )
    if config.sdf_base == "template":
        relevant = replace(relevant, shape=default.shape, fit_steps=default.fit_steps)
    digest = hashlib.sha256(f"{_VERSION} {torch.__version__} {mesh.verts.device.type} {relevant!r}".encode())
    digest.update(mesh.verts.detach().cpu().float().numpy().tobytes())
    digest.update(mesh.faces.cpu().long().numpy().tobytes())
    return digest.hexdigest()[:32]


def _write(path: Path, tensors: dict[str, Tensor]) -> None:
    """Save in one move, so that a killed or a second process never leaves half a file."""
    with replacing(path) as draft:
        save_file({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, draft)

"""How the tetrahedral head starts: its signed distance made that of the template, and cached on disk."""

from collections.abc import Callable
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from headartist.config.avatars import FieldConfig, TetConfig
from headartist.fields.field import Field
from headartist.fields.hash_grid import hash_levels
from headartist.geometry.distance import SignedDistance
from headartist.geometry.mesh import Mesh
from headartist.geometry.tets import TetGrid
from headartist.heads.landmarks import FEATURES
from headartist.system.cache import cached, fingerprint

BATCH = 10_000  # points an iteration (paper, supplement D)
_NEAR_SHARE = 0.5  # of the batch is drawn near the surface
_NEAR_CELLS = 2.0
_GRID_RATE, _MLP_RATE, _LAST_RATE = 1e-2, 1e-3, 0.05  # learning rates, and the share of them at the end
_SEED = 0
_CHUNK = 1 << 16  # points at a time, which bounds the memory of their distances
Tell = Callable[[int, int], object]
"""Is told how many steps are done, and of how many."""
NOSE = (168, 6, 197, 195, 5, 4, 1, 19, 94, 2, 98, 327)
REACH = 0.09  # world units: 2 cm on the open head
_VERSION = 1  # of this file's arithmetic: a new number makes every cached start stale


def make_field(config: FieldConfig, outputs: int, radius: float, generator: torch.Generator) -> Field:
    """Return a fresh field of `outputs` values on the cube [-radius, radius]^3."""
    levels = hash_levels(config.levels, config.base, config.growth, config.log2_table)
    return Field(levels, outputs, radius=radius, width=config.width, depth=config.depth, generator=generator)


def initial_shape(config: TetConfig, mesh: Mesh, tell: Tell | None = None, *, keep: bool = True) -> dict[str, Tensor]:
    """Return the tensors of a `TetAvatar` that make its surface the mesh's, computed once per mesh and config.

    With `sdf_base="template"` that is `sdf_base`, the mesh's signed distance at the grid's vertices; with "fit" the
    parameters of `sdf`. The computation draws from a generator of its own with a fixed seed, so the result follows from
    the arguments and, by rounding, from the kind of device and the release of torch; one is remembered for each.

    Args:
        config: of the head.
        mesh: what it starts from, in world units; an open bust is closed below.
        tell: is told how far a fit has come, where one is needed; what it raises ends the fit.
        keep: remember the result on disk, for a mesh that others will start from too.
    """
    if not keep:
        return _computed(config, mesh, tell)
    device = mesh.verts.device
    return cached(f"shape-{_fingerprint(config, mesh)}", lambda: _computed(config, mesh, tell), device)


def freedom_around_face(points: Float[Tensor, "n 3"], sites: Float[Tensor, "l 3"], hold: float) -> Float[Tensor, "n"]:
    """`1 - hold exp(-(d / REACH)^2)` with d from each point to the nearest site of eyes, nose or lips.

    Args:
        points: in the world frame.
        sites: the template's landmark sites, by MediaPipe's numbers.
        hold: by how much a point on such a site is held.
    """
    chains = [part.chains for part in FEATURES if part.name.endswith(("eye", "lips"))]
    features = sorted({site for part in chains for chain in part for site in chain} | set(NOSE))
    nearest = torch.cat([torch.cdist(some, sites[features].to(some)).amin(dim=1) for some in points.split(_CHUNK)])
    return 1 - hold * (-(nearest / REACH).square()).exp()


def _computed(config: TetConfig, mesh: Mesh, tell: Tell | None) -> dict[str, Tensor]:
    grid = TetGrid(config.resolution, config.radius)
    distance = SignedDistance(mesh)(grid.positions(mesh.verts.device))
    if config.sdf_base == "template":
        return {"sdf_base": distance}
    fitted = _fitted(config, grid, distance, tell)
    return {f"sdf.{name}": tensor.detach() for name, tensor in fitted.state_dict().items()}


def _fitted(config: TetConfig, grid: TetGrid, distance: Float[Tensor, "n"], tell: Tell | None) -> Field:
    """Return a field with `sum (s(p) - distance(p))^2` minimised over random points p (paper 4.2.1).

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
    optimizer = torch.optim.Adam(groups, betas=(0.9, 0.99), eps=1e-15, fused=True)
    decay = _LAST_RATE ** (1 / max(config.fit_steps, 1))
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, decay)
    for step in range(config.fit_steps):
        anywhere = torch.randint(len(grid), (BATCH - near_count,), generator=generator).to(distance.device)
        close = torch.randint(max(len(near), 1), (near_count,), generator=generator).to(distance.device)
        points = torch.cat([anywhere, near[close]])
        loss = (field(positions[points])[:, 0] - distance[points]).square().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        if tell is not None:
            tell(step + 1, config.fit_steps)
    return field


def _fingerprint(config: TetConfig, mesh: Mesh) -> str:
    """Return a name for everything that the result follows from; what cannot change it is put back to its default."""
    default = TetConfig()
    free = {name: getattr(default, name) for name in ("color", "offset_cells", "hold_face", "refresh", "band")}
    relevant = replace(config, **free)
    if config.sdf_base == "template":
        relevant = replace(relevant, shape=default.shape, fit_steps=default.fit_steps)
    words = f"{_VERSION} {torch.__version__} {mesh.verts.device.type} {relevant!r}"
    return fingerprint(words, mesh.verts, mesh.faces)

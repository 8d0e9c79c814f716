"""TetAvatar: the paper's head, a signed distance and vertex offsets on a tetrahedral grid and a colour field (DMTet).

Only the grid vertices at the ends of crossed edges ever receive gradient. So the signed distance is evaluated without
gradient to find where the surface runs, and again with gradient at those few vertices: value and gradient are those
of the dense evaluation. With `refresh` above 1 the first evaluation covers the whole grid only every so many steps,
and a band around the last surface in between; what the rest was then is a buffer, so a resumed run goes on alike.
"""

from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from headartist.avatars.shape_fit import freedom_around_face, initial_shape, make_field
from headartist.cameras import Cameras
from headartist.geometry.mesh import Mesh
from headartist.geometry.tets import Crossing, TetGrid
from headartist.heads.template import HeadTemplate
from headartist.render.draw import draw
from headartist.render.frame import Frame
from headartist.tet_config import TetConfig

T = TypeVar("T")

_CHUNK = 1 << 18  # grid vertices evaluated at a time, which bounds the memory of a fine grid
_SOLID_PARTS = ("skin", "eyes")  # of a template; teeth and tongue lie inside, and lashes are sheets without inside


@dataclass(frozen=True)
class _Remembered(Generic[T]):
    """A result, and the state of everything it was computed from."""

    state: tuple[object, ...]
    value: T


class TetAvatar(nn.Module):
    """A head that follows the Avatar protocol; its parts are "sdf", "offset" and "colour".

    `offset` has parameters of its own, so that an edit can move vertices while the signed distance stays as it is,
    bit for bit. Offsets start at zero.
    """

    positions: Float[Tensor, "n 3"]
    border: Bool[Tensor, "n"]
    sdf_base: Float[Tensor, "n"] | None
    freedom: Float[Tensor, "n"] | None
    known_sdf: Float[Tensor, "n"]
    steps: Int[Tensor, ""]

    def __init__(
        self,
        config: TetConfig,
        template: HeadTemplate,
        *,
        generator: torch.Generator,
        device: torch.device | str = "cpu",
    ):
        """A head with the template's surface.

        Args:
            config: its settings.
            template: whose skin and eyes it starts from.
            generator: draws the first parameters, on the CPU.
            device: where it is made and lives; a paper-sized fit takes minutes on a CPU.
        """
        self._build(config, generator)
        self.to(device)
        solid = template.mesh(*_SOLID_PARTS)
        start = initial_shape(config, Mesh(solid.verts.to(device), solid.faces.to(device)))
        self.load_state_dict(start, strict=False)
        if self.freedom is not None:
            self.freedom.copy_(freedom_around_face(self.positions, template.site_positions(), config.hold_face))

    @classmethod
    def empty(cls, config: TetConfig) -> "TetAvatar":
        """A head of this config that waits for `load_state_dict`."""
        avatar = cls.__new__(cls)
        avatar._build(config, torch.Generator().manual_seed(0))
        return avatar

    def _build(self, config: TetConfig, generator: torch.Generator) -> None:
        nn.Module.__init__(self)
        self.config = config
        self.grid = TetGrid(config.resolution, config.radius)
        self.sdf = make_field(config.shape, 1, config.radius, generator)
        self.offset = make_field(config.shape, 3, config.radius, generator)
        self.colour = make_field(config.colour, 3, config.radius, generator)
        self.offset.mlp.silence()
        has_base = config.sdf_base == "template"
        if has_base:
            self.sdf.mlp.silence()
        self.register_buffer("positions", self.grid.positions(), persistent=False)
        self.register_buffer("border", self.grid.border(), persistent=False)
        self.register_buffer("sdf_base", torch.zeros(len(self.grid)) if has_base else None)
        self.register_buffer("freedom", torch.ones(len(self.grid)) if config.hold_face else None)
        self.register_buffer("known_sdf", torch.zeros(len(self.grid)))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self._settled_sdf: _Remembered[Tensor] | None = None
        self._settled: _Remembered[Mesh] | None = None
        self._crossing: _Remembered[Crossing] | None = None
        self._learning: _Remembered[Mesh] | None = None

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """Trainable parameters by part."""
        return {name: list(getattr(self, name).parameters()) for name in ("sdf", "offset", "colour")}

    def render(self, cameras: Cameras, size: int, background: Float[Tensor, "3"], *, colour: bool) -> Frame:
        """Draw square views of `size` pixels; see `Avatar.render`. Colour has no gradient to the shape."""
        shade = self.colour_at if colour else None
        return draw(self.surface(), cameras, size, background, shade)

    def colour_at(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        """RGB in [0, 1] at world points, without gradient to the points."""
        return self.colour(points.detach()).sigmoid()

    def to_mesh(self) -> Mesh:
        """The surface as it stands, without gradient; watertight, but specks may float beside the head."""
        with torch.no_grad():
            return self.surface()

    def surface(self) -> Mesh:
        """The surface, computed once until a parameter changes, so that a renderer and regularisers share it.

        While "sdf" or "offset" trains and gradients are on, it carries gradient, and each new one is a step that
        counts towards `refresh`. Otherwise it is the exact surface and nothing about the avatar changes.
        """
        trains = any(p.requires_grad for name in ("sdf", "offset") for p in getattr(self, name).parameters())
        return self._learning_surface() if trains and torch.is_grad_enabled() else self._settled_surface()

    def _settled_surface(self) -> Mesh:
        state = (*self._state_of(self.sdf), *self._state_of(self.offset))
        if self._settled is None or self._settled.state != state:
            with torch.no_grad():
                sdf = self._whole_sdf()
                crossing = self.grid.crossing(sdf)
                mesh = crossing.mesh(sdf[crossing.grid_verts], self._moved(crossing.grid_verts))
            self._settled = _Remembered(state, mesh)
        return self._settled.value

    def _learning_surface(self) -> Mesh:
        state = (*self._state_of(self.sdf), *self._state_of(self.offset))
        if self._learning is None or self._learning.state != state:
            sdf_trains = any(p.requires_grad for p in self.sdf.parameters())
            if sdf_trains:
                self._observe_sdf()
                known, crossing = self.known_sdf, self._known_crossing()
            else:
                known, crossing = self._whole_sdf(), self.grid.crossing(self._whole_sdf())
            sdf = known[crossing.grid_verts]
            if sdf_trains:
                # The gradient of a fresh evaluation on the very values that decided the topology: rounding must not
                # move a vertex past the end of its edge.
                fresh = self._sdf_at(crossing.grid_verts)
                sdf = sdf + (fresh - fresh.detach())
            mesh = crossing.mesh(sdf, self._moved(crossing.grid_verts))
            self._learning = _Remembered(state, mesh)
            if mesh.verts.requires_grad:
                mesh.verts.register_hook(self._forget_learning)
        return self._learning.value

    def _forget_learning(self, _gradient: Tensor) -> None:
        """Once gradient has passed through, the surface's graph is spent and must not be handed out again."""
        self._learning = None

    def _observe_sdf(self) -> None:
        """Take a step: bring `known_sdf` up to date, everywhere or near the last surface."""
        with torch.no_grad():
            if int(self.steps) % self.config.refresh == 0:
                self.known_sdf.copy_(self._sdf_everywhere())
            else:
                near = self.grid.around(self._known_crossing().grid_verts, self.config.band)
                self.known_sdf[near] = self._sdf_at(near)
            self.steps += 1

    def _known_crossing(self) -> Crossing:
        """Where the surface of `known_sdf` runs; computed once until that changes."""
        state = (self.known_sdf.data_ptr(), self.known_sdf.device, self.known_sdf._version)
        if self._crossing is None or self._crossing.state != state:
            self._crossing = _Remembered(state, self.grid.crossing(self.known_sdf))
        return self._crossing.value

    def _whole_sdf(self) -> Float[Tensor, "n"]:
        """The signed distance at every grid vertex, without gradient; computed once until a parameter changes."""
        state = self._state_of(self.sdf)
        if self._settled_sdf is None or self._settled_sdf.state != state:
            with torch.no_grad():
                self._settled_sdf = _Remembered(state, self._sdf_everywhere())
        return self._settled_sdf.value

    def _sdf_everywhere(self) -> Float[Tensor, "n"]:
        every = torch.arange(len(self.grid), device=self.positions.device)
        return torch.cat([self._sdf_at(chunk) for chunk in every.split(_CHUNK)])

    def _sdf_at(self, grid_verts: Int[Tensor, "k"]) -> Float[Tensor, "k"]:
        """The signed distance at some grid vertices; those on the grid's border stay outside, so no surface is cut."""
        sdf = self.sdf(self.positions[grid_verts])[:, 0]
        if self.freedom is not None:
            sdf = sdf * self.freedom[grid_verts]
        if self.sdf_base is not None:
            sdf = sdf + self.sdf_base[grid_verts]
        return torch.where(self.border[grid_verts], sdf.clamp(min=self.grid.cell / 2), sdf)

    def _moved(self, grid_verts: Int[Tensor, "k"]) -> Float[Tensor, "k 3"]:
        """Deformed grid vertices `p + offset_cells * cell * tanh(o(p))`."""
        points = self.positions[grid_verts]
        moved = self.config.offset_cells * self.grid.cell * self.offset(points).tanh()
        return points + (moved if self.freedom is None else moved * self.freedom[grid_verts, None])

    def _state_of(self, field: nn.Module) -> tuple[object, ...]:
        """What changes whenever this field's values may have: each tensor's place and count of in-place changes."""
        tensors = [*field.parameters(), *(() if self.sdf_base is None else (self.sdf_base,))]
        return tuple((t.data_ptr(), t.device, t._version, t.requires_grad) for t in tensors)

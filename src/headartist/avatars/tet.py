"""TetAvatar: the paper's head, a signed distance and vertex offsets on a tetrahedral grid and a color field (DMTet).

Only the grid vertices at the ends of crossed edges ever receive gradient. So the signed distance is evaluated without
gradient to find where the surface runs, and again with gradient at those few vertices: value and gradient are those
of the dense evaluation. With `refresh` above 1 the first evaluation covers the whole grid only every so many steps,
and a band around the last surface in between; what the rest was then is a buffer, so a resumed run goes on alike.

What cannot change is computed once: the surface while neither "sdf" nor "offset" learns, and where it crosses the grid
while "sdf" does not. Which parts learn is said by `train_parts`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from headartist.avatars.avatar import Avatar, Material, Parts
from headartist.avatars.tet_start import Tell, freedom_around_face, initial_shape, make_field
from headartist.config.avatars import FieldConfig, TetConfig
from headartist.geometry.cameras import Cameras
from headartist.geometry.mesh import Mesh, laplacian_energy, normal_consistency
from headartist.geometry.tets import Crossing, TetGrid
from headartist.heads.template import HeadTemplate
from headartist.render.draw import render_mesh
from headartist.render.frame import Frame
from headartist.render.shading import Shading, lit
from headartist.system.errors import HeadArtistError

_CHUNK = 1 << 18  # grid vertices evaluated at a time, which bounds the memory of a fine grid
_SOLID_PARTS = ("skin", "eyes")  # of a template; teeth and tongue lie inside, and lashes are sheets without inside


class TetAvatar(nn.Module):
    """A head that follows the Avatar protocol; its parts are "sdf", "offset" and "color".

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
        before: Avatar | None = None,
        tell: Tell | None = None,
    ):
        """Make a head with the template's surface, or with that of another avatar.

        Args:
            config: its settings.
            template: whose skin and eyes it starts from, and whose face is held.
            generator: draws the first parameters, on the CPU.
            device: where it is made and lives; a paper-sized fit takes minutes on a CPU.
            before: whose surface it starts from instead; of a TetAvatar with the same color field, its colors too.
            tell: is told how far the fit has come; what it raises ends it.

        Raises:
            HeadArtistError: the avatar before has no surface.
        """
        self._build(config, generator)
        self.to(device)
        solid = template.mesh(*_SOLID_PARTS) if before is None else before.to_mesh()
        if not len(solid.faces):
            raise HeadArtistError("The head so far has no surface to go on from: start again with another --seed.")
        mesh = Mesh(solid.verts.to(device), solid.faces.to(device))
        self.load_state_dict(initial_shape(config, mesh, tell, keep=before is None), strict=False)
        if isinstance(before, TetAvatar) and _color_form(before.config) == _color_form(config):
            self.color.load_state_dict(before.color.state_dict())
        if self.freedom is not None:
            self.freedom.copy_(freedom_around_face(self.positions, template.site_positions(), config.hold_face))

    @classmethod
    def empty(cls, config: TetConfig) -> "TetAvatar":
        """Return a head of this config that waits for `load_state_dict`."""
        avatar = cls.__new__(cls)
        avatar._build(config, torch.Generator().manual_seed(0))
        return avatar

    def _build(self, config: TetConfig, generator: torch.Generator) -> None:
        nn.Module.__init__(self)
        self.config = config
        self.grid = TetGrid(config.resolution, config.radius)
        self.sdf = make_field(config.shape, 1, config.radius, generator)
        self.offset = make_field(config.shape, 3, config.radius, generator)
        self.color = make_field(config.color, 3, config.radius, generator)
        self.offset.mlp.zero_output()
        has_base = config.sdf_base == "template"
        if has_base:
            self.sdf.mlp.zero_output()
        self.register_buffer("positions", self.grid.positions(), persistent=False)
        self.register_buffer("border", self.grid.border(), persistent=False)
        self.register_buffer("sdf_base", torch.zeros(len(self.grid)) if has_base else None)
        self.register_buffer("freedom", torch.ones(len(self.grid)) if config.hold_face else None)
        self.register_buffer("known_sdf", torch.zeros(len(self.grid)))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self._forget()

    def parameters_by_part(self) -> Parts:
        """Return trainable parameters by part and kind."""
        fields = {name: getattr(self, name) for name in self.config.parts}
        return {
            name: {"grid": list(field.encoding.parameters()), "mlp": list(field.mlp.parameters())}
            for name, field in fields.items()
        }

    def train_parts(self, names: Sequence[str]) -> None:
        """Let these parts learn and hold all others still."""
        for name in self.config.parts:
            getattr(self, name).requires_grad_(name in names)
        self._forget()

    def render(self, cameras: Cameras, size: int, shading: Shading, background: Float[Tensor, "3"]) -> Frame:
        """Draw square views of `size` pixels; see `Avatar.render`. Color has no gradient to the shape.

        Each call while gradients are on and the signed distance learns is a step that counts towards `refresh`.
        """
        shade = self._color_at if shading.color else None
        frame = render_mesh(self._surface(), cameras, size, background, shade)
        return frame if shading.lamps is None else lit(frame, shading.lamps, background)

    def energies(self, frame: Frame) -> Mapping[str, Float[Tensor, ""]]:
        """Return normal consistency and Laplacian of the surface that was drawn (supplement D)."""
        assert frame.surface is not None
        surface = frame.surface
        return {"normal_consistency": normal_consistency(surface), "laplacian": laplacian_energy(surface)}

    def landmarks(self) -> HeadTemplate | None:
        """None: the template's stay where they are."""
        return None

    def material_at(self, points: Float[Tensor, "n 3"]) -> Material:
        """RGB in [0, 1] at world points, without gradient to the points."""
        return Material(self._color_at(points))

    def _color_at(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        color: Tensor = self.color(points.detach()).sigmoid()
        return color

    def to_mesh(self) -> Mesh:
        """Return the surface as it stands, without gradient; watertight, but specks may float beside the head."""
        with torch.no_grad():
            return self._surface()

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Take over parameters and buffers, as `torch.nn.Module` has it."""
        self._forget()
        return super().load_state_dict(state_dict, *args, **kwargs)

    def _apply(self, *args: Any, **kwargs: Any) -> "TetAvatar":
        """Move to another device, as `torch.nn.Module` has it."""
        self._forget()
        nn.Module._apply(self, *args, **kwargs)
        return self

    def _forget(self) -> None:
        """Parameters may have changed: what was computed of them has to be computed again."""
        self._held_surface: Mesh | None = None  # while neither "sdf" nor "offset" learns
        self._held_sdf: tuple[Tensor, Crossing] | None = None  # while "sdf" does not learn
        self._crossing: Crossing | None = None  # of `known_sdf`, while it learns

    def _learns(self, part: str) -> bool:
        return any(parameter.requires_grad for parameter in getattr(self, part).parameters())

    def _surface(self) -> Mesh:
        """Return the surface, with gradient while gradients are on and it learns."""
        if not (self._learns("sdf") or self._learns("offset")):
            if self._held_surface is None:
                with torch.no_grad():
                    self._held_surface = self._marched(*self._held())
            return self._held_surface
        self._held_surface = None
        if not self._learns("sdf"):
            return self._marched(*self._held())
        self._held_sdf = None
        if not torch.is_grad_enabled():  # a picture of it, exact everywhere, that leaves no trace
            sdf = self._sdf_everywhere()
            return self._marched(sdf, self.grid.crossing(sdf))
        crossing = self._observed()
        # The gradient of a fresh evaluation on the very values that decided the topology: rounding must not move a
        # vertex past the end of its edge.
        fresh = self._sdf_at(crossing.grid_verts)
        sdf = self.known_sdf[crossing.grid_verts] + (fresh - fresh.detach())
        return crossing.mesh(sdf, self._moved(crossing.grid_verts))

    def _marched(self, sdf: Float[Tensor, "n"], crossing: Crossing) -> Mesh:
        return crossing.mesh(sdf[crossing.grid_verts], self._moved(crossing.grid_verts))

    def _held(self) -> tuple[Float[Tensor, "n"], Crossing]:
        """Return the signed distance, which does not learn, and where its surface runs."""
        if self._held_sdf is None:
            with torch.no_grad():
                sdf = self._sdf_everywhere()
                self._held_sdf = sdf, self.grid.crossing(sdf)
        return self._held_sdf

    def _observed(self) -> Crossing:
        """Take a step: bring `known_sdf` up to date, everywhere or near the last surface; returns where it runs now."""
        with torch.no_grad():
            if int(self.steps) % self.config.refresh == 0:
                self.known_sdf.copy_(self._sdf_everywhere())
            else:
                before = self.grid.crossing(self.known_sdf) if self._crossing is None else self._crossing
                near = self.grid.around(before.grid_verts, self.config.band)
                self.known_sdf[near] = self._sdf_at(near)
            self.steps += 1
            self._crossing = self.grid.crossing(self.known_sdf)
        return self._crossing

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
        there: Tensor = points + (moved if self.freedom is None else moved * self.freedom[grid_verts, None])
        return there


def _color_form(config: TetConfig) -> tuple[FieldConfig, float]:
    """Return what makes the parameters of two color fields mean the same."""
    return config.color, config.radius

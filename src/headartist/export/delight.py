"""De-lighting.

The soft light that learned colours hold, found by its smoothness and divided out.

Colours are learned from lit pictures: in linear light they are an albedo times a shading s. Under distant light the
shading of a dull surface is, to about a hundredth, a quadratic function of its normal (Ramamoorthi and Hanrahan 2001):

    s(n) = sum_k w_k Y_k(n),    Y = 1, x, y, z, xy, yz, zx, x^2 - y^2, 3 z^2 - 1

The nine weights are fitted to the luminance over the surface, robustly: what is darker or brighter than its
surroundings by more than about twice (hair, lips, a hat) does not count. Colours are then divided by s over its mean.
What one picture cannot tell is not told either: a tan that grows paler towards the chin counts as light, cast shadows
are no function of the normal and stay, and the colour of the light stays with the skin.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from headartist.export.surface import unit_normals
from headartist.export.texture import Color
from headartist.geometry.closest import ClosestPoint
from headartist.geometry.mesh import Mesh

SAMPLES, ROUNDS = 20_000, 20
OUTLIER = 0.8  # of the logarithm of luminance: a residual as large counts for nothing (Tukey's biweight)
RIDGE = 1e-3  # pulls the weights of what no sample speaks of to none
GAIN = (0.5, 2.0)  # how far a shading may depart from its mean
LUMINANCE = (0.2126, 0.7152, 0.0722)


def delit(mesh: Mesh, color_at: Color) -> Color:
    """Divide the soft light out of a head's colours.

    Args:
        mesh: the head's surface.
        color_at: its colours, sRGB in [0, 1].
    """
    normals, closest = unit_normals(mesh), ClosestPoint(mesh)

    def normal_at(points: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        return normalize(closest(points).of(normals, mesh.faces), dim=-1)

    points = _sampled(mesh)
    light = linear(color_at(points).detach().float().clamp(0, 1))
    normal = normal_at(points)
    weights = fitted_shading(normal, light @ torch.tensor(LUMINANCE).to(light))
    mean = (harmonics(normal) @ weights).mean().clamp(min=1e-6)

    def color(points: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        lit = linear(color_at(points).detach().float().clamp(0, 1))
        shading = (harmonics(normal_at(points.to(mesh.verts))) @ weights / mean).clamp(*GAIN)
        return display(lit / shading[:, None].to(lit)).clamp(0, 1)

    return color


def fitted_shading(normal: Float[Tensor, "n 3"], luminance: Float[Tensor, "n"]) -> Float[Tensor, "9"]:
    """Fit the weights of `harmonics` to a luminance.

    Those that explain most of it, by iteratively reweighted least squares.
    """
    basis, luminance = harmonics(normal).double(), luminance.double().clamp(min=1e-4)
    weights = torch.zeros(9).to(basis)
    weights[0] = luminance.median()
    for _ in range(ROUNDS):
        shading = (basis @ weights).clamp(min=1e-3)
        residual = ((luminance / shading).log() / OUTLIER).clamp(-1, 1)
        trust = (1 - residual.square()).square() / shading.square()
        ridge = RIDGE * trust.sum() * torch.eye(9).to(basis)
        ridge[0, 0] = 0.0
        system = basis.T @ (trust[:, None] * basis) + ridge
        weights = torch.linalg.lstsq(system, basis.T @ (trust * luminance)).solution
    return weights.to(normal)


def harmonics(normal: Float[Tensor, "n 3"]) -> Float[Tensor, "n 9"]:
    """Evaluate nine harmonics of unit normals.

    Those of this module's first paragraph.
    """
    x, y, z = normal.unbind(-1)
    return torch.stack([torch.ones_like(x), x, y, z, x * y, y * z, z * x, x * x - y * y, 3 * z * z - 1], dim=-1)


def linear(color: Tensor) -> Tensor:
    """Turn sRGB into linear light.

    In [0, 1] (IEC 61966-2-1).
    """
    return torch.where(color <= 0.04045, color / 12.92, ((color + 0.055) / 1.055) ** 2.4)


def display(light: Tensor) -> Tensor:
    """Linear light as sRGB."""
    return torch.where(light <= 0.0031308, 12.92 * light, 1.055 * light.clamp(min=1e-8) ** (1 / 2.4) - 0.055)


def _sampled(mesh: Mesh) -> Float[Tensor, "n 3"]:
    """Sample points evenly over the surface.

    The same every time.
    """
    generator = torch.Generator().manual_seed(0)
    area = mesh.area_normals.norm(dim=-1).cpu().double()
    face = torch.multinomial(area / area.sum(), SAMPLES, replacement=True, generator=generator)
    weights = torch.rand(SAMPLES, 3, generator=generator).clamp(min=1e-6).log()  # even over a triangle
    weights = (weights / weights.sum(dim=1, keepdim=True)).to(mesh.verts)
    return (mesh.verts[mesh.faces[face.to(mesh.faces.device)]] * weights[..., None]).sum(dim=1)

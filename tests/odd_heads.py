"""One good head, written in every odd way that people's files are."""

from collections.abc import Callable

import numpy as np
import torch
import trimesh

from headartist.geometry.mesh import Mesh
from headartist.heads import load_template

QUARTER = {  # rotation matrices: what was y up and +z in front
    "z up, -y in front": [[1, 0, 0], [0, 0, -1], [0, 1, 0]],
    "z up, x in front": [[0, 0, 1], [1, 0, 0], [0, 1, 0]],
    "facing -z": [[-1, 0, 0], [0, 1, 0], [0, 0, -1]],
    "lying on its side": [[0, 1, 0], [-1, 0, 0], [0, 0, 1]],
}
RNG = np.random.default_rng(0)


def bald(identity: str = "seed:3") -> Mesh:
    """A person of the open head in centimetres, somewhere else: skin and eyes without the neck."""
    head = load_template("open", identity=identity)
    faces = head.faces_of("skin", "eyes")
    faces = faces[(head.verts[:, 1] > -0.62)[faces].all(dim=1)]
    used, faces = faces.unique(return_inverse=True)
    return Mesh((22 * head.verts[used] + torch.tensor([3.0, 150.0, -2.0])).double(), faces)


def turned(mesh: Mesh, how: str) -> Mesh:
    return Mesh(mesh.verts @ torch.tensor(QUARTER[how], dtype=torch.float64).T, mesh.faces)


def inside_out(mesh: Mesh) -> Mesh:
    return Mesh(mesh.verts, mesh.faces[:, [0, 2, 1]])


def mixed(mesh: Mesh) -> Mesh:
    wrong = torch.from_numpy(RNG.random(len(mesh.faces)) < 0.4)[:, None]
    return Mesh(mesh.verts, torch.where(wrong, mesh.faces[:, [0, 2, 1]], mesh.faces))


def unwelded(mesh: Mesh) -> Mesh:
    """Every triangle by itself, with corners 1e-5 of the head's size off."""
    verts = mesh.verts[mesh.faces].reshape(-1, 3)
    size = float((mesh.verts.amax(dim=0) - mesh.verts.amin(dim=0)).norm())
    noise = torch.from_numpy(RNG.uniform(-1e-5, 1e-5, verts.shape)) * size
    return Mesh(verts + noise, torch.arange(len(verts)).reshape(-1, 3))


def shells(mesh: Mesh) -> Mesh:
    """A second wall within, and specks around."""
    middle = mesh.verts.mean(dim=0)
    inner = middle + 0.93 * (mesh.verts - middle)
    speck = trimesh.creation.icosphere(0, radius=0.05)
    specks = [torch.from_numpy(speck.vertices + middle.numpy() + RNG.normal(size=3) * 30) for _ in range(20)]
    below = len(mesh.verts)
    faces = [mesh.faces, mesh.faces[:, [0, 2, 1]] + below]
    faces += [torch.from_numpy(speck.faces.copy()) + 2 * below + k * len(speck.vertices) for k in range(20)]
    return Mesh(torch.cat([mesh.verts, inner, *specks]), torch.cat(faces))


def holed(mesh: Mesh, count: int = 25) -> Mesh:
    """Round holes of about 7 mm, anywhere."""
    middles = mesh.verts[torch.from_numpy(RNG.choice(len(mesh.verts), count, replace=False))]
    near = torch.cdist(mesh.verts, middles).amin(dim=1) < 0.7
    return Mesh(mesh.verts, mesh.faces[~near[mesh.faces].any(dim=1)])


ODD: dict[str, Callable[[Mesh], Mesh]] = {
    "as it is": lambda mesh: mesh,
    "inside out": inside_out,
    "mixed winding": mixed,
    "unwelded": unwelded,
    "shells": shells,
    "25 holes": holed,
    **{how: lambda mesh, how=how: turned(mesh, how) for how in QUARTER},
}


def strips_ply(mesh: Mesh) -> bytes:
    """As scanners of the nineties wrote it: triangle strips, here of one triangle each."""
    corners = [corner for face in mesh.faces.tolist() for corner in (*face, -1)]
    header = (
        f"ply\nformat binary_little_endian 1.0\nelement vertex {len(mesh.verts)}\nproperty float x\nproperty float y\n"
        "property float z\nelement tristrips 1\nproperty list int int vertex_indices\nend_header\n"
    )
    strips = np.array([len(corners), *corners], "<i4").tobytes()
    return header.encode() + mesh.verts.numpy().astype("<f4").tobytes() + strips


def body_obj(mesh: Mesh) -> str:
    """As MakeHuman writes it: a group that is the head, and helpers: a cap of hair, and cubes at the joints."""
    lines = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in mesh.verts.tolist()]
    groups = [("body", mesh.faces.numpy())]
    hair = trimesh.creation.icosphere(3, radius=14.0)
    joint = trimesh.creation.box([3.0, 3.0, 3.0]).subdivide().subdivide()
    middle = mesh.verts.mean(dim=0).numpy()
    for name, part, shift in (("helper-hair", hair, (0, 0, 0)), ("joint-head", joint, (0, 0, 15))):
        groups.append((name, part.faces + len(lines)))
        lines += [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in part.vertices + middle + shift]
    for name, faces in groups:
        lines += [f"g {name}", *(f"f {a} {b} {c}" for a, b, c in faces + 1)]
    return "\n".join(lines) + "\n"


def scene_glb(mesh: Mesh) -> bytes:
    """Two nodes, of which a head that is turned and scaled by its node is the smaller."""
    scene = trimesh.Scene()
    middle = mesh.verts.mean(dim=0).numpy()
    place = np.diag([0.01, 0.01, 0.01, 1.0]) @ trimesh.transformations.rotation_matrix(np.pi / 2, [1, 0, 0])
    head = trimesh.Trimesh(mesh.verts.numpy() - middle, mesh.faces.numpy(), process=False)
    stand = trimesh.creation.cylinder(0.4, 0.9, sections=48).subdivide()
    scene.add_geometry(head, node_name="head", geom_name="skull", transform=place)
    scene.add_geometry(stand, node_name="stand", geom_name="pole", transform=np.eye(4))
    content = scene.export(file_type="glb")
    assert isinstance(content, bytes)
    return content

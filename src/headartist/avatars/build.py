"""The one choice of an avatar, by its config's type."""

from typing import assert_never

import torch

from headartist.avatars.avatar import Avatar
from headartist.avatars.tet import TetAvatar
from headartist.avatars.tet_start import Tell
from headartist.config.avatars import AvatarConfig, TetConfig
from headartist.heads.template import HeadTemplate


def begin_avatar(
    config: AvatarConfig,
    template: HeadTemplate,
    *,
    generator: torch.Generator,
    device: torch.device | str = "cpu",
    before: Avatar | None = None,
    tell: Tell | None = None,
) -> TetAvatar:
    """Make the avatar of a config with the template's surface, or with that of another avatar.

    Args:
        config: which, and its settings.
        template: the head it begins as.
        generator: draws the first parameters, on the CPU.
        device: where it lives.
        before: an avatar to go on from.
        tell: is told how far a fit of its surface has come; what it raises ends it.
    """
    return _kind(config)(config, template, generator=generator, device=device, before=before, tell=tell)


def empty_avatar(config: AvatarConfig) -> TetAvatar:
    """Make an avatar of a config that waits for `load_state_dict`."""
    return _kind(config).empty(config)


def _kind(config: AvatarConfig) -> type[TetAvatar]:
    match config:
        case TetConfig():
            return TetAvatar
        case _:
            assert_never(config)

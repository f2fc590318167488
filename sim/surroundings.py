# SPDX-License-Identifier: Apache-2.0
"""Floor, sky and light of pictures and videos of a robot."""

from __future__ import annotations

from typing import Any

import mujoco

_SKY = (0.97, 0.98, 1.0), (0.80, 0.87, 0.95)
_TILES = (0.86, 0.88, 0.91), (0.78, 0.81, 0.85)
_TILE_M = 0.5


def furnish(spec: Any, size: tuple[int, int], floor_m: float = 3.0) -> None:
    """Add floor, sky and light to a model.

    Arguments:
        spec: a mujoco.MjSpec.
        size: (width, height) of an image [pixels].
        floor_m: half the floor's side.
    """
    spec.visual.global_.offwidth, spec.visual.global_.offheight = size
    spec.visual.headlight.ambient, spec.visual.headlight.diffuse = [0.40] * 3, [0.30] * 3
    spec.visual.quality.shadowsize = 2048
    texture, builtin = mujoco.mjtTexture, mujoco.mjtBuiltin
    gradient, checker = builtin.mjBUILTIN_GRADIENT, builtin.mjBUILTIN_CHECKER
    spec.add_texture(
        name="sky", type=texture.mjTEXTURE_SKYBOX, builtin=gradient, rgb1=_SKY[0], rgb2=_SKY[1], width=64, height=384
    )
    spec.add_texture(
        name="tiles", type=texture.mjTEXTURE_2D, builtin=checker, rgb1=_TILES[0], rgb2=_TILES[1], width=256, height=256
    )
    floor = spec.add_material(name="floor", texrepeat=[floor_m / _TILE_M] * 2)
    floor.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = "tiles"
    world = spec.worldbody
    world.add_geom(
        type=mujoco.mjtGeom.mjGEOM_PLANE, size=[floor_m, floor_m, 0.1], material="floor", contype=0, conaffinity=0
    )
    world.add_light(
        pos=[0.8, -1.0, 2.6], dir=[-0.3, 0.35, -1.0], diffuse=[0.5] * 3, type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL
    )

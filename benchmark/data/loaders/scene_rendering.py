"""Rendering of one frame of a synthetic street, back to front.

Units: d and lateral positions as in `scene_layout`; y, x and the sizes of objects are pixels of the frame.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from quadrat.benchmark.data.dataset import VOID, Sample
from quadrat.benchmark.data.loaders.scene_layout import (
    BICYCLIST,
    BUILDING,
    CAR,
    PAVEMENT,
    PEDESTRIAN,
    POLE,
    ROAD,
    SIGN,
    SKY,
    TREE,
    Street,
    Thing,
)

__all__ = ["render"]

# Standard deviation of the coarse texture of each class, grey levels: separates classes whose colours overlap (grey
# buildings, road, pavement and poles; green signs and trees).
TEXTURE: Final = np.array([3, 9, 5, 9, 24, 6, 5, 6, 10, 10], dtype=np.float32)


def render(street: Street, frame: int, height: int, width: int, noise: float, rng: np.random.Generator) -> Sample:
    """Return image, uint8 (H, W, 3), and mask, uint8 (H, W), of frame number `frame` of a street.

    Args:
        street: The street.
        frame: Index of the frame.
        height: H.
        width: W.
        noise: Scale of texture and sensor noise; 1 is the default difficulty.
        rng: Generator of texture and sensor noise, which differ between frames.
    """
    canvas = _Canvas(street, frame, height, width)
    for thing in sorted(street.things, key=canvas.depth):
        canvas.draw(thing)
    mask, colour = canvas.mask, canvas.colour
    if street.bonnet:
        rows = slice(height - max(1, round(street.bonnet * height)), height)
        mask[rows], colour[rows] = VOID, (38, 40, 46)
    coarse = rng.standard_normal((-(-height // 3), -(-width // 3)), dtype=np.float32)
    texture = coarse.repeat(3, axis=0)[:height].repeat(3, axis=1)[:, :width]
    colour += (texture * np.append(TEXTURE, 4)[np.minimum(mask, len(TEXTURE))] * noise)[:, :, None]
    # One tap of blur in each direction mixes the colours at borders, as a lens does.
    colour[1:-1] += (colour[:-2] + colour[2:] - 2 * colour[1:-1]) * np.float32(0.2)
    colour[:, 1:-1] += (colour[:, :-2] + colour[:, 2:] - 2 * colour[:, 1:-1]) * np.float32(0.2)
    colour *= street.light
    colour += rng.standard_normal(colour.shape, dtype=np.float32) * np.float32(8 * noise)
    return Sample(np.clip(colour, 0, 255).astype(np.uint8), mask)


class _Canvas:
    """Mask and colours of one frame while it is rendered."""

    def __init__(self, street: Street, frame: int, height: int, width: int) -> None:
        """Render sky, facades, road and pavement."""
        self.street, self.frame, self.height, self.width = street, frame, height, width
        self.horizon = street.horizon * height
        self.middle = street.vanishing * width
        self.half_road = street.road * width
        y, x = np.arange(height, dtype=np.float32)[:, None], np.arange(width, dtype=np.float32)[None]
        zoom = (1 + street.pace) ** frame
        x_far = (self.middle + (x[0] - self.middle) / zoom) / width
        facade = np.searchsorted(street.facade_edges, x_far).clip(max=len(street.facade_tops) - 1)
        tree = street.facade_is_tree[facade]
        top = street.horizon - (street.horizon - street.facade_tops[facade]) * zoom
        # Facades fall towards the vanishing point; treetops are round, roofs are flat.
        fall = 0.45 + 0.55 * np.minimum(np.abs(x_far - street.vanishing) * 2.2, 1)
        top = street.horizon - (street.horizon - top) * fall * np.where(tree, 0.6 + 0.08 * np.sin(x_far * 70), 1)
        depth = np.maximum((y - self.horizon) / (height - self.horizon), 0)
        lateral = np.abs(x - self.middle) / (self.half_road * np.maximum(depth, 1e-3))
        below = y > self.horizon
        road, pavement = below & (lateral <= 1), below & (lateral > 1) & (lateral <= 1 + street.pavement)
        wall = np.where(tree, TREE, BUILDING)[None]
        behind = np.where((y / height > top) | below, wall, SKY)
        self.mask = np.where(road, ROAD, np.where(pavement, PAVEMENT, behind)).astype(np.uint8)

        windows = ((y // 4 % 2 == 1) & (x // 3 % 2 == 1) & (y / height > top + 0.03)).astype(np.float32)
        paint = np.where(tree[:, None], np.array([58, 86, 46], dtype=np.float32), street.facade_paint[facade])
        facade_colour = paint[None] * (1 - np.float32(0.4) * (windows * ~tree))[:, :, None]
        sky_colour = street.sky + (y / self.horizon)[:, :, None] * np.float32(30)
        dashes = (lateral < 0.035) & (np.mod(1 / np.maximum(depth, 0.05) + 2 * street.pace * frame * 4, 2) < 1)
        road_colour = np.where(dashes, np.float32(200), np.float32(92) + 14 * depth)[:, :, None]
        pavement_colour = np.array([146, 138, 130], dtype=np.float32)
        self.colour = np.select(
            [road[:, :, None], pavement[:, :, None], (behind == SKY)[:, :, None]],
            [road_colour, pavement_colour, sky_colour],
            facade_colour,
        ).astype(np.float32)

    def depth(self, thing: Thing) -> float:
        """Return d of the foot of `thing` in this frame."""
        return thing.depth * (1 + self.street.pace + thing.speed) ** self.frame

    def draw(self, thing: Thing) -> None:
        """Render `thing` unless the camera has passed it."""
        depth = self.depth(thing)
        if depth > 1.3:
            return
        foot = self.horizon + depth * (self.height - self.horizon)
        x = self.middle + thing.lateral * self.half_road * depth
        tall = thing.size * depth * self.height
        if thing.kind == TREE:
            self._box(TREE, foot - 0.5 * tall, foot, x, max(0.05 * tall, 1), (72, 58, 44))
            self._disc(TREE, foot - 0.68 * tall, x, 0.36 * tall, (0.24 + 0.12 * thing.detail) * tall, thing.paint)
        elif thing.kind == CAR:
            wide = (0.62 + 0.3 * thing.detail) * tall
            self._box(CAR, foot - 0.62 * tall, foot - 0.1 * tall, x, wide, thing.paint)
            self._box(CAR, foot - tall, foot - 0.6 * tall, x, 0.72 * wide, 0.55 * thing.paint + 15)
            for wheel in (-0.7, 0.7):
                self._box(CAR, foot - 0.14 * tall, foot, x + wheel * wide, 0.2 * wide, (28, 28, 30))
        elif thing.kind == POLE:
            self._box(POLE, foot - tall, foot, x, max(0.03 * tall, 1.6), thing.paint)
        elif thing.kind == SIGN:
            radius = max(0.1 * tall, 2)
            shape = self._disc if thing.detail < 0.5 else self._plate
            shape(SIGN, foot - 0.88 * tall, x, radius, radius, (225, 225, 220))
            shape(SIGN, foot - 0.88 * tall, x, 0.75 * radius, 0.75 * radius, thing.paint)
        elif thing.kind == PEDESTRIAN:
            self._person(PEDESTRIAN, foot, x, tall, thing)
        else:
            for wheel in (-0.26, 0.26):
                self._disc(BICYCLIST, foot - 0.17 * tall, x + wheel * tall, 0.18 * tall, 0.18 * tall, (30, 30, 34))
            self._person(BICYCLIST, foot - 0.2 * tall, x, 0.8 * tall, thing)

    def _person(self, kind: int, foot: float, x: float, tall: float, thing: Thing) -> None:
        wide = max(0.18 * tall, 1.2)
        trousers = np.array([50, 52, 70], dtype=np.float32) * (0.6 + 0.8 * np.float32(thing.detail))
        self._box(kind, foot - 0.48 * tall, foot, x, 0.8 * wide, trousers)
        self._box(kind, foot - 0.84 * tall, foot - 0.45 * tall, x, wide, thing.paint)
        self._disc(kind, foot - 0.92 * tall, x, max(0.09 * tall, 1), max(0.09 * tall, 1), (190, 150, 125))

    def _box(self, kind: int, top: float, bottom: float, x: float, half_width: float, paint: npt.ArrayLike) -> None:
        rows = slice(max(round(top), 0), max(round(bottom), 0))
        cols = slice(max(round(x - half_width), 0), max(round(x + half_width), round(x - half_width) + 1, 0))
        self.mask[rows, cols] = kind
        self.colour[rows, cols] = paint

    def _plate(
        self, kind: int, y: float, x: float, half_height: float, half_width: float, paint: npt.ArrayLike
    ) -> None:
        self._box(kind, y - half_height, y + half_height, x, half_width, paint)

    def _disc(self, kind: int, y: float, x: float, half_height: float, half_width: float, paint: npt.ArrayLike) -> None:
        rows = slice(max(int(y - half_height), 0), max(int(y + half_height) + 2, 0))
        cols = slice(max(int(x - half_width), 0), max(int(x + half_width) + 2, 0))
        mask, colour = self.mask[rows, cols], self.colour[rows, cols]
        if mask.size:
            dy = (np.arange(rows.start, rows.start + mask.shape[0])[:, None] - y) / half_height
            dx = (np.arange(cols.start, cols.start + mask.shape[1])[None] - x) / half_width
            inside = dy * dy + dx * dx <= 1
            mask[inside] = kind
            colour[inside] = paint

"""Random layout of a synthetic street, shared by all frames of a sequence.

Units: d is the depth of a point on the ground, 0 at the horizon and 1 at the bottom of the image; sizes are
proportional to d. Lateral positions are in half road widths from the middle of the road, so the kerbs are at -1 and 1
at any depth.
"""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["CLASSES", "COLOURS", "Street", "Thing", "draw_street"]

CLASSES: Final = (
    "sky",
    "building",
    "road",
    "pavement",
    "tree",
    "car",
    "pole",
    "sign",
    "pedestrian",
    "bicyclist",
)
COLOURS: Final = (
    (140, 190, 230),
    (150, 90, 70),
    (128, 64, 128),
    (244, 150, 200),
    (90, 140, 50),
    (30, 60, 200),
    (190, 190, 140),
    (250, 215, 0),
    (220, 20, 60),
    (120, 20, 30),
)
SKY, BUILDING, ROAD, PAVEMENT, TREE, CAR, POLE, SIGN, PEDESTRIAN, BICYCLIST = range(10)
CLOTHES: Final = ((185, 60, 70), (160, 75, 150), (195, 115, 75), (205, 95, 120))
VESTS: Final = ((215, 205, 60), (150, 205, 60), (230, 160, 50))
CAR_PAINT: Final = ((150, 30, 30), (35, 60, 140), (215, 215, 215), (35, 35, 40), (140, 145, 150), (50, 95, 110))
SIGN_PAINT: Final = ((225, 35, 35), (30, 80, 220), (40, 60, 200))

Colour = npt.NDArray[np.float32]


class Thing(NamedTuple):
    """An object that stands on the ground.

    Attributes:
        kind: Class id.
        lateral: Position across the street, half road widths.
        depth: Position along the street, d of its foot.
        speed: Relative change of d from frame to frame, on top of the camera's.
        size: Height at d = 1, in image heights.
        paint: Main colour.
        detail: A number in [0, 1) that varies the appearance.
    """

    kind: int
    lateral: float
    depth: float
    speed: float
    size: float
    paint: Colour
    detail: float


class Street(NamedTuple):
    """Layout of a street.

    Attributes:
        horizon: Height of the horizon, in image heights from the top.
        vanishing: Horizontal position of the vanishing point, in image widths.
        road: Half width of the road at the bottom, in image widths.
        pavement: Width of the pavement, in half road widths.
        facade_edges: Right ends of the facades, in image widths.
        facade_tops: Height of each facade's top, in image heights.
        facade_paint: Colour of each facade.
        facade_is_tree: Which of the facades are rows of trees.
        sky: Colour at the top of the sky.
        light: Gain for each colour channel.
        bonnet: Height of the camera car's bonnet (void), in image heights; 0 for none.
        pace: Relative growth of d from frame to frame.
        things: Objects in the street.
    """

    horizon: float
    vanishing: float
    road: float
    pavement: float
    facade_edges: npt.NDArray[np.float64]
    facade_tops: npt.NDArray[np.float64]
    facade_paint: Colour
    facade_is_tree: npt.NDArray[np.bool_]
    sky: Colour
    light: Colour
    bonnet: float
    pace: float
    things: tuple[Thing, ...]


def draw_street(rng: np.random.Generator, *, pedestrians: bool, bicyclists: bool) -> Street:
    """Return a random street.

    Args:
        rng: Generator of this street.
        pedestrians: Whether a group of pedestrians stands on a pavement.
        bicyclists: Whether a group of bicyclists rides along a kerb.
    """
    num_facades = int(rng.integers(4, 9))
    widths = rng.uniform(0.4, 1.6, num_facades)
    brick = rng.uniform(0, 1, (num_facades, 1))
    grey = rng.uniform(95, 190, (num_facades, 1))
    pavement = rng.uniform(0.35, 0.7)
    brightness = rng.uniform(0.72, 1.12)
    return Street(
        horizon=rng.uniform(0.36, 0.5),
        vanishing=rng.uniform(0.35, 0.65),
        road=rng.uniform(0.42, 0.7),
        pavement=pavement,
        facade_edges=np.cumsum(widths) / widths.sum(),
        facade_tops=rng.uniform(0.02, 0.34, num_facades),
        facade_paint=(grey * (1 + brick * np.array([0.12, -0.12, -0.25]))).astype(np.float32),
        facade_is_tree=rng.random(num_facades) < 0.18,
        sky=np.array([[120, 165, 215], [190, 198, 205]], dtype=np.float32)[rng.integers(2)],
        light=(brightness * rng.uniform(0.94, 1.06, 3)).astype(np.float32),
        bonnet=rng.uniform(0.03, 0.07) if rng.random() < 0.3 else 0.0,
        pace=rng.uniform(0.02, 0.07),
        things=_draw_things(rng, pavement, pedestrians, bicyclists),
    )


def _draw_things(rng: np.random.Generator, pavement: float, pedestrians: bool, bicyclists: bool) -> tuple[Thing, ...]:
    things: list[Thing] = []

    def add(kind: int, lateral: float, depth: float, size: float, paint: npt.ArrayLike, speed: float = 0.0) -> None:
        colour = np.asarray(paint, dtype=np.float32) + rng.uniform(-14, 14, 3).astype(np.float32)
        things.append(Thing(kind, lateral, depth, speed, size * rng.uniform(0.85, 1.15), colour, rng.random()))

    def side() -> float:
        return float(rng.choice([-1.0, 1.0]))

    def one_of(paints: tuple[tuple[int, int, int], ...]) -> tuple[int, int, int]:
        return paints[int(rng.integers(len(paints)))]

    for _ in range(rng.integers(1, 5)):
        add(TREE, side() * (1 + pavement * rng.uniform(0.6, 1.3)), rng.uniform(0.15, 0.6), 0.95, (62, 92, 48))
    for _ in range(rng.integers(0, 5)):
        add(CAR, side() * rng.uniform(0.3, 0.75), rng.uniform(0.12, 0.55), 0.42, one_of(CAR_PAINT), rng.normal(0, 0.05))
    for _ in range(rng.integers(1, 3)):
        lateral, depth = side() * rng.uniform(1.05, 1.15), rng.uniform(0.2, 0.7)
        add(POLE, lateral, depth, 1.15, (52, 56, 60))
        if rng.random() < 0.6:
            paint = np.asarray(one_of(SIGN_PAINT), dtype=np.float32)
            things.append(things[-1]._replace(kind=SIGN, depth=depth + 1e-3, paint=paint))
    if pedestrians:
        lateral, depth = side() * (1 + pavement * rng.uniform(0.2, 0.8)), rng.uniform(0.28, 0.55)
        for _ in range(rng.integers(2, 5)):
            place = lateral + rng.normal(0, 0.22), float(np.clip(depth * rng.normal(1, 0.12), 0.2, 0.7))
            add(PEDESTRIAN, *place, 0.5, one_of(CLOTHES), rng.normal(0, 0.02))
    if bicyclists:
        lateral, depth = side() * rng.uniform(0.75, 0.95), rng.uniform(0.28, 0.55)
        for _ in range(rng.integers(1, 4)):
            place = lateral + rng.normal(0, 0.16), float(np.clip(depth * rng.normal(1, 0.15), 0.2, 0.7))
            add(BICYCLIST, *place, 0.52, one_of(VESTS), rng.normal(0, 0.05))
    return tuple(things)

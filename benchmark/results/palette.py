"""Colour, dash and mark of each strategy: the same over the whole page, and from report to report.

The colours were found by a search: the smallest CIE Lab distance of any two of them (and of the black of full
supervision) is 29 as readers with protanopia or deuteranopia see them, simulated after [Machado2009]; the well-known
palette of Okabe and Ito reaches 8 with its yellow darkened for white paper. Marks and dashes repeat the distinction:
a solid line has a spatial term, a dashed one has none, Random is dotted.

[Machado2009]  Machado, Oliveira, Fernandes. A physiologically-based model for simulation of color vision deficiency.
               IEEE TVCG 15(6), 2009.
"""

import itertools
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace

from quadrat.benchmark.config.trial import FULL_SUPERVISION

__all__ = ["FULL_SUPERVISION_LOOK", "Look", "looks_of", "round_colours"]


@dataclass(frozen=True, kw_only=True)
class Look:
    """The look of one strategy.

    Attributes:
        colour: Hex.
        mark: SVG path of its point, in a square from -1 to 1 (Vega takes the same path).
        dash: Lengths of dashes and gaps in pixels; empty for a solid line.
    """

    colour: str
    mark: str
    dash: tuple[int, ...] = ()


_CIRCLE = "M-.9,0a.9,.9 0 1,0 1.8,0a.9,.9 0 1,0 -1.8,0z"
_SQUARE = "M-.8,-.8h1.6v1.6h-1.6z"
_UP = "M0,-1L1,.8H-1z"
_DOWN = "M0,1L1,-.8H-1z"
_DIAMOND = "M0,-1.1L1.1,0L0,1.1L-1.1,0z"
_PLUS = "M-.35,-1h.7v.65h.65v.7h-.65v.65h-.7v-.65h-.65v-.7h.65z"
_STAR = "M0,-1.15L.3,-.4L1.1,-.36L.48,.15L.68,.93L0,.49L-.68,.93L-.48,.15L-1.1,-.36L-.3,-.4z"
_BAR = "M-1.1,-.45h2.2v.9h-2.2z"

_MARKS = (_CIRCLE, _SQUARE, _UP, _DIAMOND, _PLUS, _DOWN, _STAR)

FULL_SUPERVISION_LOOK = Look(colour="#000000", mark=_BAR, dash=(6, 4))

_SOLID, _DASHED, _DOTTED, _MIXED = (), (7, 3), (2, 2), (9, 3, 2, 3)
_DASHES: tuple[tuple[int, ...], ...] = (_SOLID, _DASHED, _DOTTED, _MIXED)

_KNOWN = {
    "random": Look(colour="#757575", mark=_CIRCLE, dash=_DOTTED),
    "entropy": Look(colour="#d24a03", mark=_SQUARE, dash=_DASHED),
    "entropy-random": Look(colour="#aa70c2", mark=_UP, dash=_DASHED),
    "core-set": Look(colour="#782ae8", mark=_DIAMOND, dash=_DASHED),
    "feature-spatial": Look(colour="#ffb40d", mark=_PLUS),
    "entropy-feature": Look(colour="#0cc15f", mark=_DOWN, dash=_DASHED),
    "entropy-spatial": Look(colour="#831c1b", mark=_STAR),
    "entropy-feature-spatial": Look(colour="#001e77", mark=_BAR),
}

_FIRST = "#ffffff"
_LATER = ("#f0f921", "#fdb130", "#ed6a52", "#cc3080", "#8f0da4")
"""Plasma (van der Walt and Smith, 2015) without its dark end, which is lost on photographs."""


def looks_of(strategies: Mapping[str, str], queries: Mapping[str, Hashable] | None = None) -> dict[str, Look]:
    """Return the look of each label; a shipped strategy has the same one in every report.

    A second label of the same strategy (other parameters) and strategies of plugins take the colours that are left;
    when all are taken, they begin again with another dash. Where there are several queries (region sizes, label types),
    a strategy keeps its colour over all of them and the dash shows the query; of more queries than there are dashes
    the mark shows which four it is of.

    Args:
        strategies: Label -> registered name, in suite order.
        queries: Label -> query.
    """
    all_queries = list(dict.fromkeys((queries or {}).values()))
    if len(all_queries) > 1 and queries is not None:
        bases = _bases(strategies, queries)
        own = _looks_of_labels({bases[label]: strategy for label, strategy in strategies.items()})
        places = {query: place for place, query in enumerate(all_queries)}
        looks = {label: _under(own[bases[label]], places[queries[label]], len(all_queries)) for label in strategies}
    else:
        looks = _looks_of_labels(strategies)
    return looks | {FULL_SUPERVISION: FULL_SUPERVISION_LOOK}


def _under(own: Look, place: int, num: int) -> Look:
    """Return the look of a strategy under query number `place` of `num`."""
    four, dash = divmod(place, len(_DASHES))
    mark = own.mark if num <= len(_DASHES) else _MARKS[four % len(_MARKS)]
    return replace(own, mark=mark, dash=_DASHES[dash])


def _bases(strategies: Mapping[str, str], queries: Mapping[str, Hashable]) -> dict[str, str]:
    """Return what labels have in common that name a strategy under different queries: the n-th of each, by its name.

    Labels of one strategy and one query differ by their parameters; the n-th of one query is taken for the n-th of all.
    """
    seen: dict[tuple[str, Hashable], int] = {}
    bases = {}
    for label, strategy in strategies.items():
        place = seen[strategy, queries[label]] = seen.get((strategy, queries[label]), -1) + 1
        bases[label] = f"{strategy} {place}"
    return bases


def _looks_of_labels(strategies: Mapping[str, str]) -> dict[str, Look]:
    looks: dict[str, Look] = {}
    for label, strategy in strategies.items():
        own = _KNOWN.get(strategy)
        if own is not None and own not in looks.values():
            looks[label] = own
    taken = {(look.colour, look.mark) for look in looks.values()}
    left = [look for look in _KNOWN.values() if (look.colour, look.mark) not in taken]
    others = (replace(look, dash=dash) for dash in _DASHES for look in _KNOWN.values())
    used = {*looks.values(), *left}
    free = itertools.chain(left, (look for look in others if look not in used))
    for label in strategies:
        if label not in looks:
            looks[label] = next(free, FULL_SUPERVISION_LOOK)
    return {label: looks[label] for label in strategies}


def round_colours(num_rounds: int) -> tuple[str, ...]:
    """Return one colour per round: white for round 0, then from light to dark.

    Examples:
        >>> round_colours(3)
        ('#ffffff', '#f0f921', '#8f0da4')
    """
    steps = max(num_rounds - 2, 1)
    return (_FIRST, *(_blend(i / steps) for i in range(num_rounds - 1)))


def _blend(position: float) -> str:
    """Return the colour at `position` in 0..1 along _LATER, linear in RGB."""
    place = position * (len(_LATER) - 1)
    index = min(int(place), len(_LATER) - 2)
    share = place - index
    ends = [[int(colour[k : k + 2], 16) for k in (1, 3, 5)] for colour in _LATER[index : index + 2]]
    return "#" + "".join(f"{round(low + share * (high - low)):02x}" for low, high in zip(*ends, strict=True))

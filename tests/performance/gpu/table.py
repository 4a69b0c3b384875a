"""What was aimed at, what was measured, and what the card allows: one table over the stages' results."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

__all__ = ["Row", "rows", "write_table"]

Results = Mapping[str, Mapping[str, Any]]
_FITS = {
    "fit": "one CUDA graph",
    "fit-launched": "kernel by kernel",
    "fit-default": "compile: default",
    "fit-reduce-overhead": "compile: reduce-overhead",
}


class Row(NamedTuple):
    """A number that is to be reached; None where its stage has no result."""

    what: str
    bound: Literal["at least", "at most"] | None  # None: for information, no aim
    aim: float | None
    measured: float | None
    floor: str = ""

    @property
    def is_met(self) -> bool:
        """Whether it was measured and is good enough."""
        if self.measured is None:
            return False
        if self.bound is None or self.aim is None:
            return True
        return self.measured <= self.aim if self.bound == "at most" else self.measured >= self.aim


def rows(results: Results) -> Iterator[Row]:
    """Yield the rows that the stages' results make; `results` maps a stage's name to what its command printed."""
    for name, which in (("tests", "GPU tests"), ("tests-compiled", "GPU tests of torch.compile")):
        tests = results.get(name)
        ended = "" if tests is None or tests["is_complete"] else ", stopped"
        yield Row(f"{which} that failed{ended}", "at most", 0, None if tests is None else len(tests["failed"]))
        yield Row(f"{which} that passed{ended}", None, None, None if tests is None else tests["passed"])
    floors = results.get("card", {}).get("floors", {})
    for name, how in _FITS.items():
        yield Row(f"fit over naive, {how}", "at least", 4.0, results.get(name, {}).get("ratio"))
        rate = _of_side(results, name, "quadrat fit", "images_per_s")
        yield Row(f"fit, images/s, {how}", None, None, rate, _floor(floors.get("fit")))
        busy = _of_side(results, name, "quadrat fit", "gpu_busy_share")
        yield Row(f"share of fit in which a kernel runs, {how}", "at least", 0.85, busy)
    yield Row("score over naive", "at least", 4.0, results.get("score", {}).get("ratio"))
    rate = _of_side(results, "score", "quadrat score", "images_per_s")
    yield Row("score, images/s", None, None, rate, _floor(floors.get("score")))
    over = _of_side(results, "score", "quadrat score", "over_forward")
    yield Row("score over the bare forward pass", "at most", 0.1, over)
    for side in results.get("selection", {}).get("rows", ()):
        has_aim = side["side"] in ("core-set", "entropy-feature")
        aim: tuple[Literal["at most"] | None, float | None] = ("at most", 0.5) if has_aim else (None, None)
        yield Row(f"select, s: {side['side']}", *aim, side.get("seconds"), str(side.get("floor", "")))
    for pair in results.get("together", {}).get("rows", ()):
        yield Row(f"fits of {pair['trials']} trials at once, over one alone", None, None, pair["ratio"])
    trials = results.get("trials", {})
    yield Row(f"trials of the suite, of {trials.get('trials', 'all')}", None, None, trials.get("complete"))
    wall_s = results.get("plan", {}).get("estimate", {}).get("wall_s")
    yield Row("hours of the suite on one GPU, by plan", "at most", 1.0, None if wall_s is None else wall_s / 3600)


def _of_side(results: Results, stage: str, side: str, field: str) -> float | None:
    found = results.get(stage, {}).get("rows", ())
    return next((row.get(field) for row in found if row["side"] == side), None)


def _floor(floor: Mapping[str, float] | None) -> str:
    if floor is None:
        return ""
    by_flop, by_bytes = floor["images_per_s_by_flop"], floor["images_per_s_by_bytes"]
    return f"{floor['images_per_s']:,.0f} (FLOP {by_flop:,.0f}, bytes {by_bytes:,.0f})"


def write_table(found: list[Row], about: Mapping[str, Any]) -> str:
    """Return the rows as a Markdown table below a line on the machine."""
    card, commit = about.get("card") or "no GPU", about.get("commit") or "unknown"
    lines = [f"Card: {card}; commit `{commit}`.", "", "| what | aim | measured | floor | |", "|---|---|---|---|---|"]
    for row in found:
        aim = "" if row.bound is None else f"{row.bound} {row.aim:g}"
        measured = "not measured" if row.measured is None else f"{row.measured:,.4g}"
        verdict = "" if row.bound is None else ("met" if row.is_met else "missed")
        lines.append(f"| {row.what} | {aim} | {measured} | {row.floor} | {verdict} |")
    return "\n".join(lines) + "\n"

"""Text of `quadrat show --plan`: hours, memory and disk of a suite, estimated from what was measured."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from quadrat.benchmark.config.suite import Suite
from quadrat.benchmark.config.trial import cuts
from quadrat.benchmark.planning.estimate import Estimate
from quadrat.benchmark.planning.extent import DataExtent
from quadrat.benchmark.planning.measure import Measured
from quadrat.benchmark.planning.work import Workload
from quadrat.cluster.cli.console import make_table
from quadrat.cluster.cli.suite_view import facts_table, region_counts, show_bytes
from quadrat.cluster.progress.display import seconds

__all__ = ["as_json", "hours", "minutes", "render_plan"]


def as_json(suite: Suite, extent: DataExtent, work: Workload, measured: Measured, plan: Estimate) -> dict[str, Any]:
    """Return a plan with its inputs as a JSON-plain dictionary; times in seconds, sizes in bytes."""
    regions = [
        {
            "kind": regions.title,
            "region_size": size,
            "num": extent.num_regions(size, regions),
            "is_counted": extent.is_counted(size, regions),
        }
        for size, regions in cuts(suite.trials())
    ]
    scorings = [
        {**dataclasses.asdict(needs), "passes": passes, "s_per_image": measured.score_s[needs]}
        for needs, passes in work.scorings.items()
    ]
    rest = {name: value for name, value in vars(work).items() if name != "scorings"}
    speed = {name: value for name, value in vars(measured).items() if name != "score_s"}
    return {
        "suite": suite.name,
        "data": dataclasses.asdict(extent),
        "regions": regions,
        "work": {**rest, "scorings": scorings},
        "measured": {**speed, "notes": list(measured.notes)},
        "estimate": dataclasses.asdict(plan),
    }


def render_plan(
    suite: Suite, extent: DataExtent, work: Workload, measured: Measured, plan: Estimate
) -> Iterator[RenderableType]:
    """Yield the parts of the text."""
    unit, cost = "GPU" if measured.is_gpu else "CPU core", measured.cores
    table = make_table()
    is_scaled = measured.host_bytes is None
    word, show_time = ("minutes", minutes) if plan.device_s < 3600 else ("hours", hours)
    for name in ("work", "how much", "measured and scaled" if is_scaled else "measured", f"{unit} {word}"):
        table.add_column(name, justify="left" if name == "work" else "right")
    most = "at most " if work.is_upper_bound else ""
    table.add_row(
        f"fit {work.num_fits:,} models",
        f"{most}{work.num_iterations:,} iterations",
        f"{_short_s(measured.iteration_s)} each",
        show_time(plan.fit_s * cost),
    )
    for needs, passes in work.scorings.items():
        images, each_s = passes * extent.num_pool, measured.score_s[needs]
        table.add_row(
            f"score {needs}",
            f"{images:,} images",
            f"{_short_s(each_s)} each",
            show_time(images * each_s * cost),
        )
    table.add_row(
        "evaluate",
        f"{work.num_evaluations * extent.num_test:,} images",
        f"{_short_s(measured.evaluate_s)} each",
        show_time(plan.evaluate_s * cost),
    )
    if measured.encode_s:
        table.add_row(
            "encode once",
            f"{extent.num_pool + extent.num_test:,} images",
            f"{_short_s(measured.encode_s)} each",
            show_time(plan.encode_s * cost),
        )
    table.add_row("all", "", "", show_time(plan.device_s), style="bold")
    clock = "wall time"
    if measured.is_cpu_time:
        clock = "CPU time" if measured.threads == 1 else "CPU time by threads, as if all were busy"
    yield Text(
        f"\nplan of the whole suite, as if nothing were done yet; measured on {measured.device} ({clock}, "
        f"{measured.threads} threads, one trial alone); what trials share is counted once"
    )
    yield table
    yield Text()
    yield _facts(suite, extent, measured, plan, unit)
    for note in measured.notes:
        yield Text(f"! {note}")


def hours(seconds: float) -> str:
    """Return seconds as hours, with as many decimals as matter.

    Examples:
        >>> hours(36), hours(5400), hours(3600000)
        ('0.01', '1.50', '1,000')
    """
    value = seconds / 3600
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def minutes(seconds: float) -> str:
    """Return seconds as minutes.

    Examples:
        >>> minutes(6), minutes(276)
        ('0.1', '4.6')
    """
    return f"{seconds / 60:.1f}"


def _facts(suite: Suite, extent: DataExtent, measured: Measured, plan: Estimate, unit: str) -> Table:
    devices = f"{plan.num_devices} {unit}{'s' if plan.num_devices > 1 else ''}"
    memory = [f"{show_bytes(measured.gpu_bytes)} of GPU"] if measured.gpu_bytes is not None else []
    if measured.host_bytes is not None:
        memory.append(f"{show_bytes(measured.host_bytes)} of host for a trial")
    else:
        memory.append("of host not measured, since images or iterations were scaled")
    disk = [f"packed images {show_bytes(plan.packed_bytes)}"]
    if plan.feature_bytes:
        disk.append(f"frozen features {show_bytes(plan.feature_bytes)}")
    disk += [
        f"store {show_bytes(plan.light_bytes)} (keep: light) or {show_bytes(plan.all_bytes)} (keep: all)",
        f"selections {show_bytes(plan.selection_bytes)}",
    ]
    facts = {
        "images": f"{extent.num_pool:,} + {extent.num_test:,} of {extent.width} x {extent.height}: {extent.source}",
        **region_counts(suite.trials(), extent),
        "wall time": f"about {seconds(plan.wall_s)} on {devices}, {_at_a_time(measured, plan)}",
        "memory": ", ".join(memory),
        "disk": ", ".join(disk),
        "left out": "selecting, packing, starting Ray and loading torch (about half a minute on a CPU)"
        + ("; what trials that share a GPU cost each other" if measured.is_gpu and plan.in_flight > 1 else ""),
    }
    return facts_table(facts)


def _at_a_time(measured: Measured, plan: Estimate) -> str:
    if plan.in_flight == 1:
        return "one trial at a time"
    slow = f", each {measured.side_by_side:.2f} times as slow as alone" if not measured.is_gpu else ""
    return f"{plan.in_flight} trials at a time{slow}"


def _short_s(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"

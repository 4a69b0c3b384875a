"""Simulate the statistics of the report: `make simulate`, or `python -m performance.simulation` in `tests/`."""

import json
import platform
import time
from pathlib import Path

import click
import numpy as np
import scipy

from performance.simulation.page import page
from performance.simulation.tables import coverage_rows, false_claim_rows, planning_rows, power_rows, query_rows
from quadrat.benchmark.storage.atomic import atomic_write


@click.command()
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder of the tables")
@click.option("--studies", type=click.IntRange(min=100), default=10_000, show_default=True, help="Studies a row")
def simulate(out: Path, studies: int) -> None:
    """Count false claims, coverage and power over simulated studies; write simulation.json and README.md."""
    start = time.perf_counter()
    found = {
        "coverage": coverage_rows(studies, num_before=max(100, studies // 5)),
        "false claims": false_claim_rows(studies),
        "queries": query_rows(studies),
        "power": power_rows(studies),
        "planning": planning_rows(studies),
    }
    versions = {"python": platform.python_version(), "numpy": np.__version__, "scipy": scipy.__version__}
    tables = {name: [row.as_dict() for row in rows] for name, rows in found.items()}
    atomic_write(out / "simulation.json", (json.dumps({"versions": versions, **tables}, indent=1) + "\n").encode())
    atomic_write(out / "README.md", page(found).encode())
    click.echo(f"{out}: {sum(map(len, found.values()))} rows in {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    simulate()

"""Metrics of a run: their values by its status, on the endpoint that Prometheus reads, and in the panels of Grafana."""

import json
import re
import sys
import threading
import time
import urllib.request
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.fake_trials import ENGINE, ON_GPU, make_record, make_suite, plan
from support.paths import ROOT
from support.ray_nodes import ray_nodes

from quadrat.cluster.progress.progress import RunProgress
from quadrat.cluster.progress.status import StatusFile, describe
from quadrat.cluster.runner.context import RunOptions
from quadrat.cluster.runner.driver import run_in_foreground, run_on_ray
from quadrat.cluster.runner.metrics import FITS, GAUGES, GPU_MEMORY, GpuMemory, RunMetrics, gpu_memory_bytes

SUITE = make_suite()
TRIALS = SUITE.trials()
DASHBOARD = json.loads((ROOT / "cluster" / "deploy" / "grafana-dashboard.json").read_text(encoding="utf-8"))
RAYS_OWN = {"ray_node_gpus_utilization", "ray_node_gram_used"}


def test_gauges_are_what_the_status_of_the_run_says(tmp_path: Path) -> None:
    progress = RunProgress(TRIALS)
    for spec in TRIALS[:2]:
        progress.start(spec)
    progress.record(make_record(TRIALS[0], 0))
    progress.fail(TRIALS[1].trial_id)
    status = describe(progress)
    values = {metric.name.removeprefix("quadrat_"): value(status) for metric, value in GAUGES.items()}
    assert values == {
        "trials_running": 1,
        "trials": 4,
        "trials_complete": 0,
        "trials_failed": 1,
        "rounds": 12,
        "rounds_done": 1,
        "candidates": None,
        "candidates_ended": None,
    }


def test_fits_are_counted_once_each() -> None:
    metrics = RunMetrics("fake")
    added: list[int] = []
    metrics._fits = SimpleNamespace(inc=lambda value, tags: added.append(value))
    for trained in (0, 2, 2, 5):
        metrics.update({"in_flight": [], "fits": {"trained": trained, "shared": 7}})
    assert added == [2, 3]


def test_a_status_is_passed_on_while_somebody_reads_it(tmp_path: Path) -> None:
    now, seen = [0.0], list[str]()
    progress = RunProgress(TRIALS)
    with StatusFile(lambda: describe(progress), "fake", tmp_path, clock=lambda: now[0]) as status:
        with status.passed_to(lambda document: seen.append(document["state"])):
            status.update()
            now[0] = 3.0
            status.update()
        now[0] = 6.0
        status.update()
    assert seen == ["running", "running"]


def test_without_ray_and_without_a_gpu_nothing_is_measured_and_nothing_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert gpu_memory_bytes() is None
    GpuMemory("fake").update()
    RunMetrics("fake").update({**describe(RunProgress(TRIALS)), "fits": {"trained": 1, "shared": 0}})
    options = RunOptions(results_dir=tmp_path, engine=ENGINE, logs_to_mlflow=False)
    assert run_in_foreground(SUITE, TRIALS, options).exit_code == 0
    is_ready = False
    monkeypatch.setitem(
        sys.modules,
        "torch",
        SimpleNamespace(cuda=SimpleNamespace(is_initialized=lambda: is_ready, memory_reserved=lambda: 5)),
    )
    assert gpu_memory_bytes() is None
    is_ready = True
    assert gpu_memory_bytes() == 5


def names_in(value: Any) -> set[str]:
    """Return the names of metrics in all queries of a dashboard."""
    if isinstance(value, dict):
        own = {name for key in ("expr", "query", "definition") for name in queried(value.get(key))}
        return own.union(*map(names_in, value.values()))
    return set().union(*map(names_in, value)) if isinstance(value, list) else set()


def queried(query: object) -> list[str]:
    return re.findall(r"\bray_\w+", query) if isinstance(query, str) else []


def exported(names: Any = None) -> set[str]:
    return {f"ray_{metric.name}" for metric in GAUGES} | {f"ray_{FITS.name}_total", f"ray_{GPU_MEMORY.name}"}


def test_every_query_of_the_dashboard_names_a_metric_that_exists_and_every_metric_is_shown() -> None:
    from ray.dashboard.modules.reporter.reporter_agent import METRICS_GAUGES

    assert {name.removeprefix("ray_") for name in RAYS_OWN} <= METRICS_GAUGES.keys()
    assert names_in(DASHBOARD) == exported() | RAYS_OWN
    boxes = [panel["gridPos"] for panel in DASHBOARD["panels"]]
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len({(box["x"], box["y"]) for box in boxes}) == 8


@pytest.mark.slow
@pytest.mark.cluster
def test_a_node_serves_the_metrics_of_a_run_to_prometheus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_metrics_report_interval_ms", "1000")
    plan(tmp_path, TRIALS[0], what="pause", times=1)
    wanted = {
        'ray_quadrat_trials_running{suite="fake"}': 1,
        'ray_quadrat_trials_complete{suite="fake"}': 3,
        'ray_quadrat_rounds_done{suite="fake"}': 10,
        'ray_quadrat_fits_total{suite="fake"}': 10,
        'ray_quadrat_gpu_memory_bytes{suite="fake"}': 3 * 2**30,
    }
    seen: dict[str, float] = {}

    def watch(url: str) -> None:
        until_s = time.monotonic() + 60
        while time.monotonic() < until_s and not wanted.items() <= seen.items():
            time.sleep(0.5)
            seen.update(read(url))
        (tmp_path / "plans" / "release").touch()

    with ray_nodes(2) as cluster:
        node = cluster.head_node
        url = f"http://{node.node_ip_address}:{node.metrics_export_port}/metrics"
        thread = threading.Thread(target=watch, args=(url,), daemon=True)
        thread.start()
        options = RunOptions(results_dir=tmp_path, engine=ON_GPU, logs_to_mlflow=False, ray_address=cluster.address)
        assert run_on_ray(SUITE, TRIALS, options).exit_code == 0
        thread.join()
        until_s = time.monotonic() + 30
        lasting = {'ray_quadrat_fits_total{suite="fake"}'}
        while (left := set(read(url)) - lasting) and time.monotonic() < until_s:
            time.sleep(0.5)
    assert left == set()  # no trial seems to run, nor a GPU to be held, when driver and workers have gone
    assert {name: seen.get(name) for name in wanted} == wanted


def read(url: str) -> dict[str, float]:
    """Return the values of our metrics by name and suite."""
    with urllib.request.urlopen(url, timeout=10) as page:
        text = page.read().decode()
    found = re.findall(r'^(ray_quadrat_\w+)\{[^}]*suite="([^"]*)"[^}]*\} (\S+)$', text, flags=re.MULTILINE)
    return {f'{name}{{suite="{suite}"}}': float(value) for name, suite, value in found}

"""Run as much of a suite as fits into some seconds, and print one JSON object; the same command goes on.

`quadrat run` on a Ray of its own: trials share the GPU as the suite says, records stay in the results folder.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from quadrat.benchmark.config.suite import Suite
from quadrat.benchmark.results.records import read_records_so_far
from quadrat.cluster.cli.places import open_suite

__all__ = ["describe_records", "make_parser"]

_TIME_IS_UP = 75  # exit code of `quadrat run --max-hours`


def describe_records(suite: Suite, results_dir: Path) -> dict[str, Any]:
    """Return how far the suite is: its trials and rounds, those that are there, and the seconds of these."""
    records = read_records_so_far(results_dir)
    rounds = {(record.trial_id, record.round) for record in records}
    wanted = {trial.trial_id: trial.num_rounds for trial in suite.trials()}
    done = {trial_id: sum(trial_id == other for other, _ in rounds) for trial_id in wanted}
    num_complete = sum(done[trial_id] >= num_rounds for trial_id, num_rounds in wanted.items())
    return {
        "trials": len(wanted),
        "complete": num_complete,
        "rounds": sum(wanted.values()),
        "rounds_done": sum(done.values()),
        "is_partial": num_complete < len(wanted),
    }


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suite")
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    return parser


def main() -> int:
    """Run, and say how far it got."""
    options = make_parser().parse_args()
    settings = [part for setting in options.settings for part in ("--set", setting)]
    command = [sys.executable, "-m", "quadrat.cluster", "run", options.suite, *settings]
    command += ["--results", str(options.results), "--mlflow", "none", "--no-report"]
    command += ["--max-hours", f"{options.seconds / 3600:.5f}"]
    begin = time.monotonic()
    exit_code = subprocess.run(command, stdout=sys.stderr).returncode
    if exit_code not in (0, _TIME_IS_UP):
        return exit_code
    found = describe_records(open_suite(options.suite, options.settings).suite, options.results)
    print(json.dumps({**found, "seconds": round(time.monotonic() - begin, 1)}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Options that several commands share: resources, completion of names."""

from collections.abc import Callable
from pathlib import Path

import click
from click.shell_completion import ShellComplete

from quadrat.benchmark.config.suite import load_suite
from quadrat.cluster.cli.main import cli
from quadrat.cluster.cli.options import with_resources


def test_resources_come_last_and_change_no_trial(write_suite: Callable[..., Path]) -> None:
    settings = with_resources(["resources.cpus=3"], jobs=2, cpus=4, gpus=0.25)
    suite = load_suite(write_suite(), settings)
    assert (suite.resources.max_in_flight, suite.resources.cpus, suite.resources.gpus) == (2, 4, 0.25)
    alone = load_suite(write_suite(), with_resources([], None, None, None))
    assert [spec.trial_id for spec in suite.trials()] == [spec.trial_id for spec in alone.trials()]


def completions(words: list[str], incomplete: str) -> dict[str, str]:
    assert isinstance(cli, click.Command)
    found = ShellComplete(cli, {}, "quadrat", "_QUADRAT_COMPLETE").get_completions(words, incomplete)
    return {item.value: item.type for item in found}


def test_tab_completes_suites_labels_and_folders(write_suite: Callable[..., Path]) -> None:
    assert completions(["run"], "quick") == {"quickstart": "plain", "quick": "file"}
    assert completions(["stats"], "quick") == {"quickstart": "plain", "quick": "dir"}
    suite = str(write_suite())
    assert completions(["run", suite, "--strategy"], "") == {"random": "plain", "entropy-spatial": "plain"}
    assert completions(["run", suite, "--strategy"], "ent") == {"entropy-spatial": "plain"}
    assert completions(["run", "no-such-suite", "--strategy"], "") == {}

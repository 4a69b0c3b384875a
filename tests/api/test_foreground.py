"""A trial from Python gives the records of the command line."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

import quadrat
from quadrat.benchmark.errors import ResultsError, SuiteError
from quadrat.benchmark.results.comparison import differences
from quadrat.cluster.cli.main import cli


def test_a_label_that_the_suite_lacks_is_refused(write_suite: Callable[..., Path]) -> None:
    with pytest.raises(SuiteError, match="expected a label of suite 'tiny'"):
        quadrat.trial(write_suite(), "entropi", 0)


def test_a_url_is_no_folder(write_suite: Callable[..., Path]) -> None:
    with pytest.raises(ResultsError, match=r"expected a folder, got the URL 's3://bucket/prefix'"):
        quadrat.run(write_suite(), results="s3://me:secret@bucket/prefix")


@pytest.mark.slow
def test_a_trial_gives_the_records_of_the_command(write_suite: Callable[..., Path], tmp_path: Path) -> None:
    suite = write_suite()
    results = quadrat.trial(suite, "random", 0, results=tmp_path / "here")
    assert repr(results).startswith("tiny on")
    arguments = ["trial", str(suite), "--strategy", "random", "--seed", "0", "--results", str(tmp_path / "there")]
    assert CliRunner().invoke(cli, arguments).exit_code == 0
    assert differences(tmp_path / "here", tmp_path / "there") == []
    # Complete: it is read, not run again.
    assert quadrat.trial(suite, "random", 0, results=tmp_path / "here").frame().equals(results.frame())

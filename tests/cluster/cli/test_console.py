"""Command lines that can be pasted, and the width of what is printed."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from quadrat.cluster.cli.console import command_again, filled, filled_error, pasteable, say, text_columns
from quadrat.cluster.cli.listing import LISTED
from quadrat.cluster.cli.verify import _by_trial


def script(folder: Path) -> Path:
    folder.mkdir(parents=True)
    path = folder / "quadrat"
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_a_script_that_is_not_on_the_path_is_named_as_it_was_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, other = script(tmp_path / "project" / ".venv" / "bin"), script(tmp_path / "other")
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.setattr(sys, "argv", [str(own), "run"])
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert pasteable("show", "my suite.yaml") == ".venv/bin/quadrat show 'my suite.yaml'"
    monkeypatch.setenv("PATH", str(other.parent))  # another quadrat is on it
    assert pasteable("ui") == ".venv/bin/quadrat ui"
    monkeypatch.setenv("PATH", str(own.parent))
    assert pasteable("ui") == "quadrat ui"
    monkeypatch.setenv("PATH", str(other.parent))
    monkeypatch.chdir(tmp_path / "other")
    assert pasteable("ui") == f"{own} ui"


def test_a_module_is_named_with_its_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/somewhere/quadrat/cluster/__main__.py"])
    assert pasteable("ui") == f"{sys.executable} -m quadrat.cluster ui"


def test_columns_count_in_a_pipe_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    assert text_columns() == 20
    assert filled("one two three four five six", "  ") == "one two three four\n  five six"
    monkeypatch.delenv("COLUMNS")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False, raising=False)
    assert text_columns() is None
    assert filled("one two three four five six") == "one two three four five six"


def test_an_error_is_filled_and_its_command_line_stays_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    message = "expected a store in the folder, got none; `quadrat track DIR` makes it\nsecond line"
    monkeypatch.setenv("COLUMNS", "45")
    assert filled_error(message, "error: ") == (
        "expected a store in the folder, got\n  none; `quadrat track DIR` makes it\nsecond line"
    )
    monkeypatch.setenv("COLUMNS", "28")
    assert "\n  `quadrat track DIR` makes\n" in filled_error(message, "error: ")
    install = "'quadrat run' needs ray: pip install \"quadrat[cluster]\""
    assert '  pip install "quadrat[cluster]"' in filled_error(install, "error: ").splitlines()
    monkeypatch.delenv("COLUMNS")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    assert filled_error(message, "error: ") == message


@pytest.mark.parametrize(
    "command",
    [
        ["ui", "a-folder-of-a-rather-long-name/in-another-one/that-is-not-there"],  # ours
        ["show", "quickstart", "--set", "learner.iterations=many-more-than-there-can-ever-be"],
        ["list", "what-is-no-registry-and-has-a-long-name-which-does-not-fit-into-a-line"],  # click's
    ],
    ids=" ".join,
)
def test_no_line_of_an_error_is_broken_by_the_terminal(
    quadrat: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    result = quadrat(*command)
    assert result.exit_code == 2
    assert max(map(len, result.stderr.splitlines())) <= 80


@pytest.mark.parametrize("columns", ["80", "60"])
@pytest.mark.parametrize(
    "command",
    [["list", what] for what in LISTED]
    + [["list", "strategies", "entropy-spatial"], ["show", "quickstart"], ["show", "scenes-study"]],
    ids=" ".join,
)
def test_what_is_printed_fits_into_the_columns(
    quadrat: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, command: list[str], columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    result = quadrat(*command)
    assert result.exit_code == 0
    tables = [line for line in result.stdout.splitlines() if "  " in line.strip()]
    assert tables and max(map(len, tables)) <= int(columns)


def test_a_trial_is_one_line_and_a_strategys_parameters_are_there_once(
    quadrat: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    output = quadrat("show", "quickstart").stdout
    assert output.count("pca_dim=") == 1
    trials = [line for line in output.splitlines() if line.startswith("entropy-spatial-r16-")]
    assert len(trials) == 2 and all("entropy-spatial" in line and line.split()[-1] == "4" for line in trials)


def test_the_hint_of_a_plan_can_be_pasted(
    quadrat: Callable[..., Result], write_suite: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = write_suite(name="named-otherwise")
    monkeypatch.setenv("COLUMNS", "80")
    output = quadrat("show", suite, "--set", "seeds=[0, 1]").stdout
    assert output.endswith(f"\n  quadrat show {suite} --set 'seeds=[0, 1]' --plan\n")


def test_a_line_that_is_too_wide_is_continued_below_its_beginning(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    say("class   images\n  one two three four five\n\na/path/that/is/longer/than/it")
    assert capsys.readouterr().out.splitlines() == [
        "class   images",
        "  one two three four",
        "    five",
        "",
        "a/path/that/is/longer/than/it",
    ]
    monkeypatch.delenv("COLUMNS")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False, raising=False)
    say("one two three four five six seven")
    assert capsys.readouterr().out == "one two three four five six seven\n"


def test_a_strategys_description_fits_into_the_columns_and_its_sources_are_one_line_each(
    quadrat: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = quadrat("list", "strategies", "badge").stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert [line[:10] for line in lines if line.startswith("[")] == ["[Arthur200", "[Ash2020] "]
    assert not any("Axes:" in line for line in lines)


def test_rounds_of_a_trial_that_cannot_be_checked_for_one_reason_are_one_line() -> None:
    lines = ["a seed 0 round 1: no file", "a seed 0 round 2: no file", "a seed 1 round 0: no file", "a: b"]
    assert _by_trial([*lines, "a seed 0 round 3: damaged"]) == [
        "a seed 0 rounds 1, 2: no file",
        "a seed 1 round 0: no file",
        "a: b",
        "a seed 0 round 3: damaged",
    ]


def test_a_job_goes_on_by_the_command_that_submitted_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["quadrat", "run", "my suite.yaml"])
    monkeypatch.delenv("QUADRAT_COMMAND", raising=False)
    assert command_again() == "quadrat run 'my suite.yaml'"
    monkeypatch.setenv("QUADRAT_COMMAND", "quadrat submit mine.yaml --results s3://me:s3cr3t@bucket/a")
    assert command_again() == "quadrat submit mine.yaml --results s3://bucket/a"

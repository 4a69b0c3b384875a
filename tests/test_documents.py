"""The documents: links lead somewhere, and the README's example runs as it stands."""

import doctest
import re
import shlex
from pathlib import Path

import click
import numpy as np
import pytest
from support.paths import ROOT

from quadrat.cluster.cli.main import cli

DOCUMENTS = sorted(
    path
    for pattern in (
        "*.md",
        "strategies/**/*.md",
        "benchmark/**/*.md",
        "cluster/**/*.md",
        "tests/**/*.md",
        "results/**/*.md",
    )
    for path in ROOT.glob(pattern)
)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_relative_link_leads_to_a_file(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#\s]+)", text)
    relative = [link for link in links if "://" not in link]
    assert [link for link in relative if not (document.parent / link).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_line_of_quadrat_is_one_that_it_takes(document: Path) -> None:
    for line in command_lines(document.read_text(encoding="utf-8")):
        words = shlex.split(line, comments=True)[1:]
        command: click.Command = cli
        while isinstance(command, click.Group) and words and re.fullmatch("[a-z]+", words[0]):
            assert words[0] in command.commands, line
            command = command.commands[words.pop(0)]
        try:
            command.make_parser(click.Context(command)).parse_args(words)
        except click.UsageError as error:
            # A text may name an option alone, whose value is told elsewhere.
            assert isinstance(error, click.BadOptionUsage), f"{line}: {error.format_message()}"


def command_lines(text: str) -> list[str]:
    """Return the command lines that begin with `quadrat`: after a prompt, or set as code in a sentence."""
    prompts = re.findall(r"^\$ (?:[A-Z_]+=\S+ )*(quadrat .*)$", text, re.MULTILINE)
    quoted = re.findall(r"`(?:[A-Z_]+=\S+ )*(quadrat [^`\n]+)`", text)
    return [*prompts, *(line.replace("\\|", "|") for line in quoted)]


def test_the_example_of_the_readme_selects_what_its_comments_say() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(example, "README.md", "exec"), names)
    selection, pool = names["selection"], names["pool"]
    assert selection.regions.shape == selection.potential.shape == (50,)  # type: ignore[attr-defined]
    assert np.unique(selection.regions).size == 50  # type: ignore[attr-defined]
    assert not pool.labelled[selection.regions].any()  # type: ignore[attr-defined]


def test_the_notebook_of_the_readme_prints_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    (session,) = re.findall(r"```pycon\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    examples = doctest.DocTestParser().get_doctest(session, {}, "README.md", "README.md", 0)
    assert len(examples.examples) >= 5
    assert doctest.DocTestRunner().run(examples).failed == 0


def test_the_landing_page_fits_on_a_few_screens() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 145

"""Where results are: the folder or URL that an argument names, and a suite with the folder of its results."""

import difflib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from quadrat.cluster.cli.console import pasteable
from quadrat.cluster.runner.job_folder import in_job_folder

if TYPE_CHECKING:
    from quadrat.benchmark.config.suite import Suite
    from quadrat.benchmark.storage.remote import Remote

__all__ = [
    "DEFAULT_RESULTS",
    "OpenedSuite",
    "find_results",
    "local_copy",
    "locate_results",
    "open_suite",
    "remote_of",
    "results_root",
]

DEFAULT_RESULTS: Final = Path("results/runs")
"""Parent of results folders unless --results or $QUADRAT_RESULTS says otherwise, relative to the working directory."""


class OpenedSuite(NamedTuple):
    """A suite and the local folder of its results."""

    suite: "Suite"
    results_dir: Path


def remote_of(results: Path | str | None) -> "Remote | None":
    """Return the remote copy of the results when --results is a URL, None for a folder."""
    from quadrat.benchmark.storage.remote import Remote

    return Remote(results) if isinstance(results, str) else None


def local_copy(results: Path | str, *folders: str) -> Path:
    """Return the folder of existing results; those of a URL are fetched first, with these folders of them.

    Raises:
        ResultsError: When the URL cannot be reached.
    """
    from quadrat.benchmark.results.lock import fetch_results

    return results if isinstance(results, Path) else fetch_results(results, folders)


def find_results(target: str, *folders: str) -> Path:
    """Return the folder of the results that `target` names, see `locate_results`; those of a URL are fetched first.

    Args:
        target: A results folder, its URL, or a suite.
        folders: Folders of the results that are fetched too.

    Raises:
        ResultsError: When there are no such results, or the URL cannot be reached.
        SuiteError: When it is neither a folder nor a suite.
    """
    return local_copy(locate_results(target), *folders)


def locate_results(target: str) -> Path | str:
    """Return the folder of the results that `target` names; a URL as it is.

    The results of a suite, a YAML file or a shipped name, are looked for where `quadrat run` puts them: below
    `$QUADRAT_RESULTS`, else below the working directory or a folder above it.

    Raises:
        ResultsError: When there is no such folder, or the suite has no results there.
        SuiteError: When it is neither a folder nor a suite.
    """
    from quadrat.benchmark.config.suite import shipped_suites
    from quadrat.benchmark.errors import ResultsError, SuiteError
    from quadrat.benchmark.storage.remote import is_url

    folder = Path(target).expanduser()
    if is_url(target):
        return target
    is_suite = target in shipped_suites() or folder.is_file()
    if (folder / "suite.json").is_file() or (folder.is_dir() and not is_suite):
        return folder
    if not is_suite and len(folder.parts) > 1 and not folder.suffix:
        raise ResultsError(f"{folder}: expected a results folder with suite.json, got no such folder")
    if not is_suite:
        close = difflib.get_close_matches(target, shipped_suites(), n=1)
        raise SuiteError(
            f"{folder}: expected a results folder with suite.json, or a suite (a YAML file, or one of "
            f"`{pasteable('list', 'suites')}`), got neither.{f' Did you mean {close[0]}?' if close else ''}"
        )
    name = open_suite(target, ()).suite.name
    roots = [results_root()]
    if roots[0] == DEFAULT_RESULTS:
        roots += [above / DEFAULT_RESULTS for above in Path.cwd().parents]
    found = next((root / name for root in roots if (root / name / "suite.json").is_file()), None)
    if found is None:
        where = "$QUADRAT_RESULTS" if os.environ.get("QUADRAT_RESULTS") else "this folder or one above it"
        raise ResultsError(
            f"expected results of suite '{name}' in {roots[0] / name} ({where}), got none: "
            f"`{pasteable('run', target)}` makes them; name their folder if they are elsewhere"
        )
    return found


def results_root() -> Path:
    """Return the parent of results folders by default: $QUADRAT_RESULTS, else below the working directory.

    The working directory of a submitted job is deleted by Ray: its results go to the home directory.
    """
    if root := os.environ.get("QUADRAT_RESULTS"):
        return Path(root)
    return Path.home() / DEFAULT_RESULTS if in_job_folder() else DEFAULT_RESULTS


def open_suite(suite_name: str, settings: Sequence[str], results: Path | str | None = None) -> OpenedSuite:
    """Return the suite of a path or a shipped name with its settings, and the local folder of its results.

    Paths become absolute: workers may have another working directory.
    """
    from quadrat.benchmark.config.suite import load_suite
    from quadrat.benchmark.storage.remote import working_folder

    suite = load_suite(suite_name, settings)
    if isinstance(root := suite.dataset.root, Path):
        dataset = suite.dataset.model_copy(update={"root": root.expanduser().absolute()})
        suite = suite.model_copy(update={"dataset": dataset})
    if isinstance(results, str):
        return OpenedSuite(suite, working_folder(results))
    if results is not None:
        _check_job_results(results)
    return OpenedSuite(suite, (results or results_root() / suite.name).expanduser().absolute())


def _check_job_results(results: Path) -> None:
    from quadrat.benchmark.errors import QuadratError

    if in_job_folder() and not results.expanduser().is_absolute():
        raise QuadratError(
            f"--results: expected an absolute path or a URL, got '{results}', which would lie in the working directory "
            "of a Ray job, and Ray deletes that"
        )

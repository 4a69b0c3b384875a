"""The script of the page's charts is bundled once for a version, and kept where the user's cache is."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from quadrat.benchmark.reporting import vega
from quadrat.benchmark.reporting.vega import vega_script


@pytest.fixture
def bundled(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], int]]:
    """Return a function that says how often a script was bundled, a fake one; each call of it is a new process."""
    calls: list[str] = []

    def bundle(snippet: str, vl_version: str) -> str:
        calls.append(snippet)
        return f"/* π {vl_version} */ {snippet}"

    monkeypatch.setattr(vega.vl_convert, "javascript_bundle", bundle)

    def forget() -> None:
        vega_script.cache_clear()
        vega._bundle.cache_clear()

    def num_calls() -> int:
        forget()
        return len(calls)

    forget()
    yield num_calls
    forget()


def test_a_second_process_takes_it_from_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bundled: Callable[[], int]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    script = vega_script()
    assert script == "/* π 6.1 */ window.vegaEmbed = vegaEmbed;".replace("6.1", vega.VEGA_LITE)
    assert bundled() == 1
    assert vega_script() == script
    assert bundled() == 1
    (file,) = (tmp_path / "quadrat").iterdir()
    assert vega.vl_convert.__version__ in file.name and vega.VEGA_LITE in file.name


def test_another_version_is_bundled_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bundled: Callable[[], int]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    vega_script()
    monkeypatch.setattr(vega.metadata, "version", lambda name: f"99.0.0-of-{name}")
    assert bundled() == 1
    vega_script()
    assert bundled() == 2


@pytest.mark.parametrize("is_there", [True, False])
def test_without_a_cache_the_script_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bundled: Callable[[], int], is_there: bool
) -> None:
    def refuse(*_: object) -> None:
        raise vega.ResultsError("cannot write there")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(vega, "atomic_write" if is_there else "user_cache", refuse)
    assert vega_script().endswith("window.vegaEmbed = vegaEmbed;")
    assert vega_script() is vega_script()
    assert bundled() == 1

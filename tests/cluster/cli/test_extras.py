"""What is said when a package of an extra is missing: processes that do not find it."""

import re
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from support.missing import run_without
from support.paths import ROOT

from quadrat.cluster.cli.extras import EXTRAS, MissingExtraError, explain_missing, require_extras

QUADRAT = "from quadrat.cluster.__main__ import main; main()"
MODULES = {module for modules in EXTRAS.values() for module in modules}


def distributions(extra: str) -> set[str]:
    """Return the names of what pyproject.toml lists for an extra, but for quadrat's own extras."""
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = {re.split(r"[^\w-]", line)[0] for line in project["optional-dependencies"][extra]}
    return names - {"quadrat"}


@pytest.mark.parametrize("extra", EXTRAS)
def test_the_table_of_modules_is_what_pyproject_lists(extra: str) -> None:
    provided = metadata.packages_distributions()
    named = {
        module: {name.lower().replace("_", "-") for name in provided[module]} & distributions(extra)
        for module in EXTRAS[extra]
    }
    assert all(named.values()), named
    assert set().union(*named.values()) == distributions(extra)


@pytest.mark.parametrize(
    ("command", "present", "sentence"),
    [
        ("list suites", (), "'quadrat list' needs click: pip install \"quadrat[cli]\""),
        ("report results/camvid-cpu", ("cli",), "'quadrat report' needs altair: pip install \"quadrat[report]\""),
        ("stats results/camvid-cpu", ("cli",), "'quadrat stats' needs scipy: pip install \"quadrat[report]\""),
        ("track results/camvid-cpu", ("cli",), "'quadrat track' needs mlflow: pip install \"quadrat[tracking]\""),
        ("submit quickstart", ("cli",), "'quadrat submit' needs aiohttp: pip install \"quadrat[cluster]\""),
        ("show quickstart", ("cli",), "'quadrat show' needs timm: pip install \"quadrat[train]\""),
        (
            "run quickstart --results s3://bucket",
            ("cli",),
            "'quadrat run' needs torch, ray, mlflow, altair, fsspec: "
            'pip install "quadrat[train,cluster,tracking,report,s3]"',
        ),
        (
            "run quickstart --mlflow none --no-report",
            ("cli", "train"),
            "'quadrat run' needs ray: pip install \"quadrat[cluster]\"",
        ),
        ("study scenes-study", ("cli", "train", "cluster", "tracking"), "'quadrat study' needs altair: "),
    ],
)
def test_a_missing_package_is_named_with_the_line_that_installs_it(
    command: str, present: tuple[str, ...], sentence: str
) -> None:
    blocked = MODULES - {module for extra in present for module in EXTRAS[extra]}
    done = run_without(blocked, QUADRAT, argv=["quadrat", *command.split()])
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(f"error: {sentence}")
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_results_are_read_without_what_trains_and_schedules(tmp_path: Path) -> None:
    blocked = MODULES - {*EXTRAS["cli"], *EXTRAS["report"]}
    command = ["quadrat", "stats", str(ROOT / "results" / "camvid-cpu")]
    done = run_without(blocked, QUADRAT, argv=command)
    assert done.returncode == 0, done.stderr
    assert "entropy" in done.stdout


def test_a_module_of_no_extra_is_left_to_the_traceback() -> None:
    assert explain_missing(ModuleNotFoundError("no", name="nowhere.at_all"), what="quadrat run") is None
    assert explain_missing(ModuleNotFoundError("no"), what="quadrat run") is None


def test_extras_that_are_there_are_not_asked_for() -> None:
    require_extras(EXTRAS, what="quadrat run")


def test_a_missing_extra_is_an_error_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EXTRAS, "s3", ("no_such_module", "s3fs"))
    with pytest.raises(MissingExtraError, match=r"'x' needs no_such_module: pip install \"quadrat\[s3\]\""):
        require_extras(["cli", "s3"], what="x")

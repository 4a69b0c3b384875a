"""Bundles: a card that the hub's library reads, nothing of this machine, and results that read back equal."""

import json
from pathlib import Path

import pyarrow.json
import pytest
import yaml
from click.testing import CliRunner
from huggingface_hub import DatasetCard
from support.fake_results import write_fake_results
from support.paths import ROOT

from quadrat.benchmark.errors import ResultsError
from quadrat.benchmark.reporting import write_report
from quadrat.benchmark.reporting.bundle import write_bundle
from quadrat.benchmark.reporting.summary import report_summary
from quadrat.benchmark.reporting.tables.export import to_csv
from quadrat.benchmark.reporting.tables.results import budget_table
from quadrat.benchmark.results.comparison import differences, suite_differences
from quadrat.benchmark.results.selections import Selections
from quadrat.benchmark.results.trials import read_results
from quadrat.cluster.cli.main import cli

HOME = "/home/someone"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results that name paths, hosts and passwords wherever a run writes any."""
    folder = write_fake_results(
        tmp_path_factory.mktemp("results") / "source",
        strategies=("random", "entropy"),
        num_rounds={("entropy", 2): 1},
        failed={("entropy", 2): f"OSError: {HOME}/data/x.png, token=hunter2"},
    )
    described = json.loads((folder / "suite.json").read_text())
    described["suite"]["dataset"]["root"] = f"{HOME}/data"
    described["suite"]["learner"]["weights"] = f"{HOME}/weights.pt"
    described["dataset"]["warnings"] = [f"two masks are equal: {HOME}/data/a.png and {HOME}/data/b.png"]
    described["dataset"]["test"]["path"] = f"{HOME}/cache/packed/test-1"
    for trial in described["trials"]:
        trial["spec"] = {
            "dataset": {"name": "tiny", "root": f"{HOME}/data"},
            "learner": {"weights": f"{HOME}/weights.pt"},
            "params": {},
            "files": {"learner.weights": "0" * 64},
        }
    (folder / "suite.json").write_text(json.dumps(described))
    environment = json.loads((folder / "environment.json").read_text())
    environment |= {
        "command": f"quadrat run {HOME}/my.yaml --cache /scratch/c --mlflow http://me:hunter2@host:5000",
        "weights": f"{HOME}/weights.pt",
    }
    (folder / "environment.json").write_text(json.dumps(environment))
    failures = [json.loads(line) for line in (folder / "failures.jsonl").read_text().splitlines()]
    for failure in failures:
        failure |= {
            "host": "node-17.intern",
            "node": "f00",
            "traceback": f'File "{HOME}/venv/quadrat/trial/loop.py", line 3, in run\nsee http://host/a/b',
        }
    (folder / "failures.jsonl").write_text("".join(json.dumps(failure) + "\n" for failure in failures))
    return folder


@pytest.fixture(scope="module")
def bundle(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("bundles") / "bundle"
    result = CliRunner().invoke(cli, ["publish", str(source), "--out", str(target), "--license", "cc-by-4.0"])
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"{target}: 0.")
    return target


def test_the_bundle_has_records_selections_environment_and_a_card(bundle: Path) -> None:
    assert {path.name for path in bundle.iterdir()} == {
        "README.md", "records.jsonl", "suite.json", "environment.json", "failures.jsonl", "selections.zip",
    }  # fmt: skip


def test_no_password_path_or_host_of_this_machine_is_in_it(bundle: Path) -> None:
    for path in bundle.iterdir():
        if path.suffix != ".zip":
            text = path.read_text()
            assert [word for word in (HOME, "/scratch", "hunter2", "intern", "f00") if word in text] == [], path.name
    environment = json.loads((bundle / "environment.json").read_text())
    assert environment["command"] == "quadrat run my.yaml --cache CACHE --mlflow http://host:5000"
    assert environment["weights"] == "weights.pt"
    (failure,) = map(json.loads, (bundle / "failures.jsonl").read_text().splitlines())
    assert failure["traceback"] == 'File "loop.py", line 3, in run\nsee http://host/a/b'
    assert failure["exception"] == "OSError: x.png, token=***"
    trial = json.loads((bundle / "suite.json").read_text())["trials"][0]
    assert trial["spec"]["learner"]["weights"] == "weights.pt" and trial["spec"]["dataset"]["root"] is None


def test_a_path_that_is_a_trials_identity_stays(source: Path, tmp_path: Path) -> None:
    """Without a digest of its content the path is what the trial is known by."""
    described = json.loads((source / "suite.json").read_text())
    for trial in described["trials"]:
        trial["spec"]["files"] = {}
    changed = tmp_path / "changed"
    changed.mkdir()
    for name in ("records.jsonl", "environment.json"):
        (changed / name).write_bytes((source / name).read_bytes())
    (changed / "suite.json").write_text(json.dumps(described))
    write_bundle(changed, tmp_path / "bundle")
    trial = json.loads((tmp_path / "bundle" / "suite.json").read_text())["trials"][0]
    assert trial["spec"]["learner"]["weights"] == f"{HOME}/weights.pt"


def test_the_hubs_library_reads_the_card(bundle: Path) -> None:
    card = DatasetCard((bundle / "README.md").read_text())
    data = card.data.to_dict()
    assert data["license"] == "cc-by-4.0"
    assert data["task_categories"] == ["image-segmentation"]
    assert data["size_categories"] == ["n<1K"]
    assert data["configs"] == [{"config_name": "records", "data_files": "records.jsonl", "default": True}]
    assert card.text.lstrip().startswith("# fake on tiny")
    assert "1 of 9 trials are not finished." in card.text
    assert "| `selections.zip` |" in card.text and "learning-curves" not in card.text


def test_without_a_license_none_is_stated(source: Path, tmp_path: Path) -> None:
    write_bundle(source, tmp_path / "bundle")
    _, front, body = (tmp_path / "bundle" / "README.md").read_text().split("---\n", 2)
    assert "license" not in yaml.safe_load(front)
    assert "No license is stated." in body


@pytest.mark.parametrize("name", ["camvid-cpu", "scenes-study", "scenes-region-size"])
def test_the_hubs_viewer_can_read_the_records(name: str) -> None:
    """It reads JSON lines with Arrow, which needs one type for each field over all lines."""
    path = ROOT / "results" / name / "records.jsonl"
    table = pyarrow.json.read_json(path)
    assert table.num_rows == len(path.read_text().splitlines())


def test_a_bundle_reads_back_as_the_results_that_it_was_made_of(source: Path, bundle: Path) -> None:
    assert differences(source, bundle) == []
    assert (bundle / "records.jsonl").read_bytes() == (source / "records.jsonl").read_bytes()
    assert suite_differences(source, bundle) == [f"learner.weights is {HOME}/weights.pt and weights.pt"]
    mine, theirs = read_results(source), read_results(bundle)
    assert report_summary(mine).headline == report_summary(theirs).headline
    for trial in mine.trials:
        for record in trial.records:
            if trial.is_full_supervision:
                continue
            there = Selections(bundle).read(trial.trial_id, record.round)
            here = Selections(source).read(trial.trial_id, record.round)
            assert there is not None and here is not None
            assert there.regions.tolist() == here.regions.tolist()
    result = CliRunner().invoke(cli, ["compare", str(source), str(bundle)])
    assert result.exit_code == 0 and result.stdout.endswith(f"equal: {len(mine.records) + 3} records\n")


@pytest.mark.slow
def test_the_report_of_a_bundle_has_the_headline_and_the_table_of_the_original(source: Path, bundle: Path) -> None:
    page = write_report(bundle, bundle.parent / "report")
    original = read_results(source)
    assert report_summary(original).headline in page.read_text()
    assert (page.parent / "files" / "miou.csv").read_text() == to_csv(budget_table(original))


def test_a_bundle_on_a_url_is_read_with_its_selections(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from quadrat.benchmark.results.lock import fetch_results

    monkeypatch.setenv("QUADRAT_WORK", str(tmp_path))
    folder = fetch_results(bundle.as_uri(), ["selections"])
    assert Selections(folder).find("random-s0", 0) is not None
    assert differences(folder, bundle) == []


def test_a_bundle_can_be_published_again_and_failures_that_are_gone_go(bundle: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    write_bundle(bundle, again, license="cc-by-4.0")
    assert {path.name: path.read_bytes() for path in again.iterdir()} == {
        path.name: path.read_bytes() for path in bundle.iterdir()
    }
    (bundle_without := tmp_path / "mended").mkdir()
    for path in bundle.iterdir():
        if path.name != "failures.jsonl":
            (bundle_without / path.name).write_bytes(path.read_bytes())
    write_bundle(bundle_without, again)
    assert not (again / "failures.jsonl").exists()


def test_results_are_not_published_in_their_own_folder(source: Path) -> None:
    with pytest.raises(ResultsError, match="expected another folder than the results"):
        write_bundle(source, source)

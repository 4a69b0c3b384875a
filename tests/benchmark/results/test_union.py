"""Several results folders as one: what is united, and what is refused."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from support.fake_results import write_fake_results

from quadrat.benchmark.errors import ResultsError
from quadrat.benchmark.reporting.provenance import facts
from quadrat.benchmark.results.comparison import differences
from quadrat.benchmark.results.records import read_records
from quadrat.benchmark.results.trials import read_results
from quadrat.benchmark.results.union import unite
from quadrat.cluster.cli.main import cli

STRATEGIES = ("random", "entropy")


def change(path: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    document = json.loads(path.read_text())
    edit(document)
    path.write_text(json.dumps(document))


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """Three folders of one suite: seeds 0 and 1, seed 2, and seed 2 again with one strategy."""
    return [
        write_fake_results(tmp_path / "a", strategies=STRATEGIES, seeds=(0, 1)),
        write_fake_results(tmp_path / "b", strategies=STRATEGIES, seeds=(2,)),
        write_fake_results(tmp_path / "c", strategies=STRATEGIES[:1], seeds=(2,), has_full_supervision=False),
    ]


def test_seeds_that_were_run_apart_are_those_of_one_run(folders: list[Path], tmp_path: Path) -> None:
    whole = write_fake_results(tmp_path / "whole", strategies=STRATEGIES, seeds=(0, 1, 2))
    unite(folders, tmp_path / "united")
    assert differences(tmp_path / "united", whole) == []
    found, expected = read_results(tmp_path / "united"), read_results(whole)
    assert (found.seeds, found.labels, found.strategies) == (expected.seeds, expected.labels, expected.strategies)
    assert [trial.state for trial in found.trials] == ["done"] * len(expected.trials)
    assert found.suite == expected.suite
    with zipfile.ZipFile(tmp_path / "united" / "selections.zip") as packed:
        names = {path.relative_to(whole / "selections").as_posix() for path in whole.glob("selections/*/*.npz")}
        assert set(packed.namelist()) == names
        assert all(packed.read(name) == (whole / "selections" / name).read_bytes() for name in names)
    ids = {json.loads((folder / "suite.json").read_text()).get("id") for folder in (*folders, tmp_path / "united")}
    assert json.loads((tmp_path / "united" / "suite.json").read_text())["id"] in ids
    assert len(ids) >= 2


def test_commits_and_machines_of_all_are_named(folders: list[Path], tmp_path: Path) -> None:
    change(folders[0] / "environment.json", lambda found: found.update(commit="a" * 40, processor="one"))
    change(folders[1] / "environment.json", lambda found: found.update(commit="b" * 40, processor="two"))
    change(folders[2] / "environment.json", lambda found: found.update(commit="b" * 40, processor="two"))
    unite(folders, tmp_path / "united")
    found = read_results(tmp_path / "united")
    assert [one["processor"] for one in found.environments] == ["one", "two"]
    told = dict(facts(found))
    assert "a" * 40 in told["code"] and "b" * 40 in told["code"]
    assert "one" in told["hardware"] and "two" in told["hardware"]
    unite([tmp_path / "united", folders[1]], tmp_path / "again")  # of one that was united already
    assert [one["processor"] for one in read_results(tmp_path / "again").environments] == ["one", "two"]


def set_learner(found: dict[str, Any]) -> None:
    found["suite"]["learner"]["lr"] = 0.5


def set_data(found: dict[str, Any]) -> None:
    found["dataset"]["test"]["fingerprint"] = "0" * 64


@pytest.mark.parametrize(
    ("edit", "match"),
    [
        (lambda found: found["suite"].update(name="other"), r"one suite, got 'fake' in .* and 'other'"),
        (set_learner, r"one suite, got learner\.lr = 0\.01 in .*a and 0\.5 in .*b; `quadrat leaderboard`"),
        (set_data, r"same images, got test images"),
    ],
    ids=["name", "recipe", "data"],
)
def test_another_suite_is_refused(folders: list[Path], tmp_path: Path, edit: Any, match: str) -> None:
    change(folders[1] / "suite.json", edit)
    with pytest.raises(ResultsError, match=match):
        unite(folders, tmp_path / "united")


def rewrite(folder: Path, **changes: Any) -> None:
    """Change round 0 of the last trial of a folder."""
    lines = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    (place,) = [n for n, line in enumerate(lines) if line["round"] == 0 and line["label"] == "random"]
    del lines[place]["checksum"]
    lines[place] |= changes
    (folder / "records.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_a_label_of_several_strategies_is_refused(folders: list[Path], tmp_path: Path) -> None:
    def set_params(found: dict[str, Any]) -> None:
        for trial in found["trials"]:
            if trial["label"] == "entropy":
                trial["params"] = {"cutoff": 6.0}

    change(folders[1] / "suite.json", set_params)
    with pytest.raises(ResultsError, match=r"got 'entropy' with \{\} in .*a and 'entropy' with .*6\.0.* in .*b"):
        unite(folders, tmp_path / "united")


def test_a_strategy_that_folders_call_by_two_names_has_that_of_the_first(folders: list[Path], tmp_path: Path) -> None:
    def rename(found: dict[str, Any]) -> None:
        for one in (*found["trials"], *found["suite"]["strategies"]):
            one["label"] = "renamed" if one["label"] == "entropy" else one["label"]

    change(folders[1] / "suite.json", rename)
    unite(folders, tmp_path / "united")
    found = read_results(tmp_path / "united")
    assert found.labels == STRATEGIES and {record.seed for record in found.records if record.label == "entropy"} == {
        0,
        1,
        2,
    }
    assert [entry["label"] for entry in found.suite["strategies"]] == list(STRATEGIES)


def test_region_maps_are_kept_together_and_must_be_equal(folders: list[Path], tmp_path: Path) -> None:
    def set_maps(*maps: tuple[str, str, bool]) -> Callable[[dict[str, Any]], None]:
        names = ("name", "digest", "by_content")
        listed = [{"path": "x", **dict(zip(names, one, strict=True))} for one in maps]
        return lambda found: found["dataset"]["pool"].update(maps=listed)

    change(folders[0] / "suite.json", set_maps(("slic", "a" * 64, False), ("files", "b" * 64, True)))
    change(folders[1] / "suite.json", set_maps(("seeds", "c" * 64, False), ("files", "d" * 64, True)))
    unite(folders, tmp_path / "united")
    maps = read_results(tmp_path / "united").dataset["pool"]["maps"]
    assert [(one["name"], one["digest"][0]) for one in maps] == [("slic", "a"), ("files", "b"), ("seeds", "c")]
    change(folders[1] / "suite.json", set_maps(("slic", "e" * 64, False)))
    with pytest.raises(ResultsError, match=r"expected one map of regions slic, got digest a+ in .*a and e+ in .*b"):
        unite(folders, tmp_path / "other")


def test_a_round_that_differs_is_refused(folders: list[Path], tmp_path: Path) -> None:
    rewrite(folders[2], pixel_accuracy=0.123)
    with pytest.raises(ResultsError, match=r"random.*: expected equal records, got other pixel_accuracy in .*b than"):
        unite(folders, tmp_path / "united")


def test_strategies_of_a_seed_that_do_not_share_round_0_are_refused(folders: list[Path], tmp_path: Path) -> None:
    lines = [line for line in (folders[1] / "records.jsonl").read_text().splitlines() if '"random"' not in line]
    (folders[1] / "records.jsonl").write_text("\n".join(lines) + "\n")
    rewrite(folders[2], miou=0.123)
    with pytest.raises(ResultsError, match=r"one round 0 for all strategies of seed 2, got another of entropy in .*b"):
        unite(folders, tmp_path / "united")


def test_a_study_is_refused(folders: list[Path], tmp_path: Path) -> None:
    (folders[1] / "study").mkdir()
    with pytest.raises(ResultsError, match=r"got those of a study in .*b: a search can't be united"):
        unite(folders, tmp_path / "united")


def test_publish_writes_one_bundle_of_all(folders: list[Path], tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    places = [str(folder) for folder in folders]
    refused = CliRunner().invoke(cli, ["publish", *places])
    assert refused.exit_code == 2 and "several results need --out" in refused.stderr
    published = CliRunner().invoke(cli, ["publish", *places, "--out", str(bundle)])
    assert published.exit_code == 0, published.stderr
    assert len(read_records(bundle)) == 3 * (1 + 2 * 4)
    assert read_results(bundle).seeds == (0, 1, 2)
    assert not (bundle / "gains.svg").exists()

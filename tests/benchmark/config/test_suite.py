"""Suites: the trials of a file, and the error for each mistake in it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quadrat.benchmark.config import suite as suite_module
from quadrat.benchmark.config.suite import load_suite, shipped_suites
from quadrat.benchmark.errors import SuiteError
from quadrat.strategies import Strategy, load
from quadrat.strategies.selection_file import SelectionFile


def test_a_suite_is_full_supervision_first_then_strategy_by_strategy(write_suite: Callable[..., Path]) -> None:
    suite = load_suite(write_suite(seeds=[3, 5], full_supervision=True))
    assert [(trial.label, trial.seed) for trial in suite.trials()] == [
        ("full-supervision", 3),
        ("full-supervision", 5),
        ("random", 3),
        ("random", 5),
        ("entropy-spatial", 3),
        ("entropy-spatial", 5),
    ]


@pytest.mark.parametrize(("own", "iterations", "epochs"), [({"iterations": 40}, 40, None), ({"epochs": 7}, None, 7)])
def test_full_supervision_may_have_a_length_of_its_own(
    write_suite: Callable[..., Path], own: dict[str, int], iterations: int | None, epochs: int | None
) -> None:
    full, *others = load_suite(write_suite(full_supervision=own, seeds=[0])).trials()
    assert (full.label, full.learner.iterations, full.learner.epochs) == ("full-supervision", iterations, epochs)
    assert all((spec.learner.iterations, spec.learner.epochs) == (3, None) for spec in others)
    same = load_suite(write_suite(full_supervision=True, seeds=[0])).trials()
    assert [spec.trial_id for spec in same[1:]] == [spec.trial_id for spec in others]
    assert same[0].trial_id != full.trial_id


def test_trials_hold_parameters_with_defaults_filled_in(write_suite: Callable[..., Path]) -> None:
    trial = load_suite(write_suite()).trials()[1]
    assert trial.params["cutoff"] == 1.5
    assert trial.params["d2_d1"] == 2.0


def test_seed_in_a_text_parameter_stands_for_the_seed_of_each_trial(write_suite: Callable[..., Path]) -> None:
    replay = {"name": "precomputed", "label": "replay", "params": {"folder": "there/entropy-r16-s{seed}-*"}}
    trials = load_suite(write_suite(strategies=[replay], seeds=[0, 7])).trials()
    assert [spec.params["folder"] for spec in trials] == ["there/entropy-r16-s0-*", "there/entropy-r16-s7-*"]


def test_region_sizes_are_compared_at_the_same_number_of_pixels(write_suite: Callable[..., Path]) -> None:
    suite = load_suite(write_suite(region_size=[16, 8, 32], budgets=[8, 16]))
    assert {trial.label: trial.budgets for trial in suite.trials() if trial.strategy == "random"} == {
        "random r16": (8, 16),
        "random r8": (32, 64),
        "random r32": (2, 4),
    }


def test_label_types_are_compared_with_every_strategy(write_suite: Callable[..., Path]) -> None:
    suite = load_suite(write_suite(labels=["precise", "dominant"], annotator={"error_rate": 0.1}))
    assert [(trial.label, trial.labels) for trial in suite.trials()] == [
        ("random", "precise"),
        ("entropy-spatial", "precise"),
        ("random dominant", "dominant"),
        ("entropy-spatial dominant", "dominant"),
    ]
    assert {trial.annotator.error_rate for trial in suite.trials()} == {0.1}
    assert len({trial.trial_id for trial in suite.trials()}) == 4


def test_a_strategy_may_have_a_label_type_of_its_own(write_suite: Callable[..., Path]) -> None:
    own = [{"name": "random", "labels": "multi-class"}, {"name": "entropy", "labels": "dominant", "label": "mine"}]
    suite = load_suite(write_suite(strategies=["random", *own], full_supervision=True))
    assert [(trial.label, trial.labels) for trial in suite.trials()] == [
        ("full-supervision", "precise"),
        ("random", "precise"),
        ("random multi-class", "multi-class"),
        ("mine", "dominant"),
    ]
    assert [trial.label for trial in load_suite(write_suite(labels="dominant")).trials()] == [
        "random",
        "entropy-spatial",
    ]


def test_full_supervision_is_labelled_precisely_and_without_errors(write_suite: Callable[..., Path]) -> None:
    noisy = load_suite(write_suite(full_supervision=True, labels="dominant", annotator={"error_rate": 0.1}))
    assert noisy.trials()[0] == load_suite(write_suite(full_supervision=True)).trials()[0]


@pytest.mark.parametrize(
    ("settings", "beginning"),
    [
        (["learner.iterationz=3"], "--set learner.iterationz: expected one of the keys"),
        (["seeds=[1]", "learner.iterations=-1"], "--set learner.iterations: expected"),
        (["learner={iterations: -1}"], "--set learner: learner.iterations: expected"),
        (["strategies.0=entropi"], "--set strategies.0: "),
        (["budgets=[5, 3]"], "--set budgets: expected cumulative budgets"),
    ],
)
def test_a_mistake_in_a_setting_names_the_setting(
    write_suite: Callable[..., Path], settings: list[str], beginning: str
) -> None:
    with pytest.raises(SuiteError) as info:
        load_suite(write_suite(), settings)
    assert any(line.startswith(beginning) for line in str(info.value).splitlines()), str(info.value)
    assert "tiny.yaml" not in str(info.value)


def test_set_overrides_nested_values_and_list_items(write_suite: Callable[..., Path]) -> None:
    suite = load_suite(write_suite(), ["learner.iterations=7", "seeds=[1, 2]", "budgets.0=5"])
    assert (suite.learner.iterations, suite.seeds, suite.budgets[0]) == (7, (1, 2), 5)


@pytest.mark.parametrize(
    ("changes", "fragments"),
    [
        ({"budget": [1]}, ["budget", "did you mean 'budgets'?"]),
        ({"budgets": [10, 10]}, ["budgets", "grow", "[10, 10]"]),
        ({"budgets": ["many"]}, ["budgets.0", "valid integer", "'many'"]),
        ({"region_size": 0}, ["region_size", "greater than 0", "got 0"]),
        ({"seeds": [1, 1]}, ["seeds", "differ", "[1, 1]"]),
        ({"seeds": [True]}, ["seeds.0", "integer", "True"]),
        ({"seeds": [-1]}, ["seeds.0", "greater than or equal to 0", "-1"]),
        ({"seeds": []}, ["seeds: expected at least one item, got []"]),
        ({"region_size": [16, 16]}, ["region_size", "differ", "[16, 16]"]),
        ({"region_size": []}, ["region_size", "got []"]),
        ({"labels": "exact"}, ["labels", "'precise', 'dominant' or 'multi-class'", "got 'exact'"]),
        ({"labels": ["dominant", "dominant"]}, ["labels", "differ"]),
        ({"annotator": {"error_rate": 1.5}}, ["annotator.error_rate", "less than or equal to 1", "got 1.5"]),
        ({"annotator": {"kind": "tired"}}, ["annotator.kind", "'uniform' or 'confused'", "got 'tired'"]),
        ({"annotator": {"rate": 0.1}}, ["annotator", "error_rate, kind", "got 'rate'"]),
        ({"strategies": "random"}, ["strategies: expected a list, got 'random'"]),
        (
            {"strategies": [{"name": "entropy", "label": "full-supervision"}]},
            ["strategies.0", "the trial with all labels"],
        ),
        ({"strategies": [{"name": "entropy", "params": {"uncertainty": "foo"}}]}, ["strategies.0", "no signal 'foo'"]),
        ({"strategies": ["entropy-spatail"]}, ["strategies.0", "entropy-spatial"]),
        ({"strategies": [{"name": "entropy-spatial", "params": {"cutof": 2}}]}, ["strategies.0", "cutof"]),
        ({"strategies": [{"name": "entropy-spatial", "params": {"cutoff": -1}}]}, ["strategies.0", "cutoff", "-1"]),
        ({"strategies": [{"name": "random", "parms": {}}]}, ["strategies.0.parms", "did you mean 'params'?"]),
        ({"strategies": ["random", "random"]}, ["labels", "random"]),
        ({"strategies": ["random", {"name": "random", "label": "again"}]}, ["'random' and 'again' have equal"]),
        (
            {"strategies": ["entropy-spatial", {"name": "entropy-spatial", "label": "es", "params": {"cutoff": 1.5}}]},
            ["'entropy-spatial' and 'es' have equal parameters"],
        ),
        (
            {
                "labels": ["precise", "dominant"],
                "strategies": ["random", {"name": "random", "labels": "dominant", "label": "mine"}],
            },
            ["'mine' and 'random' have equal parameters, at regions of 16 px and dominant labels"],
        ),
        (
            {"region_size": [16, 32], "strategies": ["random", {"name": "random", "region_size": 32, "label": "mine"}]},
            ["'mine' and 'random' have equal parameters, at regions of 32 px"],
        ),
        (
            {"region_size": [8, 48], "budgets": [20, 30, 60]},
            ["budgets that grow at every region size", "[20, 30, 60] regions of 8 px are [1, 1, 2] of 48 px"],
        ),
        ({"strategies": ["full-supervision"]}, ["strategies.0", "full_supervision: true"]),
        ({"full_supervision": {}}, ["full_supervision", "one of iterations and epochs"]),
        ({"full_supervision": {"iterations": 5, "epochs": 5}}, ["full_supervision", "one of iterations and epochs"]),
        ({"full_supervision": {"steps": 5}}, ["full_supervision.steps", "iterations, epochs"]),
        ({"learner": {"iterations": 3, "lr": -1}}, ["learner.lr", "greater than 0", "got -1"]),
        ({"learner": {"iterations": 3, "epochs": 3}}, ["learner", "iterations", "epochs"]),
        ({"learner": {"iterations": 3, "frozen": True, "scale": [0.5, 2.0]}}, [": learner: expected scale (1.0, 1.0)"]),
        ({"learner": {"iterations": 3, "compile": "none"}}, ["'reduce-overhead', or null for neither, got 'none'"]),
        ({"learner": {"iterations": 3, "precision": "fp16"}}, ["expected 'fp32' or 'bf16', got 'fp16'"]),
        ({"resources": {"gpu": 1}}, ["resources.gpu", "did you mean 'gpus'?"]),
        ({"resources": {"gpus": 1.5}}, ["resources.gpus", "expected 0 to 1, since a trial trains on one GPU (1.5"]),
        ({"resources": {"gpus": 2}}, ["resources.gpus", "(2 would leave others idle)"]),
        ({"dataset": {"params": {}}}, ["dataset.name", "add it"]),
    ],
)
def test_errors_name_file_key_expected_and_got(
    write_suite: Callable[..., Path], changes: dict[str, Any], fragments: list[str]
) -> None:
    path = write_suite(**changes)
    with pytest.raises(SuiteError) as caught:
        load_suite(path)
    for fragment in (str(path), *fragments):
        assert fragment in str(caught.value)


@pytest.mark.parametrize("strategy", ["bald", "vote-entropy", "entropy"])
def test_passes_with_dropout_need_a_recipe_with_dropout(write_suite: Callable[..., Path], strategy: str) -> None:
    without = "learner.dropout=0"
    if strategy == "entropy":
        assert load_suite(write_suite(strategies=[strategy]), [without]).learner.dropout == 0
        return
    assert load_suite(write_suite(strategies=[strategy]), ["learner.dropout=0.5"])
    with pytest.raises(SuiteError, match=rf"learner.dropout above 0.*'{strategy}' reads the signal"):
        load_suite(write_suite(strategies=[strategy]), [without])


def test_every_problem_of_a_file_is_named_at_once(write_suite: Callable[..., Path]) -> None:
    with pytest.raises(SuiteError) as caught:
        load_suite(write_suite(region_size=-1, budgets=[]))
    assert "region_size" in str(caught.value) and "budgets" in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"strategies": ["nope"]},
        {"region_size": 0},
        {"region_size": "x"},
        {"strategies": ["random", "random"]},
        {"learner": {"iterations": 3, "frozen": True, "scale": [0.5, 2.0]}},
    ],
)
def test_one_mistake_is_one_line(write_suite: Callable[..., Path], changes: dict[str, Any]) -> None:
    with pytest.raises(SuiteError) as caught:
        load_suite(write_suite(**changes))
    assert len(str(caught.value).splitlines()) == 1, caught.value


def test_a_key_that_is_there_twice_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "twice.yaml"
    path.write_text("name: a\nname: b\n", encoding="utf-8")
    with pytest.raises(SuiteError, match="'name' is there twice"):
        load_suite(path)


def test_a_file_that_is_not_yaml_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text("name: [", encoding="utf-8")
    with pytest.raises(SuiteError, match=r"broken\.yaml: expected YAML"):
        load_suite(path)


def test_an_unknown_suite_names_the_closest_shipped_one() -> None:
    with pytest.raises(SuiteError, match="Did you mean quickstart"):
        load_suite("quickstrat")


@pytest.mark.parametrize("override", ["learner.iterations", "=3"])
def test_a_malformed_set_is_an_error(write_suite: Callable[..., Path], override: str) -> None:
    with pytest.raises(SuiteError, match="expected key=value"):
        load_suite(write_suite(), [override])


def test_set_below_a_value_that_is_no_mapping_is_an_error(write_suite: Callable[..., Path]) -> None:
    with pytest.raises(SuiteError, match="expected a mapping at 'name'"):
        load_suite(write_suite(), ["name.first=3"])


@pytest.mark.parametrize("name", sorted(shipped_suites()))
def test_every_shipped_suite_is_valid_and_named_as_its_file(name: str) -> None:
    suite = load_suite(name)
    assert suite.name == name
    assert suite.description
    assert suite.trials()


def test_trials_carry_the_content_of_weight_files_and_replayed_selections(
    write_suite: Callable[..., Path], tmp_path: Path
) -> None:
    weights, folder = tmp_path / "w.pth", tmp_path / "selections"
    weights.write_bytes(b"one")

    def publish(regions: list[int], score_s: float = 0.0) -> None:
        columns = {name: np.array(regions) for name in ("image", "row", "col")}
        potential = np.zeros(len(regions))
        file = SelectionFile(regions=np.array(regions), potential=potential, **columns, region_size=16, score_s=score_s)
        folder.mkdir(exist_ok=True)
        (folder / "round-0.npz").write_bytes(file.to_bytes())

    def ids() -> tuple[str, str]:
        replay = {"name": "precomputed", "label": "replay", "params": {"folder": str(folder)}}
        learner = {"encoder": "test_resnet", "weights": str(weights), "iterations": 3}
        suite = load_suite(write_suite(strategies=["random", replay], learner=learner, seeds=[0]))
        random, replayed = suite.trials()
        return random.trial_id, replayed.trial_id

    by_path = ids()  # the selections are not there: known by their path
    publish([1, 2])
    first = ids()
    assert first[0] == by_path[0] and first[1] != by_path[1]
    publish([1, 2], score_s=3.0)
    assert ids() == first
    publish([2, 1])
    changed = ids()
    assert changed[0] == first[0] and changed[1] != first[1]
    weights.write_bytes(b"two")
    assert all(one != other for one, other in zip(ids(), changed, strict=True))
    moved = tmp_path / "moved.pth"
    weights.rename(moved)
    before, weights = ids(), moved
    assert ids() != before  # it was not there, and is known by its content again
    publish([1, 2])
    moved.write_bytes(b"one")
    assert ids() == first


def test_a_strategy_is_loaded_once_an_entry_not_once_a_trial(
    write_suite: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = load_suite(write_suite(seeds=list(range(50)), region_size=[16, 32]))
    calls: list[str] = []

    def counted(name: str, **params: Any) -> Strategy:
        calls.append(name)
        return load(name, **params)

    monkeypatch.setattr(suite_module, "load", counted)
    assert len(suite.trials()) == 2 * 50 * len(suite.strategies)
    assert calls == [entry.name for entry in suite.strategies]


@pytest.mark.parametrize("label", ["", " ", "a\nb", "\x1b[2J", "a\u2028b", "a\0"])
def test_a_label_that_no_table_could_show_is_refused(write_suite: Callable[..., Path], label: str) -> None:
    with pytest.raises(SuiteError, match="expected a label of printable characters, in one line"):
        load_suite(write_suite(strategies=[{"name": "random", "label": label}]))

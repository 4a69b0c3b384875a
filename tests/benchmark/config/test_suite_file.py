"""Suite files that extend others: what is merged, what is replaced, and the errors."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from quadrat.benchmark.config.suite import load_suite
from quadrat.benchmark.config.suite_file import load_yaml, read_suite_file, shipped_suites
from quadrat.benchmark.errors import SuiteError


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a suite file of a name and values, and returns its path."""

    def write(name: str, **values: object) -> Path:
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump({"name": name, **values}), encoding="utf-8")
        return path

    return write


def test_mappings_are_merged_and_everything_else_is_replaced(write: Callable[..., Path]) -> None:
    write("base", learner={"lr": 1, "crop": 32}, seeds=[0, 1, 2], region_size=16)
    path = write("own", extends="base.yaml", learner={"lr": 2}, seeds=[7])
    assert read_suite_file(path).values == {
        "name": "own",
        "learner": {"lr": 2, "crop": 32},
        "seeds": [7],
        "region_size": 16,
    }


def test_name_and_description_are_not_inherited(write: Callable[..., Path]) -> None:
    write("base", description="the base", paper="V-A/cityscapes", seeds=[0])
    assert read_suite_file(write("own", extends="base.yaml")).values == {"name": "own", "seeds": [0]}


def test_a_chain_of_files_is_followed_and_settings_come_last(write: Callable[..., Path]) -> None:
    write("first", budgets=[1], seeds=[0], region_size=8)
    write("second", extends="first.yaml", budgets=[2], seeds=[1])
    path = write("third", extends="second.yaml", budgets=[3])
    values = read_suite_file(path, ["region_size=32"]).values
    assert (values["budgets"], values["seeds"], values["region_size"]) == ([3], [1], 32)


def test_null_drops_a_key_of_the_extended_file_and_only_that(write: Callable[..., Path]) -> None:
    write("first", learner={"iterations": 50, "lr": 1}, study={"params": {"cutoff": 2.0, "norm": 1}}, seeds=[0])
    write("second", extends="first.yaml", study={"params": {"cutoff": None}}, learner={"compile": None})
    values = read_suite_file(write("third", extends="second.yaml", learner={"iterations": None, "epochs": 3})).values
    assert values["study"] == {"params": {"norm": 1}}
    assert values["learner"] == {"lr": 1, "epochs": 3, "compile": None}  # which first did not have: a value
    assert "study" not in read_suite_file(write("fourth", extends="first.yaml", study=None)).values
    assert read_suite_file(write("fifth", extends="second.yaml", study={"params": {"cutoff": 5}})).values["study"] == {
        "params": {"norm": 1, "cutoff": 5}
    }


def test_what_a_study_fixed_can_be_searched_by_a_suite_that_extends_it(
    write: Callable[..., Path], write_suite: Callable[..., Path]
) -> None:
    study = {
        "strategy": "entropy-spatial",
        "params": {"cutoff": 2.0, "norm": 1},
        "space": {"d2_d1": {"float": [1, 2]}},
        "candidates": 2,
        "search_seeds": [8],
    }
    base = write_suite(study=study)
    with pytest.raises(SuiteError, match="cutoff"):  # fixed and searched at once
        load_suite(write("both", extends=str(base), study={"space": {"cutoff": {"float": [1, 6]}}}))
    change = {"params": {"cutoff": None}, "space": {"cutoff": {"float": [1, 6]}}}
    found = load_suite(write("own", extends=str(base), study=change)).study
    assert found is not None and found.params == {"norm": 1} and set(found.space) == {"d2_d1", "cutoff"}
    assert load_suite(write("none", extends=str(base), study=None)).study is None


def test_a_required_key_that_is_dropped_is_named(write: Callable[..., Path]) -> None:
    path = write("own", extends="quickstart", budgets=None)
    with pytest.raises(SuiteError) as caught:
        load_suite(path)
    assert str(caught.value) == f"{path}: budgets: expected this key to be there, got nothing; add it"


def test_a_shipped_suite_can_be_extended_from_anywhere(write: Callable[..., Path]) -> None:
    path = write("mine", extends="quickstart", seeds=[5])
    assert load_suite(path).seeds == (5,)
    assert load_suite(path).learner == load_suite("quickstart").learner


def test_an_extended_suite_has_the_trials_of_the_same_suite_written_out(write: Callable[..., Path]) -> None:
    base = yaml.safe_load(shipped_suites()["quickstart"].read_text())
    del base["name"]
    whole = write("whole", **{**base, "seeds": [5]})
    short = write("short", extends="quickstart", seeds=[5])
    assert [spec.trial_id for spec in load_suite(short).trials()] == [
        spec.trial_id for spec in load_suite(whole).trials()
    ]


def test_files_that_extend_each_other_in_a_circle_are_refused(write: Callable[..., Path]) -> None:
    first = write("first", extends="second.yaml")
    write("second", extends="first.yaml")
    with pytest.raises(SuiteError, match=r"in a circle, got .*first\.yaml -> .*second\.yaml -> .*first\.yaml"):
        read_suite_file(first)


def test_an_unknown_base_names_the_file_and_the_closest_shipped_suite(write: Callable[..., Path]) -> None:
    path = write("own", extends="quickstrat")
    with pytest.raises(SuiteError, match="Did you mean quickstart") as caught:
        read_suite_file(path)
    assert f"{path}: extends: expected a suite file" in str(caught.value)


def test_two_bases_are_refused(write: Callable[..., Path]) -> None:
    with pytest.raises(SuiteError, match="extends: expected one suite file or shipped suite, got"):
        read_suite_file(write("own", extends=["quickstart", "camvid"]))


def test_a_mistake_names_the_file_that_holds_it(write: Callable[..., Path], write_suite: Callable[..., Path]) -> None:
    base = write_suite(learner={"iterations": 3, "lr": -1}, region_size=-2)
    path = write("own", extends=str(base), region_size=-3)
    with pytest.raises(SuiteError) as caught:
        load_suite(path)
    assert f"{base}: learner.lr: expected" in str(caught.value)
    assert f"{path}: region_size: expected" in str(caught.value)


def test_a_misspelt_extends_is_named(write: Callable[..., Path]) -> None:
    with pytest.raises(SuiteError, match="did you mean 'extends'"):
        load_suite(write("own", extend="quickstart"))


_LEVELS = [f"{chr(98 + level)}: &{chr(98 + level)} [{','.join(['*' + chr(97 + level)] * 10)}]" for level in range(8)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\n".join(["a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]", *_LEVELS]), "expected at most 20,000 values"),
        ("[" * 5000, "expected at most 50 levels"),
        ("{a: " * 5000, "expected at most 50 levels"),
        ("".join(f"{' ' * depth}a:\n" for depth in range(60)), "expected at most 50 levels"),
        ("a: &a [*a]", "expected no alias inside what it stands for"),
    ],
)
def test_a_file_that_is_made_to_be_too_large_or_too_deep_is_a_mistake(
    tmp_path: Path, write: Callable[..., Path], text: str, message: str
) -> None:
    (tmp_path / "bomb.yaml").write_text(text)
    with pytest.raises(SuiteError, match=message):
        read_suite_file(tmp_path / "bomb.yaml")
    if "\n" not in text:
        with pytest.raises(SuiteError, match="expected a YAML value"):
            read_suite_file(write("own"), [f"description={text}"])


def test_what_no_one_would_call_large_is_read_as_pyyaml_reads_it() -> None:
    for path in shipped_suites().values():
        text = path.read_text(encoding="utf-8")
        assert load_yaml(text) == yaml.safe_load(text)
    assert load_yaml("a: &a {x: [1, 2]}\nb: [*a, *a]") == {"a": {"x": [1, 2]}, "b": [{"x": [1, 2]}] * 2}


def test_a_file_that_is_too_large_for_a_suite_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "suite.yaml"
    with path.open("wb") as file:
        file.truncate(2**40)  # sparse: takes no room, but no memory would hold it
    with pytest.raises(SuiteError, match="at most 1,000,000 bytes, got 1,099,511,627,776"):
        read_suite_file(path)

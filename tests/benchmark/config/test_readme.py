"""benchmark/config/README.md: its table has every key of a suite and no other, and its example is a suite."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from support.paths import ROOT

from quadrat.benchmark.config.suite import Suite, load_suite
from quadrat.benchmark.learning.recipe import Recipe

README = (ROOT / "benchmark/config/README.md").read_text(encoding="utf-8")
DOCUMENTED = dict(
    re.findall(r"^\| `([a-z_.]+)` \| (.+?) \| .+ \|$", README.partition("## A suite file")[2], re.MULTILINE)
)


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """Return the models that a type is or contains."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in models_in(argument)]


def fields_of(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo, bool]]:
    """Yield (dotted key, field, whether keys lie below it); those of the recipe are tested beside it."""
    for name, info in model.model_fields.items():
        inner = [found for found in models_in(info.annotation) if found is not Recipe]
        yield f"{prefix}{name}", info, bool(inner)
        for found in inner:
            yield from fields_of(found, f"{prefix}{name}.")


def test_the_table_has_every_key_of_a_suite() -> None:
    assert [key for key, _, has_keys in fields_of(Suite) if not has_keys and key not in DOCUMENTED] == []


def test_the_table_has_no_other_key() -> None:
    assert DOCUMENTED.keys() - {key for key, *_ in fields_of(Suite)} == {"extends"}


def test_the_table_says_which_keys_are_required() -> None:
    required = {key for key, info, _ in fields_of(Suite) if info.is_required() and key in DOCUMENTED}
    required -= {"strategies.label"}  # filled in with the name
    assert {key for key, default in DOCUMENTED.items() if default == "required"} == required


def test_the_table_says_the_default_of_every_number_and_choice() -> None:
    for key, info, has_keys in fields_of(Suite):
        if not has_keys and isinstance(info.default, bool | int | float | str) and info.default != "":
            assert DOCUMENTED[key] == str(info.default).lower(), key


def test_the_example_is_a_suite(tmp_path: Path) -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    (tmp_path / "my-suite.yaml").write_text(example, encoding="utf-8")
    suite = load_suite(tmp_path / "my-suite.yaml")
    assert [entry.label for entry in suite.strategies] == ["random", "wide"]


def test_the_forms_of_a_dimension_and_the_settings_work(tmp_path: Path) -> None:
    study = {"strategy": "entropy-spatial", "candidates": 2, "search_seeds": [9]}
    forms = re.findall(r"`(\{(?:float|int): .+?\})`", README)
    assert len(forms) == 3
    for form in forms:
        name = "pca_dim" if "int" in form else "cutoff"
        load_suite("quickstart", [f"study={study}", f"study.space={{{name}: {form}}}"])
    (line,) = re.findall(r"`(--set [^`]* --set [^`]*)`", README)
    settings = [word for word in shlex.split(line) if word != "--set"]
    assert len(settings) == 3
    suite = load_suite("quickstart", ["strategies=[{name: random}]", *settings])
    assert (suite.learner.iterations, suite.seeds, suite.strategies[0].label) == (50, (0, 1), "base")

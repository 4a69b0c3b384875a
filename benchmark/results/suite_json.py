"""The shape of suite.json, checked when it is read: it may have been edited, damaged, or come from someone else."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, ValidationError

from quadrat.benchmark.errors import ResultsError
from quadrat.benchmark.storage.names import is_part

__all__ = ["SUITE_SCHEMA", "check_suite_json", "first_mistake"]

SUITE_SCHEMA: Final = 1


def _printable(text: str) -> str:
    """Return a text that figures and tables show; a control character ends the process that draws them."""
    if not text.isprintable():
        raise ValueError("expected printable characters")
    return text


def _name_of_folder(text: str) -> str:
    if not is_part(text):
        raise ValueError("expected the name of a folder")
    return text


_Text = Annotated[str, AfterValidator(_printable)]
_Channel = Annotated[int, Field(ge=0, le=255)]


class _Part(BaseModel):
    """What readers rely on; other keys are free."""

    model_config = ConfigDict(strict=True, extra="ignore")


class _DatasetOfSuite(_Part):
    name: _Text
    pool: _Text
    test: _Text


class _Suite(_Part):
    name: _Text
    dataset: _DatasetOfSuite
    budgets: list[PositiveInt]
    learner: dict[str, Any]
    seeds: list[NonNegativeInt]
    strategies: list[dict[str, Any]] = []
    regions: dict[str, Any] = {}


class _Map(_Part):
    name: _Text
    path: str
    digest: str
    by_content: bool


class _Split(_Part):
    fingerprint: str
    path: str
    num_images: NonNegativeInt
    num_px: NonNegativeInt
    maps: list[_Map] = []


class _Pool(_Split):
    num_regions: dict[str, NonNegativeInt]


class _Dataset(_Part):
    title: _Text | None = None
    classes: Annotated[list[_Text], Field(min_length=1)]
    colours: list[Annotated[list[_Channel], Field(min_length=3, max_length=3)]]
    pool: _Pool
    test: _Split
    warnings: list[str] = []


class _Trial(_Part):
    trial_id: Annotated[str, AfterValidator(_name_of_folder)]
    label: _Text
    strategy: _Text
    params: dict[str, Any]
    seed: NonNegativeInt
    region_size: PositiveInt
    num_rounds: PositiveInt
    labels: _Text = ""
    regions: _Text = ""
    spec: dict[str, Any] = {}


class _SuiteJson(_Part):
    suite: _Suite
    dataset: _Dataset
    trials: list[_Trial]


def check_suite_json(path: Path, value: Mapping[str, Any]) -> None:
    """Check the content of a suite.json.

    Raises:
        ResultsError: When it has another schema or shape.
    """
    schema = value.get("schema", 0)
    if not isinstance(schema, int) or schema > SUITE_SCHEMA:
        raise ResultsError(f"{path}: expected schema {SUITE_SCHEMA} or older, got {schema!r:.80}; update quadrat")
    try:
        found = _SuiteJson.model_validate(value)
    except ValidationError as error:
        raise ResultsError(
            f"{path}: expected what `quadrat run` writes, got another file or a damaged one ({first_mistake(error)}); "
            "restore it, or run the suite in another folder"
        ) from error
    if len(found.dataset.classes) != len(found.dataset.colours):
        raise ResultsError(
            f"{path}: expected a colour for each of {len(found.dataset.classes)} classes, got "
            f"{len(found.dataset.colours)}; restore it, or run the suite in another folder"
        )


def first_mistake(error: ValidationError) -> str:
    """Return the first mistake that pydantic found, in a few words: where, what, which value."""
    first = error.errors()[0]
    return f"`{'.'.join(map(str, first['loc']))}`: {first['msg']}, got {first['input']!r:.80}"

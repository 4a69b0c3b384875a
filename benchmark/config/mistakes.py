"""What is wrong with a suite file, in a line each: file, key, expected, got."""

import difflib
import math
import types
from collections.abc import Sequence
from typing import Any, Final, get_args

from pydantic import BaseModel

from quadrat.benchmark.config.suite_file import SuiteFile
from quadrat.benchmark.errors import QuadratError

__all__ = ["explain_all"]

_TYPE_PARTS: Final = ("constrained-int", "function-after[_distinct(), union]")
"""What pydantic puts into the place of a value that may be of several types."""

_PLAIN: Final = {
    "too_short": "at least one item",
    "tuple_type": "a list",
    "string_pattern_mismatch": "letters, digits, '.', '_' and '-', beginning with a letter or digit",
}
"""Kinds of mistakes that pydantic words for programmers."""


def explain_all(model: type[BaseModel], file: SuiteFile, problems: Sequence[Any]) -> list[str]:
    """Return one line per mistake, without pydantic's repetitions for a parent or another type.

    Args:
        model: What the file was read as.
        file: The file.
        problems: Pydantic's errors.
    """
    places = [tuple(part for part in problem["loc"] if part not in _TYPE_PARTS) for problem in problems]
    lines: dict[str, str] = {}
    for problem, place in zip(problems, places, strict=True):
        has_child = any(len(other) > len(place) and other[: len(place)] == place for other in places)
        if problem["type"] == "too_short" and has_child:
            continue
        line = _explain(model, file, problem)
        lines.setdefault(line.partition(": expected")[0], line)
    return list(lines.values())


def _explain(model: type[BaseModel], file: SuiteFile, problem: Any) -> str:
    loc, is_unknown_key = problem["loc"], problem["type"] == "extra_forbidden"  # such a key may look like a type
    location = [
        part for place, part in enumerate(loc, start=1) if not _is_type(part) or (is_unknown_key and place == len(loc))
    ]
    key = ".".join(str(part) for part in location) or "(the file)"
    path = file.origin(location)
    path, key = ("--set", key) if path == f"--set {key}" else (f"{path}:", key)
    cause = problem.get("ctx", {}).get("error")
    if isinstance(cause, QuadratError):
        return f"{path} {key}: {cause}"
    if problem["type"] == "extra_forbidden":
        known = _known_keys(model, location[:-1])
        close = difflib.get_close_matches(str(location[-1]), known, n=1)
        hint = f"; did you mean '{close[0]}'?" if close else ""
        return f"{path} {key}: expected one of the keys {', '.join(known)}, got '{location[-1]}'{hint}"
    if problem["type"] == "missing":
        return f"{path} {key}: expected this key to be there, got nothing; add it"
    if str(cause).startswith("expected "):
        return f"{path} {key}: {cause}"
    plain = _PLAIN.get(problem["type"], problem["msg"].removeprefix("Input should be "))
    if problem["type"] == "literal_error" and _may_be_left_out(model, location):
        plain += ", or null for neither"
    expected = str(cause) if cause is not None else plain
    return f"{path} {key}: expected {expected}, got {_short(problem['input'])}"


def _is_type(part: str | int) -> bool:
    """Return whether a part of a location names one of several types, as pydantic puts it."""
    return isinstance(part, str) and (part in _TYPE_PARTS or "[" in part)


def _known_keys(whole: type[BaseModel], location: list[Any]) -> list[str]:
    model = _model_at(whole, location)
    fields = list(model.model_fields) if model is not None else []
    return [*fields, "extends"] if model is whole else fields


def _may_be_left_out(whole: type[BaseModel], location: list[Any]) -> bool:
    """Return whether null is among the values of a key."""
    model = _model_at(whole, location[:-1])
    info = model.model_fields.get(location[-1]) if model is not None else None
    return info is not None and type(None) in get_args(info.annotation)


def _model_at(whole: type[BaseModel], location: list[Any]) -> type[BaseModel] | None:
    model: type[BaseModel] | None = whole
    for part in location:
        if isinstance(part, int) or model is None:
            continue
        info = model.model_fields.get(part)
        model = _model_in(info.annotation) if info is not None else None
    return model


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return annotation if issubclass(annotation, BaseModel) else None
    return next((found for argument in get_args(annotation) if (found := _model_in(argument))), None)


def _short(value: object) -> str:
    text = "nan" if isinstance(value, float) and math.isnan(value) else repr(value)
    return text if len(text) <= 80 else text[:77] + "..."

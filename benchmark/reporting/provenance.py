"""Provenance: suite, data, recipe, code, hardware and settings, to judge or repeat a result."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from quadrat.benchmark.config.trial import PRECISE
from quadrat.benchmark.results.trials import Results
from quadrat.strategies import sees_labels

__all__ = ["SEES_LABELS", "Fact", "all_settings", "facts", "strategy_settings"]

SEES_LABELS: Final = " ⚠ sees labels through the oracle: an upper bound that no annotator could follow."


class Fact(NamedTuple):
    """A term and its description."""

    term: str
    text: str


def facts(results: Results) -> tuple[Fact, ...]:
    """Return suite, data, budgets, seeds, recipe, code and hardware in short."""
    return tuple(_facts(results))


def _facts(results: Results) -> Iterator[Fact]:
    suite, dataset = results.suite, results.dataset
    pool, test = dataset["pool"], dataset["test"]
    named = suite["dataset"]
    yield Fact("suite", suite["name"] + (f": {suite['description']}" if suite.get("description") else ""))
    regions = ", ".join(f"{num:,} regions of {size} px" for size, num in pool["num_regions"].items())
    yield Fact(
        "data set",
        f"{results.title}, {len(results.classes)} classes. Pool “{named['pool']}”: "
        f"{pool['num_images']:,} images, {regions}, "
        f"{pool['num_px']:,} pixels. Evaluated on “{named['test']}”: {test['num_images']:,} images.",
    )
    yield Fact(
        "budgets", f"{', '.join(f'{budget:,}' for budget in suite['budgets'])} labelled regions after each round"
    )
    if (labels := _labels(results)) is not None:
        yield Fact("labels", labels)
    yield Fact(
        "seeds",
        f"{', '.join(map(str, results.seeds))}; all strategies of a seed share round 0 (labels and model)"
        f"{' under the same query' if results.has_several_queries else ''}",
    )
    yield Fact("recipe", _recipe(suite["learner"]))
    for term, text_of in (("code", _code), ("hardware", _hardware)):
        yield Fact(term, "; ".join(dict.fromkeys(text_of(one) for one in results.environments)))
    if commands := dict.fromkeys(one["command"] for one in results.environments if one.get("command")):
        yield Fact("command", "; ".join(commands))


def _labels(results: Results) -> str | None:
    """Return the label types and how the annotator errs; None for precise labels without errors."""
    types = list(dict.fromkeys(query.labels for query in results.queries.values()))
    annotator = results.suite.get("annotator") or {}
    rate = annotator.get("error_rate", 0)
    if types in ([], [PRECISE]) and not rate:
        return None
    errors = (
        f"; the annotator names {100 * rate:g} % of the classes wrongly ({annotator['kind']}), the evaluation has no "
        "errors"
        if rate
        else ""
    )
    return f"{', '.join(types)}{errors}"


def _recipe(learner: Mapping[str, Any]) -> str:
    encoder = "frozen" if learner.get("frozen") else "fine-tuned"
    weights = {"imagenet": "ImageNet weights", "packaged": "packaged ImageNet weights", "none": "random weights"}
    source = str(learner.get("weights"))
    optimizers = {"sgd": "SGD", "adamw": "AdamW"}
    optimizer = str(learner.get("optimizer"))
    scored = learner.get("inference_precision")
    precision = f"{learner.get('precision')}" + (f", scored and evaluated in {scored}" if scored else "")
    precision += f", torch.compile ({learner['compile']})" if learner.get("compile") else ""
    length = f"{learner['epochs']} epochs" if learner.get("epochs") else f"{learner.get('iterations')} iterations"
    return (
        f"DeepLabv3+ with {learner.get('encoder')} ({encoder}, {weights.get(source, 'weights from a file')}), "
        f"{learner.get('decoder_channels')} decoder channels, output stride {learner.get('output_stride')}; "
        f"{optimizers.get(optimizer, optimizer)}, learning rate {learner.get('lr')}, {length}, "
        f"batch {learner.get('batch_size')}, crop {learner.get('crop')}, {precision}; "
        "retrained from scratch in every round; last weights evaluated"
    )


def _code(environment: Mapping[str, Any]) -> str:
    packages = environment.get("packages", {})
    names = [f"{name} {packages[name]}" for name in ("quadrat", "torch", "timm", "numpy") if name in packages]
    if environment.get("python"):
        names.append(f"Python {environment['python']}")
    if environment.get("commit"):
        names.append(f"commit {environment['commit']}")
    return ", ".join(names) or "not recorded"


def _hardware(environment: Mapping[str, Any]) -> str:
    parts = [str(environment["processor"])] if environment.get("processor") else []
    if environment.get("cores"):
        parts.append(f"{environment['cores']} cores")
    if environment.get("memory_bytes"):
        parts.append(f"{environment['memory_bytes'] / 2**30:.0f} GiB")
    parts.append(", ".join(environment["gpus"]) if environment.get("gpus") else "no GPU")
    return ", ".join(parts) if environment else "not recorded"


def strategy_settings(results: Results) -> tuple[Fact, ...]:
    """Return the registered name and all parameters of each label, defaults filled in."""
    return tuple(
        Fact(
            trial.label,
            f"{trial.strategy}({', '.join(f'{key}={_text(value)}' for key, value in trial.params.items())})"
            f"{SEES_LABELS if sees_labels(trial.strategy) else ''}",
        )
        for trial in {trial.label: trial for trial in results.trials if not trial.is_full_supervision}.values()
    )


def all_settings(results: Results) -> tuple[Fact, ...]:
    """Return every setting of the recipe, every recorded fact of the environment, and the fingerprints of the data."""
    return (
        *(Fact(f"learner.{key}", _text(value)) for key, value in results.suite["learner"].items()),
        *(Fact(f"{split}.fingerprint", results.dataset[split]["fingerprint"]) for split in ("pool", "test")),
        *(Fact(f"dataset.{key}", _text(value)) for key, value in results.suite["dataset"].get("params", {}).items()),
        *(
            Fact(name, text)
            for key, value in results.environment.items()
            if key != "command"
            for name, text in _flat(key, value)
        ),
    )


def _flat(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(f"{name}.{key}", inner)
    else:
        yield name, _text(value)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

"""The sentence that a study ends with: its best candidate against the suite's own strategies, on the report seeds."""

import json
import statistics
from collections.abc import Mapping

from quadrat.benchmark.analysis.objective import DISPLAY_SCALE, DISPLAY_TITLE, target_outcome, value_of
from quadrat.benchmark.analysis.statistics import paired_difference, summarise
from quadrat.benchmark.config.candidates import Candidate
from quadrat.benchmark.config.study import Objective
from quadrat.benchmark.reporting.formatting import counted, interval, mean_std, parameter, signed
from quadrat.benchmark.results.study_results import StudyResults, read_study
from quadrat.benchmark.results.trials import Results

__all__ = ["report_values", "study_entry", "study_headline", "study_sentence", "target_outcomes"]


def study_headline(results: Results) -> str | None:
    """Return the first sentence on the results of a study; None where there is no study, or its search has not begun.

    The values of the search itself are not in it: as the best of many draws they are too good.
    """
    found = read_study(results.path)
    if found is None or not found.candidates:
        return None
    objective = found.study.objective[0]
    return study_sentence(
        found, report_values(results, objective), results.strategies, target_outcomes(results, objective)
    )


def report_values(results: Results, objective: Objective) -> dict[str, dict[int, float]]:
    """Return label -> report seed -> objective as displayed, for the trials that are complete."""
    full = {record.seed: record for record in results.full_supervision}
    values: dict[str, dict[int, float]] = {}
    for trial in results.trials:
        if trial.is_full_supervision or trial.state != "done" or (objective == "cost-95" and trial.seed not in full):
            continue
        targets = [full[trial.seed]] if trial.seed in full else []
        value = DISPLAY_SCALE[objective] * value_of(objective, trial.records, targets)
        values.setdefault(trial.label, {})[trial.seed] = value
    return values


def target_outcomes(results: Results, objective: Objective) -> dict[str, str]:
    """Return label -> in how many report seeds the target of `cost-95` is not reached, or reached and lost again.

    Empty for other objectives, and a label is left out where every seed reaches the target and keeps it.
    """
    if objective != "cost-95":
        return {}
    full = {record.seed: record for record in results.full_supervision}
    found: dict[str, list[str]] = {}
    for trial in results.trials:
        if not trial.is_full_supervision and trial.state == "done" and trial.seed in full:
            found.setdefault(trial.label, []).append(target_outcome(trial.records, full[trial.seed]))
    said = {
        label: ", ".join(
            f"{outcome} in {of_seeds.count(outcome)} of {len(of_seeds)} seeds"
            for outcome in ("not reached", "lost again")
            if outcome in of_seeds
        )
        for label, of_seeds in found.items()
    }
    return {label: text for label, text in said.items() if text}


def study_sentence(
    found: StudyResults,
    values: Mapping[str, Mapping[int, float]],
    strategies: Mapping[str, str],
    outcomes: Mapping[str, str],
) -> str:
    """Return the best candidate and its gain over the suite's own setting on the report seeds.

    The suite's own is the same strategy as the suite gives it, or the best strategy of the suite where it has none or
    several.

    Args:
        found: The search.
        values: Label -> report seed -> objective as displayed.
        strategies: Label -> registered name.
        outcomes: Label -> what became of the target, see `target_outcomes`.
    """
    objective = found.study.objective[0]
    if not found.best:
        return "The search has not ended, or no candidate was completed: there is no best one yet."
    best = found.best[0]
    candidate = found.candidates[best.candidate]
    name = f"candidate {best.candidate}" + ("" if best.label == candidate.label else f" (same as {best.label})")
    params = ", ".join(f"{name} {parameter(value)}" for name, value in candidate.params.items())
    chosen = f"Best of {len(found.candidates)} candidates on the search seeds: {name}, {params}."
    if best.label not in values:
        return f"{chosen} It has not been run on the report seeds yet."
    mine = values[best.label]
    rest = {label: seeds for label, seeds in values.items() if label not in {one.label for one in found.best}}
    text = f"{chosen} On the report seeds its {DISPLAY_TITLE[objective]} is {mean_std(summarise(mine.values()), 2)}"
    text += f" ({outcomes[best.label]})" if best.label in outcomes else ""
    if not rest:
        return f"{text}."
    sign = 1 if found.directions[0] == "maximize" else -1
    own = [label for label in rest if strategies.get(label) == found.study.strategy]
    ahead = own[0] if len(own) == 1 else max(rest, key=lambda label: sign * statistics.fmean(rest[label].values()))
    what = "with the suite's own setting" if len(own) == 1 else "the best strategy of the suite"
    text += f", against {mean_std(summarise(rest[ahead].values()), 2)} of {ahead}, {what}"
    difference = paired_difference(mine, rest[ahead])
    if difference is None:
        return f"{text}; they share no seed."
    text += f": a difference of {signed(difference.summary.mean)}"
    if difference.half_width is None:
        return f"{text} over {counted(difference.summary.num, 'shared seed')}."
    return f"{text} (95 % interval {interval(difference)}; exploratory)."


def study_entry(results: Results) -> str | None:
    """Return the best candidate as an entry of a suite's `strategies`, YAML in one line; None where there is none."""
    found = read_study(results.path)
    return _entry(found, found.candidates[found.best[0].candidate]) if found is not None and found.best else None


def _entry(found: StudyResults, candidate: Candidate) -> str:
    params = {**found.study.params, **candidate.params}
    region_size = params.pop("region_size", None)
    shown = ", ".join(f"{name}: {json.dumps(value)}" for name, value in params.items())
    size = "" if region_size is None else f", region_size: {region_size}"
    return f"{{name: {found.study.strategy}, label: tuned, params: {{{shown}}}{size}}}"

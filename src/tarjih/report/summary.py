"""The report's words. They state what was measured and claim nothing that was not tested."""

from __future__ import annotations

from collections import Counter

from tarjih.records import ExperimentResults, ResultRecord, WeightSpread
from tarjih.report.names import (
    BASE,
    CROSS_ENTROPY,
    condition_label,
    conditions_of,
    join,
    models_of,
    severity_label,
)
from tarjih.report.tables import METRICS, format_number, make_cell

_COMPARED = ("bertscore_f1", "response_loss")
_ROUNDING = 2.1e-3


def summary_sentences(results: ExperimentResults) -> list[str]:
    """The summary, a sentence or two for each item."""
    if not results.records:
        return ["The experiment holds no runs yet."]
    sentences = [_what_ran(results), seeds_sentence(results)]
    conditions = conditions_of(results)
    if CROSS_ENTROPY in conditions:
        others = [one for one in conditions if one not in {BASE, CROSS_ENTROPY}]
        found = [_against_cross_entropy(results, condition) for condition in others]
        sentences += [sentence for sentence in found if sentence]
    if "shuffled" in conditions:
        sentences.append(
            "The control deals the same weights to the wrong complaints. Where it does as well as "
            "a severity-aware condition, it is not severity that helped."
        )
    flat = flat_conditions(results)
    if flat:
        sentences.append(
            f"The weights of {join(flat)} are nearly flat: these runs can hardly differ from plain "
            "cross-entropy, whatever their scores say."
        )
    return sentences


def seeds_sentence(results: ExperimentResults) -> str:
    """What the number of seeds allows to be said."""
    seeds = Counter((one.model, one.condition) for one in results.records if one.scores is not None)
    if not seeds:
        return "No run has scores: there is nothing to compare."
    if max(seeds.values()) == 1:
        return (
            "Each cell rests on one seed, so no claim can be made: a difference between two "
            "conditions may be chance."
        )
    fewest, most = min(seeds.values()), max(seeds.values())
    number = f"{most}" if fewest == most else f"{fewest} to {most}"
    return (
        f"Numbers are means over {number} seeds, ± the sample standard deviation over "
        "seeds. No test of significance is part of this report: a difference alone is not evidence."
    )


def flat_conditions(results: ExperimentResults) -> list[str]:
    """Labels of the conditions that mean to weight by severity but whose weights are flat."""
    flat = {
        record.condition
        for record in results.records
        if record.weights is not None and record.weights.flat and not is_constant(record.weights)
    }
    return [condition_label(one) for one in conditions_of(results) if one in flat]


def is_constant(spread: WeightSpread) -> bool:
    """Whether the weights are equal on purpose.

    Probabilities sum to 1 within 0.001 only, and so do equal weights that are made of them.
    """
    return spread.maximum - spread.minimum <= _ROUNDING * abs(spread.mean)


def spread_sentence(spread: WeightSpread) -> str:
    """A spread in words."""
    if is_constant(spread):
        return f"All {spread.examples:,} weights are {spread.mean:.3f}."
    shares = [
        f"{severity_label(name)} {100 * share:.1f} %"
        for name, share in spread.loss_share_by_severity.items()
    ]
    return (
        f"Of {spread.examples:,} weights, 90 % lie between {spread.p05:.3f} and {spread.p95:.3f} "
        f"(all between {spread.minimum:.3f} and {spread.maximum:.3f}); the mean is "
        f"{spread.mean:.3f}. The effective sample size is "
        f"{100 * spread.effective_sample_share:.1f} % of the number of examples. Share of the "
        f"summed weights: {', '.join(shares)}."
    )


def _what_ran(results: ExperimentResults) -> str:
    done = sum(one.status == "done" for one in results.records)
    failed = len(results.records) - done
    conditions = [condition_label(one) for one in conditions_of(results)]
    return (
        f"{_count(len(models_of(results)), 'model')} under {_count(len(conditions), 'condition')} "
        f"({join(conditions)}): {_count(done, 'run')} finished"
        + (f", {_count(failed, 'run')} failed." if failed else ", none failed.")
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _against_cross_entropy(results: ExperimentResults, condition: str) -> str | None:
    parts = []
    models = 0
    for key in _COMPARED:
        metric = METRICS[key]
        changes = [
            change
            for model in models_of(results)
            if (change := _change(results, model, condition, key)) is not None
        ]
        models = max(models, len(changes))
        if changes:
            low, high = (_signed(value, metric.decimals) for value in (min(changes), max(changes)))
            parts.append(f"{metric.label} {low if low == high else f'{low} to {high}'}")
    if not parts:
        return None
    over = f" (lowest and highest of {models} models)" if models > 1 else ""
    return f"{condition_label(condition)} minus CE: {', '.join(parts)}{over}."


def _change(results: ExperimentResults, model: str, condition: str, key: str) -> float | None:
    def mean(wanted: str) -> float | None:
        return make_cell(_records(results, model, wanted), METRICS[key], None).mean

    one, plain = mean(condition), mean(CROSS_ENTROPY)
    return None if one is None or plain is None else one - plain


def _records(results: ExperimentResults, model: str, condition: str) -> list[ResultRecord]:
    return [one for one in results.records if (one.model, one.condition) == (model, condition)]


def _signed(value: float, decimals: int) -> str:
    text = format_number(value, decimals)
    return f"+{text}" if round(value, decimals) > 0 else text

"""`tarjih evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from tarjih.cli.console import ConsoleReporter, command, out, say_written
from tarjih.cli.outputs import check_output_file
from tarjih.progress import from_totals

_ROWS = {
    "examples": ("examples", ",d"),
    "response_loss": ("response loss (nats a token)", ".3f"),
    "perplexity": ("perplexity", ".1f"),
    "bertscore_f1": ("BERTScore F1", ".2f"),
    "chrf": ("chrF++", ".2f"),
    "rouge_l": ("ROUGE-L F1", ".2f"),
    "empty_share": ("empty (%)", ".1f"),
    "repetitive_share": ("repetitive (%)", ".1f"),
    "stopped_share": ("ended by themselves (%)", ".1f"),
    "length_ratio": ("length, of the reference's", ".2f"),
}


@command
def evaluate(
    file: Annotated[Path, typer.Argument(help="JSONL that tarjih generate wrote.")],
    settings: Annotated[
        list[str] | None,
        typer.Argument(help="key=value, such as bertscore.encoder=packaged:e5-small."),
    ] = None,
    scores_file: Annotated[
        Path | None, typer.Option("--out", help="JSON file for the scores.")
    ] = None,
) -> None:
    """Score answers against the doctors' responses, overall and per severity."""
    from tarjih.evaluation.evaluate import EvaluationSettings, read_generations
    from tarjih.evaluation.evaluate import evaluate as score
    from tarjih.files import write_json
    from tarjih.settings import settings_from_overrides

    chosen = settings_from_overrides(EvaluationSettings, settings or [])
    if scores_file is not None:
        check_output_file(scores_file, file)
    generations = read_generations(file)
    with ConsoleReporter().stage("comparing answers", len(generations)) as advance:
        reached = from_totals(advance)
        scores = score(generations, chosen, lambda done, _: reached(done))
    _show(scores)
    if scores_file is not None:
        write_json(scores_file, scores.model_dump(mode="json"))
        say_written(scores_file)


def _show(scores: Any) -> None:
    slices = {"overall": scores.overall, **scores.by_severity}
    table = Table("", *slices)
    for key, (name, form) in _ROWS.items():
        values = [getattr(part, key) for part in slices.values()]
        table.add_row(name, *("-" if value is None else format(value, form) for value in values))
    out.print(table)
    if scores.unlabelled_severities:
        out.print(
            f"The severity of {scores.unlabelled_severities:,} examples is an estimate, "
            "not a person's label."
        )
    for name, signature in scores.signatures.items():
        out.print(f"{name}: {signature}", markup=False, highlight=False, soft_wrap=True)

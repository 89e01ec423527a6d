"""`tarjih severity review write | apply | agreement`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tarjih.cli.console import ConsoleReporter, command, out, say_written
from tarjih.cli.outputs import check_output_file, naming
from tarjih.cli.pairs import Columns, Encoding, read_pairs
from tarjih.errors import SettingsError

if TYPE_CHECKING:
    from tarjih.severity.resampling import Estimate

app = typer.Typer(
    help="Have people look at doubtful labels again.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

Sheets = Annotated[list[Path], typer.Argument(help="Sheets that reviewers have filled in.")]
_SHOWN_IDS = 20


@app.command("write")
@command
def write(
    data: Annotated[str, typer.Argument(help="A data file with complaints.")],
    sheet: Annotated[Path, typer.Option("--out", help="Workbook (.xlsx) to write.")],
    annotator: Annotated[
        Path | None,
        typer.Argument(help="Folder of an annotator. Without one, the data must be scored."),
    ] = None,
    rows: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="At most so many complaints.")
    ] = 200,
    blind: Annotated[
        bool, typer.Option("--blind", help="Hide labels, estimates and reasons from reviewers.")
    ] = False,
    column: Columns = None,
    encoding: Encoding = None,
) -> None:
    """Write a sheet of the complaints whose severity is most worth a second look."""
    import numpy as np

    from tarjih.data.read import read_consultations
    from tarjih.severity.annotate import score_consultations
    from tarjih.severity.annotator import load_annotator
    from tarjih.severity.review import complaints_to_review
    from tarjih.severity.review_sheet import check_sheet_name, write_sheet

    check_output_file(sheet, data)
    check_sheet_name(sheet)
    scorer = None if annotator is None else load_annotator(annotator)
    consultations = read_consultations(
        data,
        columns=read_pairs("--column", column or []),
        encoding=encoding,
        require_probabilities=scorer is None,
    )
    if scorer is not None:
        ConsoleReporter().note(f"scoring {len(consultations):,} complaints")
        with naming(data):
            consultations = score_consultations(scorer, consultations)
    known = [one.probabilities for one in consultations]
    probabilities = np.array([one.as_tuple() for one in known if one is not None])
    chosen = complaints_to_review(consultations, probabilities, rows)
    write_sheet(chosen, sheet, blind=blind)
    counts = Counter(one.reason for one in chosen)
    told = ", ".join(f"{count:,} {reason.replace('_', ' ')}" for reason, count in counts.items())
    out.print(f"{len(chosen):,} complaints to review: {told}" if chosen else "nothing to review")
    say_written(sheet)


@app.command("apply")
@command
def apply(
    data: Annotated[str, typer.Argument(help="The data file that the sheets were written from.")],
    sheets: Sheets,
    file: Annotated[Path, typer.Option("--out", help="File to write: .parquet, .csv or .xlsx.")],
    record: Annotated[
        Path | None,
        typer.Option(help="JSON lines of who changed what. Default: beside --out."),
    ] = None,
    column: Columns = None,
    encoding: Encoding = None,
) -> None:
    """Write the data with the labels that most reviewers chose, and who changed what."""
    from tarjih.severity.review_apply import apply_sheets

    record = record or file.with_suffix(".review.jsonl")
    for path in (file, record):
        check_output_file(path, data, *sheets)
    if record.resolve() == file.resolve():
        raise SettingsError(
            f"--record and --out are the same file, {file}", remedy="name two different files"
        )
    done = apply_sheets(
        data,
        sheets,
        file,
        record,
        columns=read_pairs("--column", column or []),
        encoding=encoding,
    )
    out.print(
        f"{done.complaints:,} complaints reviewed: {done.confirmed:,} confirmed, "
        f"{len(done.undecided):,} undecided; {done.changed_rows:,} rows have another label"
    )
    if done.undecided:
        shown = ", ".join(done.undecided[:_SHOWN_IDS])
        more = "" if len(done.undecided) <= _SHOWN_IDS else f" and more, see {done.record}"
        out.print(f"undecided: {shown}{more}", markup=False, highlight=False, soft_wrap=True)
    say_written(done.file)
    say_written(done.record)


@app.command("agreement")
@command
def agreement(
    sheets: Sheets,
    seed: Annotated[int, typer.Option(min=0, help="Of the intervals.")] = 0,
) -> None:
    """Show how far reviewers agree, with 95 % intervals over complaints."""
    from tarjih.severity.agreement import agreement as measure
    from tarjih.severity.review import labels_by_reviewer
    from tarjih.severity.review_sheet import read_sheets

    given = labels_by_reviewer(read_sheets(sheets))
    people = sorted({name for by_reviewer in given.values() for name in by_reviewer})
    labels = [
        [by_reviewer[name].after if name in by_reviewer else None for name in people]
        for by_reviewer in given.values()
    ]
    with naming(", ".join(map(str, sheets))):
        found = measure(labels, seed=seed)
    out.print(f"reviewers                       {', '.join(people)}", markup=False)
    out.print(f"complaints labelled by several  {found.complaints:,}")
    out.print(f"same label                      {_shown(found.same_label)}", highlight=False)
    out.print(f"Krippendorff's alpha, ordinal   {_shown(found.alpha)}", highlight=False)
    if found.kappa is not None:
        out.print(f"Cohen's kappa, quadratic        {_shown(found.kappa)}", highlight=False)


def _shown(estimate: Estimate) -> str:
    values = (estimate.value, estimate.low, estimate.high)
    value, low, high = ("not defined" if one is None else f"{one:.3f}" for one in values)
    return value if low == "not defined" else f"{value}  ({low} to {high})"

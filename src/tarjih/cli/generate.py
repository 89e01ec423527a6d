"""`tarjih generate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tarjih.cli.console import ConsoleReporter, command, out, say_written
from tarjih.cli.outputs import check_output_file, naming
from tarjih.cli.pairs import Columns, Encoding, read_pairs


@command
def generate(
    run: Annotated[
        str, typer.Argument(help="Folder of a training run, or a model such as packaged:...")
    ],
    data: Annotated[str, typer.Argument(help="A data file with complaints.")],
    file: Annotated[Path, typer.Option("--out", help="JSONL file to write.")],
    settings: Annotated[
        list[str] | None, typer.Argument(help="key=value, such as max_new_tokens=64.")
    ] = None,
    column: Columns = None,
    encoding: Encoding = None,
) -> None:
    """Answer complaints; where the data has a doctor's response, measure its loss too."""
    from tarjih.data.read import read_consultations
    from tarjih.generation.generate import generate as answer
    from tarjih.generation.settings import GenerationSettings
    from tarjih.generation.source import open_source
    from tarjih.settings import settings_from_overrides

    chosen = settings_from_overrides(GenerationSettings, settings or [])
    check_output_file(file, data)
    consultations = read_consultations(
        data, columns=read_pairs("--column", column or []), encoding=encoding
    )
    with naming(data):
        generations = answer(open_source(run), consultations, file, chosen, ConsoleReporter())
    stopped = sum(generation.stopped for generation in generations)
    out.print(f"{len(generations):,} answers, {stopped:,} of which ended by themselves")
    say_written(file)

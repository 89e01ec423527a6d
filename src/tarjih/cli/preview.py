"""`tarjih preview`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tarjih.cli.console import command, out, say_written
from tarjih.cli.jobs import read_run_config, training_job
from tarjih.cli.outputs import check_output_file, naming


@command
def preview(
    config: Annotated[Path, typer.Argument(help="The YAML file of tarjih train.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="key=value, such as training.max_tokens=256.")
    ] = None,
    examples: Annotated[
        int, typer.Option(min=1, help="Examples to show, spread over the weights.")
    ] = 3,
    page: Annotated[
        Path | None, typer.Option("--out", help="HTML page to write instead of printing tokens.")
    ] = None,
) -> None:
    """Show examples as the trainer sees them: tokens, supervision, weights. Loads no model."""
    from tarjih.report.preview import write_preview
    from tarjih.report.preview_terminal import print_examples, print_summary
    from tarjih.training.preview import preview as preview_of

    chosen = read_run_config(config, overrides or [])
    if page is not None:
        read = [chosen.train] if chosen.validation is None else [chosen.train, chosen.validation]
        check_output_file(page, config, *read)
    job = training_job(chosen)
    with naming(chosen.train):
        seen = preview_of(job, examples)
    print_summary(seen, out)
    if page is None:
        print_examples(seen, out)
    else:
        write_preview(seen, page)
        say_written(page)

"""`tarjih weights`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tarjih.cli.console import ConsoleReporter, command, out, say_written
from tarjih.cli.outputs import check_output_file, naming
from tarjih.cli.pairs import Columns, Encoding, read_pairs
from tarjih.errors import SettingsError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tarjih.records import Consultation

_DEFAULTS = ("uniform", "mild", "balanced", "strong")
_PLOTS = (".svg", ".png", ".pdf")


@command
def weights(
    data: Annotated[str, typer.Argument(help="A data file with severity probabilities.")],
    weightings: Annotated[
        list[str] | None,
        typer.Argument(
            help="Names (mild, balanced, strong, ...), settings such as alpha=0.2,gamma=3, or "
            "both: strong,sharpness=2. Default: cross-entropy and the paper's three."
        ),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--out", help="Plot to write: .svg, .png or .pdf.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Count responses in tokens of this model. Default: in words."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print every number as JSON.")] = False,
    column: Columns = None,
    encoding: Encoding = None,
) -> None:
    """Show how far the weights of a data set would spread, and whom they serve. Trains nothing."""
    from tarjih.data.read import read_consultations
    from tarjih.report.weights import WeightChoice, draw_weights, print_weights
    from tarjih.weighting import (
        flatness_warning,
        probabilities_of,
        severity_weights,
        weight_spread,
        weighting_from_text,
    )

    chosen = {text: weighting_from_text(text) for text in weightings or _DEFAULTS}
    _check_plot(plot, data)
    consultations = read_consultations(
        data, columns=read_pairs("--column", column or []), encoding=encoding
    )
    lengths, tokens = _lengths(consultations, model)
    choices = []
    with naming(data):
        for name, weighting in chosen.items():
            found = severity_weights(
                probabilities_of(consultations, weighting), weighting, seed=0, tokens=tokens
            )
            spread = weight_spread(found, consultations, tokens)
            choices.append(WeightChoice(name, found, spread))
    if json:
        spreads = {choice.name: choice.spread.model_dump() for choice in choices}
        out.print_json(data={"lengths": lengths, "weightings": spreads})
    else:
        print_weights(choices, lengths, out)
        for choice in choices:
            warning = flatness_warning(choice.spread, chosen[choice.name])
            if warning is not None:
                ConsoleReporter().warn(f"{choice.name}: {warning}")
    if plot is not None:
        draw_weights(choices, consultations, plot)
        say_written(plot)


def _check_plot(plot: Path | None, data: str) -> None:
    if plot is None:
        return
    check_output_file(plot, data)
    if plot.suffix.lower() not in _PLOTS:
        raise SettingsError(
            f"plots are not written as {plot.suffix or 'a file without an ending'}",
            remedy=f"end the name in one of: {', '.join(_PLOTS)}",
        )


def _lengths(
    consultations: Sequence[Consultation], model: str | None
) -> tuple[str, NDArray[np.int64]]:
    """What is learnt of each consultation, and its unit: tokens, else words, else one for each."""
    import numpy as np

    if model is not None:
        from tarjih.data.prompt import PromptSettings
        from tarjih.models.load import ModelSettings, load_tokenizer
        from tarjih.models.prompt_tokens import PromptEncoder

        encoder = PromptEncoder(load_tokenizer(model, ModelSettings()), PromptSettings())
        counts = [len(encoder.response(one.response)) for one in consultations]
        return "supervised tokens", np.array(counts, dtype=np.int64)
    counts = [len(one.response.split()) for one in consultations]
    if not any(counts):
        return "examples", np.ones(len(counts), dtype=np.int64)
    return "words", np.array(counts, dtype=np.int64)

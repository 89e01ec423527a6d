"""An experiment from its settings to `results.json`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tarjih.config import ExperimentConfig
from tarjih.errors import DataError, FolderError
from tarjih.evaluation.bertscore import load_encoder
from tarjih.experiment.cells import Cell, finished_record, plan_cells, run_cell
from tarjih.experiment.inputs import Inputs, make_inputs
from tarjih.files import is_unclaimed, read_json, sha256_of, write_json
from tarjih.models.load import load_tokenizer
from tarjih.models.prompt_tokens import PromptEncoder
from tarjih.progress import SILENT, Reporter
from tarjih.records import ExperimentResults, ResultRecord
from tarjih.signature import versions
from tarjih.training.examples import encode_consultations

PLAN_FILE = "experiment.json"
RESULTS_FILE = "results.json"
# These may grow: a condition or a seed more is the same experiment.
_EXTENSIBLE = {"name", "models", "conditions", "seeds"}


def run_experiment(
    config: ExperimentConfig, out: Path, reporter: Reporter = SILENT
) -> ExperimentResults:
    """Run all cells that are not done yet; keep `results.json` up to date after each.

    Raises:
        FolderError: when `out` holds another experiment or something else.
        BadInputError: when the data or a model cannot be used at all.
    """
    _claim_folder(config, out)
    # A wrong name or a response that is too long should not wait for its turn.
    tokenizers = [load_tokenizer(model, config.loading) for model in config.models]
    load_encoder(config.evaluation.bertscore)
    inputs = make_inputs(config, out, reporter)
    cells = plan_cells(config)
    records = {
        cell: record
        for cell in cells
        if (record := finished_record(cell, config, inputs, out)) is not None
    }
    if any(cell.weighting is not None for cell in cells if cell not in records):
        for tokenizer in tokenizers:
            _check_lengths(PromptEncoder(tokenizer, config.prompt), config, inputs)
    with reporter.stage("experiment", len(cells)) as advance:
        advance(len(records))
        for cell in cells:
            if cell not in records:
                records[cell] = run_cell(cell, config, inputs, out, reporter)
                advance(1)
            _tell(cell, records[cell], reporter)
            results = _results(config, inputs, [records[c] for c in cells if c in records])
            write_json(out / RESULTS_FILE, results.model_dump(mode="json"))
    return results


def _check_lengths(encoder: PromptEncoder, config: ExperimentConfig, inputs: Inputs) -> None:
    """Refuse responses that no training run of the experiment could take."""
    try:
        encode_consultations(
            [*inputs.train, *inputs.validation],
            encoder,
            max_tokens=config.training.max_tokens,
            long_responses=config.training.long_responses,
        )
    except DataError as error:
        files = ", ".join(config.data.sources)
        raise DataError(error.what, file=files, remedy=error.remedy) from None


def _claim_folder(config: ExperimentConfig, out: Path) -> None:
    settings = config.model_dump(mode="json")
    plan = out / PLAN_FILE
    if plan.is_file():
        different = _differences(settings, read_json(plan))
        if different:
            raise FolderError(
                f"this folder holds another experiment (different: {', '.join(different)})",
                file=out,
                remedy="choose another folder with --out, or remove this one",
            )
    elif not is_unclaimed(out, PLAN_FILE):
        raise FolderError(
            "this folder is not empty and holds no experiment",
            file=out,
            remedy="choose another folder with --out",
        )
    write_json(plan, settings)


def _differences(settings: dict[str, Any], earlier: Any) -> list[str]:
    """What makes the earlier experiment another one; new conditions, models and seeds do not."""
    if not isinstance(earlier, dict):
        return [PLAN_FILE]
    different = [
        key for key in settings if key not in _EXTENSIBLE and earlier.get(key) != settings[key]
    ]
    before = earlier.get("conditions") or {}
    different += [
        f"conditions.{name}"
        for name, weighting in settings["conditions"].items()
        if name in before and before[name] != weighting
    ]
    return sorted(different)


def _results(
    config: ExperimentConfig, inputs: Inputs, records: list[ResultRecord]
) -> ExperimentResults:
    settings = config.model_dump(mode="json")
    return ExperimentResults(
        name=config.name,
        settings=settings,
        data=inputs.data,
        severity=inputs.severity,
        signature={
            "settings_hash": sha256_of(settings),
            "data_hash": inputs.hashes,
            "versions": versions(),
        },
        records=list(records),
    )


def _tell(cell: Cell, record: ResultRecord, reporter: Reporter) -> None:
    if record.scores is None:
        reporter.warn(f"{cell} failed: {record.error}")
        return
    overall = record.scores.overall
    loss = overall.response_loss
    shown = "" if loss is None else f", held-out loss {loss:.3f} nats a token"
    reporter.note(f"{cell}: BERTScore {overall.bertscore_f1:.2f}{shown}")

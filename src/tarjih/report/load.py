"""Reading the results of an experiment."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from tarjih.errors import DataError
from tarjih.files import read_json
from tarjih.records import ExperimentResults

RESULTS_FILE = "results.json"


def load_results(folder: Path) -> ExperimentResults:
    """Read `results.json` of an experiment's folder.

    Raises:
        DataError: when it is absent, damaged, or of another format.
    """
    path = folder / RESULTS_FILE
    if not path.is_file():
        raise DataError(
            f"there is no {RESULTS_FILE} in this folder",
            file=folder,
            remedy="name the folder that an experiment wrote, or run the experiment first",
        )
    try:
        return ExperimentResults.model_validate(read_json(path))
    except ValidationError as error:
        fault = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in fault["loc"]) or "the file"
        more = f" (and {error.error_count() - 1} more faults)" if error.error_count() > 1 else ""
        raise DataError(
            f"{place}: {fault['msg']}{more}",
            file=path,
            remedy="the file was damaged, changed by hand or written by another version: "
            "run the experiment again",
        ) from None

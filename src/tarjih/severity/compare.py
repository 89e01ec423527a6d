"""Which annotator agrees best with people's labels: fitting and scoring, resumable."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tarjih.errors import FolderError, SettingsError
from tarjih.files import is_unclaimed, read_json, write_json
from tarjih.progress import SILENT, Reporter
from tarjih.records import Consultation
from tarjih.severity.annotator import ANNOTATOR_CLASSES, Work
from tarjih.severity.comparison import COMPARISON_FILE, Comparison, ComparisonSettings
from tarjih.severity.cross_fitted import CrossFittedSettings
from tarjih.severity.kinds import annotator_name, annotator_settings
from tarjih.severity.predictions import (
    HeldOut,
    LabelledRows,
    predict_held_out,
    read_held_out,
    write_held_out,
)
from tarjih.severity.summarise import ScoredRows, summarise

PLAN_FILE = "plan.json"
WORK_FOLDER = "work"
# Seeds, resamples and the table of under-triage may change: they redo nothing that took long.
_DECISIVE = ("folds", "near_duplicate_similarity", "seed", "nested")


AnnotatorsOfSeeds = Mapping[str, Sequence[CrossFittedSettings]]


def chosen_annotators(
    texts: Sequence[str], settings: ComparisonSettings
) -> dict[str, tuple[CrossFittedSettings, ...]]:
    """Annotators by name, each a kind or a YAML file of settings with a key `kind`.

    Folds, similarity and seed are those of the comparison, whatever a file says: only what was
    scored on the same folds can be compared.

    Args:
        texts: kinds or files; none means every kind.
        settings: of the comparison.

    Returns:
        For each annotator its settings for each seed. A file's annotator has the file's name.

    Raises:
        SettingsError: naming every fault of a file, or a name that is there twice.
        ModelError: when there is no annotator of a kind.
    """
    found: dict[str, tuple[CrossFittedSettings, ...]] = {}
    for text in texts or ANNOTATOR_CLASSES:
        name = annotator_name(text)
        if name in found:
            raise SettingsError(
                f"two annotators would be called {name!r}",
                remedy="name each kind once, and give each settings file a name of its own",
            )
        seeds = range(settings.seed, settings.seed + settings.seeds)
        found[name] = tuple(_annotator_settings(text, settings, seed) for seed in seeds)
    return found


def _annotator_settings(text: str, settings: ComparisonSettings, seed: int) -> CrossFittedSettings:
    similarity = settings.near_duplicate_similarity
    shared = {"folds": settings.folds, "near_duplicate_similarity": similarity, "seed": seed}
    return annotator_settings(text, [f"{name}={value}" for name, value in shared.items()])


def compare_annotators(
    consultations: Sequence[Consultation],
    annotators: AnnotatorsOfSeeds,
    settings: ComparisonSettings,
    out: Path,
    reporter: Reporter = SILENT,
) -> Comparison:
    """Score the labelled rows with each annotator, held out, and compare what comes of it.

    An annotator that an earlier start finished by the same plan is read, not fitted again.

    Args:
        consultations: with labels that people gave.
        annotators: from `chosen_annotators`; the others are compared with the first.
        settings: of the comparison.
        out: folder of `comparison.json` and of the probabilities.
        reporter: of stages and notes.

    Raises:
        DataError: when the rows cannot be learned from.
        FolderError: when the folder holds another comparison or something else.
    """
    rows = LabelledRows.of(consultations, settings.near_duplicate_similarity)
    rows.parts(settings.folds, settings.seed)  # too few rows are found before anything is written
    _claim_folder(rows, annotators, settings, out)
    bench = _Bench(rows, settings.nested, out, reporter)
    scored = []
    with reporter.stage("comparing annotators", len(annotators) * settings.seeds) as advance:
        for name, of_seeds in annotators.items():
            files = [_probabilities(name, one.seed) for one in of_seeds]
            held_out = []
            for file, chosen in zip(files, of_seeds, strict=True):
                held_out.append(bench.held_out(file, chosen))
                advance(1)
            scored.append(ScoredRows(name, of_seeds, held_out, [f.as_posix() for f in files]))
    _drop_finished_work(out, settings)
    reporter.note("resampling")
    comparison = summarise(rows, scored, settings)
    write_json(out / COMPARISON_FILE, comparison.model_dump(mode="json"))
    return comparison


def _claim_folder(
    rows: LabelledRows, annotators: AnnotatorsOfSeeds, settings: ComparisonSettings, out: Path
) -> None:
    plan: dict[str, Any] = {
        "data": rows.sha256,
        **{name: getattr(settings, name) for name in _DECISIVE},
        "annotators": {name: one[0].model_dump(mode="json") for name, one in annotators.items()},
    }
    file = out / PLAN_FILE
    if file.is_file():
        earlier = read_json(file)
        different = _differences(plan, earlier)
        if different:
            raise FolderError(
                f"this folder holds another comparison (different: {', '.join(different)})",
                file=out,
                remedy="choose another folder with --out, or remove this one",
            )
        plan["annotators"] = {**earlier["annotators"], **plan["annotators"]}
    elif not is_unclaimed(out, PLAN_FILE):
        raise FolderError(
            "this folder is not empty and holds no comparison",
            file=out,
            remedy="choose another folder with --out",
        )
    write_json(file, plan)


def _differences(plan: dict[str, Any], earlier: Any) -> list[str]:
    """What makes an earlier comparison another one; new annotators do not."""
    if not isinstance(earlier, dict) or not isinstance(earlier.get("annotators"), dict):
        return [PLAN_FILE]
    names = [name for name in ("data", *_DECISIVE) if earlier.get(name) != plan[name]]
    before = earlier["annotators"]
    return names + [
        f"annotator {name}"
        for name, settings in plan["annotators"].items()
        if name in before and before[name] != settings
    ]


def _drop_finished_work(out: Path, settings: ComparisonSettings) -> None:
    """Remove the parts of fits, unless an annotator of an earlier start is still unfinished."""
    names = read_json(out / PLAN_FILE)["annotators"]
    if all((out / _probabilities(name, settings.seed)).is_file() for name in names):
        shutil.rmtree(out / WORK_FOLDER, ignore_errors=True)


def _probabilities(name: str, seed: int) -> Path:
    return Path("probabilities") / f"{name}-seed-{seed}.parquet"


@dataclass(frozen=True, slots=True, eq=False)
class _Bench:
    """Where annotators are fitted, and where what they say is kept."""

    rows: LabelledRows
    nested: bool
    out: Path
    reporter: Reporter

    def held_out(self, file: Path, settings: CrossFittedSettings) -> HeldOut:
        """Read the probabilities, or make and keep them; `file` is relative to the folder."""
        place = self.out / file
        found = read_held_out(place, self.rows, settings, nested=self.nested)
        if found is not None:
            self.reporter.note(f"{file.stem}: taken from an earlier start")
            return found
        if place.is_file():
            self.reporter.note(f"{file.stem}: made by another version, so it is made again")
        # Shared: a member of an ensemble that is also compared by itself is fitted once.
        work = Work(self.out / WORK_FOLDER, self.reporter, shared=self.out / WORK_FOLDER)
        found = predict_held_out(self.rows, settings, nested=self.nested, work=work)
        write_held_out(place, found, self.rows, settings, nested=self.nested)
        return found

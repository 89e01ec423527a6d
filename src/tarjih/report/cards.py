"""The model card and the data card of a fitted annotator, beside its files.

They are for people, who have lines of them to fill in: the manifest does not list them, so that an
edited card does not count as a damaged annotator, and nothing reads them. They hold counts and
measures, never what a patient wrote, and no date: the same fit writes the same cards.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from tarjih.arabic.normalise import comparison_key
from tarjih.data.duplicates import Fingerprints, find_groups
from tarjih.data.sources import find_source, source_digest
from tarjih.files import write_text
from tarjih.records import SEVERITIES, Consultation
from tarjih.report.annotator import MEASURES, annotator_quality
from tarjih.report.names import severity_label, showable
from tarjih.report.tables import format_number
from tarjih.settings import describe_settings
from tarjih.severity.annotator import Annotator, Manifest, annotator_class, read_manifest
from tarjih.severity.answered import AnsweredComplaints
from tarjih.severity.folds import near_duplicate_groups
from tarjih.severity.measures import measures_of, row_statistics, severity_indices
from tarjih.severity.resampling import Estimate, bootstrap, group_totals
from tarjih.severity.stretches import Stretch, suspicious_stretches

MODEL_CARD = "README.md"
DATA_CARD = "DATA.md"
KINDS = {
    "lexicon": "a list of signs, negations and cues that people wrote; from the labels it learnt "
    "only how often what it finds has which label",
    "linear": "a linear model of the n-grams of the text",
    "encoder": "a pretrained encoder of text with a layer for the three severities",
    "ensemble": "several annotators, whose probabilities are combined",
}
"""What each kind is, in half a sentence."""
_SIMILARITY = 0.7  # of near-duplicates, for an annotator that says none
_RESAMPLES = 2000
_NOT_IN_TABLE = ("settings", "members", "rows", "rows_by_severity")  # elsewhere, or too long

_LETTER = re.compile(r"[^\W\d_]")
_ARABIC = re.compile("[\u0600-\u06ff\u0750-\u077f\u08a0-\u08ff\ufb50-\ufdff\ufe70-\ufefc]")
_LATIN = re.compile("[A-Za-z\u00c0-\u024f]")


@dataclass(frozen=True, slots=True)
class DataFacts:
    """What a data card says of n labelled complaints. Shares are from 0 to 1.

    Attributes:
        rows: n.
        rows_by_severity: name of a severity -> rows.
        words: of a complaint: 5th percentile, median, 95th percentile, most.
        letters: in all complaints.
        arabic, latin: shares of the letters.
        without_arabic: complaints without an Arabic letter.
        distinct: complaints that differ by more than spelling, blanks and punctuation.
        contradicting: of those, how many are there with several labels.
        similarity: from which complaints are near-duplicates.
        near_duplicates: rows that have a near-duplicate.
        stretches: parts of the data that seem to be labelled by another rule.
    """

    rows: int
    rows_by_severity: dict[str, int]
    words: tuple[int, int, int, int]
    letters: int
    arabic: float
    latin: float
    without_arabic: int
    distinct: int
    contradicting: int
    similarity: float
    near_duplicates: int
    stretches: tuple[Stretch, ...] = ()


def write_cards(
    annotator: Annotator[Any],
    folder: Path,
    labelled: Sequence[Consultation],
    *,
    source: str | Path,
    licence: str | None = None,
) -> tuple[Path, Path]:
    """Write `README.md` and `DATA.md` into the folder of an annotator that was just saved.

    Args:
        annotator: the annotator.
        folder: what its `save` wrote.
        labelled: the consultations that the annotator was fitted on, all of them, in their order.
        source: where they were read from; its name (without folders) and SHA-256 are told.
        licence: of the data; None leaves a line for the user to fill in.

    Raises:
        ModelError: when the folder is not an annotator.
        DataError: when the source is not there any more.
    """
    manifest = read_manifest(folder)
    similarity = float(manifest.settings.get("near_duplicate_similarity", _SIMILARITY))
    groups = near_duplicate_groups([comparison_key(one.complaint) for one in labelled], similarity)
    found = find_source(source)
    context = {
        "manifest": manifest,
        "kind_is": KINDS.get(manifest.kind, ""),
        "reads_responses": annotator.reads_responses,
        "settings": list(_settings(manifest)),
        "signature": [
            (key, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
            for key, value in _flat(manifest.signature)
            if key.split(".")[0] not in _NOT_IN_TABLE
        ],
        "quality": next(annotator_quality(_measures(manifest)), None),
        "intervals": dict(_shown_intervals(intervals_of(annotator, labelled, groups))),
        "facts": facts_of(labelled, similarity),
        "severity_label": severity_label,
        "source": found.name,
        "sha256": source_digest(found),
        "licence": licence,
        "data_card": DATA_CARD,
    }
    model, data = folder / MODEL_CARD, folder / DATA_CARD
    write_text(model, _render("model_card.md.j2", context))
    write_text(data, _render("data_card.md.j2", context))
    return model, data


def intervals_of(
    annotator: Annotator[Any], labelled: Sequence[Consultation], groups: Sequence[int]
) -> dict[str, Estimate]:
    """The measures of held-out probabilities, with 95 % intervals over groups of near-duplicates.

    Args:
        annotator: fitted on `labelled`, so that it gives them held-out probabilities.
        labelled: n >= 1 consultations with labels.
        groups: (n,) the group of near-duplicates of each.

    Returns:
        Name of a field of `SeverityMeasures` -> the estimate.
    """
    probabilities = annotator.score(AnsweredComplaints.of(labelled)).probabilities
    labels = [label for one in labelled if (label := one.labelled_severity) is not None]
    totals = group_totals(row_statistics(probabilities, severity_indices(labels)), groups)
    drawn = bootstrap(totals, measures_of, resamples=_RESAMPLES, seed=0)
    values = measures_of(totals.sum(axis=0))
    return {name: Estimate.of(float(values[name]), drawn[name]) for name in drawn}


def _shown_intervals(estimates: Mapping[str, Estimate]) -> Iterator[tuple[str, str]]:
    """(label of a measure, its interval)."""
    for name, one in estimates.items():
        shown = MEASURES.get(name)
        if shown is not None and one.low is not None and one.high is not None:
            low, high = (format_number(value, shown.decimals) for value in (one.low, one.high))
            yield shown.label, f"{low} to {high}"


def facts_of(labelled: Sequence[Consultation], similarity: float) -> DataFacts:
    """Count what a data card says.

    Args:
        labelled: n >= 1 consultations.
        similarity: Jaccard similarity from which complaints are near-duplicates.
    """
    texts = [consultation.complaint for consultation in labelled]
    given = [label for one in labelled if (label := one.labelled_severity) is not None]
    letters = ["".join(_LETTER.findall(text)) for text in texts]
    arabic = [len(_ARABIC.findall(text)) for text in letters]
    latin = sum(len(_LATIN.findall(text)) for text in letters)
    total = sum(map(len, letters))
    keys = [comparison_key(text) for text in texts]
    groups = np.unique(find_groups(Fingerprints.of(keys), similarity), return_counts=True)[1]
    labels: dict[str, set[str]] = {}
    for key, consultation in zip(keys, labelled, strict=True):
        labels.setdefault(key, set()).add(str(consultation.labelled_severity))
    return DataFacts(
        rows=len(texts),
        rows_by_severity={
            str(one): sum(consultation.labelled_severity is one for consultation in labelled)
            for one in SEVERITIES
        },
        words=_spread([len(text.split()) for text in texts]),
        letters=total,
        arabic=sum(arabic) / max(total, 1),
        latin=latin / max(total, 1),
        without_arabic=arabic.count(0),
        distinct=len(labels),
        contradicting=sum(len(several) > 1 for several in labels.values()),
        similarity=similarity,
        near_duplicates=int(groups[groups > 1].sum()),
        stretches=tuple(sorted(suspicious_stretches(given), key=lambda one: one.first_row)),
    )


def _spread(counts: Sequence[int]) -> tuple[int, int, int, int]:
    low, middle, high, most = np.percentile(counts, [5, 50, 95, 100])
    return round(low), round(middle), round(high), round(most)


def _measures(manifest: Manifest) -> Mapping[str, Any]:
    return {} if manifest.measures is None else manifest.measures.model_dump()


def _settings(manifest: Manifest) -> Iterator[tuple[str, str, str]]:
    """(key, value, meaning) of every setting."""
    kind = annotator_class(manifest.kind).settings_class
    meanings = {key: meaning for key, _, meaning in describe_settings(kind)}
    for key, value in _flat(manifest.settings):
        shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        yield key, shown, meanings.get(key, "")


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _render(template: str, context: Mapping[str, Any]) -> str:
    environment = Environment(  # noqa: S701 - Markdown, which `_as_markdown` escapes
        loader=PackageLoader("tarjih.report"),
        undefined=StrictUndefined,
        finalize=_as_markdown,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(context)


_ESCAPED = str.maketrans(
    {"<": "&lt;", ">": "&gt;", "|": "\\|", "*": "\\*", "[": "\\[", "]": "\\]", "`": "'"}
)


def _as_markdown(value: Any) -> Any:
    # A file's name or a licence is anybody's text: it must not become markup, nor a table's border.
    return (
        " ".join(showable(value).split()).translate(_ESCAPED) if isinstance(value, str) else value
    )

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import openpyxl
import pyarrow.parquet as pq
import pytest

import tarjih.severity.shards as shards_module
from tarjih.data.read import read_consultations
from tarjih.errors import DataError, FolderError, ModelError
from tarjih.records import (
    PROBABILITY_COLUMNS,
    SEVERITIES,
    Consultation,
    Severity,
    SeverityDistribution,
)
from tarjih.severity.annotate import (
    evaluate_file,
    fit_annotator,
    score_consultations,
    score_file,
)
from tarjih.severity.linear import LinearAnnotator, LinearSettings
from tarjih.severity.measures import measure

HEADER = ["Age", "Post", "Plan", "Severity", "Note"]
ARABIC_LABELS = {
    Severity.NON_CRITICAL: "\u063a\u064a\u0631 \u062d\u0631\u062c",  # ghayr harij: not critical
    Severity.NEUTRAL: "\u0645\u062a\u0648\u0633\u0637",  # mutawassit: moderate
    Severity.CRITICAL: "\u062d\u0631\u062c",  # harij: critical
}


@pytest.fixture(scope="module")
def folder(annotator: LinearAnnotator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("severity") / "annotator"
    annotator.save(path)
    return path


def table_of(labelled: list[Consultation]) -> list[list[str]]:
    rows = []
    for place, consultation in enumerate(labelled):
        assert consultation.labelled_severity is not None
        label = ARABIC_LABELS[consultation.labelled_severity]
        rows.append(
            [str(20 + place % 50), consultation.complaint, "راجع الطبيب", label, f"n{place}"]
        )
    return rows


def write_as(suffix: str, folder: Path, header: list[str], rows: list[list[str]]) -> Path:
    file = folder / f"posts{suffix}"
    if suffix in (".csv", ".tsv"):
        with file.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, delimiter="," if suffix == ".csv" else "\t")
            writer.writerows([header, *rows])
    elif suffix == ".jsonl":
        lines = [json.dumps(dict(zip(header, row, strict=True))) for row in rows]
        file.write_text("\n".join(lines), encoding="utf-8")
    elif suffix == ".xlsx":
        book = openpyxl.Workbook()
        assert book.active is not None
        for row in [header, *rows]:
            book.active.append(row)
        book.save(file)
    else:
        import pyarrow as pa

        columns = [list(column) for column in zip(*rows, strict=True)]
        pq.write_table(pa.table(dict(zip(header, columns, strict=True))), file)
    return file


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".xlsx", ".parquet"])
def test_every_row_and_column_stays_in_order(
    folder: Path, labelled: list[Consultation], tmp_path: Path, suffix: str
) -> None:
    rows = table_of(labelled)
    data = write_as(suffix, tmp_path, HEADER, rows)
    scored = score_file(folder, data, tmp_path / "scored.parquet")
    written = pq.read_table(scored.file)
    kept = ["Age", "Post", "Plan", "labelled_severity", "Note"]
    assert written.column_names == [*kept, "severity", *PROBABILITY_COLUMNS]
    assert [list(row) for row in zip(*written.select(kept).to_pydict().values(), strict=True)] == (
        rows
    )
    assert scored.rows == scored.out_of_fold_rows == len(rows)
    assert sum(scored.rows_by_severity.values()) == len(rows)


def test_the_probabilities_are_the_annotators(
    folder: Path, annotator: LinearAnnotator, complaints: list[str], tmp_path: Path
) -> None:
    texts = [*complaints[:5], "عندي نزيف و صداع"]
    data = write_as(".csv", tmp_path, ["complaint"], [[text] for text in texts])
    scored = score_file(folder, data, tmp_path / "scored.parquet")
    assert (scored.rows, scored.out_of_fold_rows) == (6, 5)
    written = pq.read_table(scored.file).to_pydict()
    expected = annotator.score(texts).probabilities
    found = np.asarray([written[name] for name in PROBABILITY_COLUMNS]).T
    assert found.tobytes() == np.ascontiguousarray(expected).tobytes()
    assert written["severity"] == [SEVERITIES[int(row.argmax())] for row in expected]


def test_what_was_written_can_be_read_again(
    folder: Path, annotator: LinearAnnotator, labelled: list[Consultation], tmp_path: Path
) -> None:
    data = write_as(".csv", tmp_path, HEADER, table_of(labelled))
    score_file(folder, data, tmp_path / "scored.parquet")
    again = read_consultations(
        tmp_path / "scored.parquet",
        require_response=True,
        require_severity=True,
        require_probabilities=True,
    )
    assert [c.complaint for c in again] == [c.complaint for c in labelled]
    assert [c.labelled_severity for c in again] == [c.labelled_severity for c in labelled]
    probabilities = [c.probabilities for c in score_consultations(annotator, labelled)]
    for read, made in zip(again, probabilities, strict=True):
        assert read.probabilities is not None
        assert made is not None
        assert read.probabilities.as_tuple() == pytest.approx(made.as_tuple(), abs=1e-12)


def test_scoring_twice_changes_nothing(
    folder: Path, labelled: list[Consultation], tmp_path: Path
) -> None:
    data = write_as(".csv", tmp_path, HEADER, table_of(labelled))
    first = score_file(folder, data, tmp_path / "first.parquet")
    second = score_file(folder, first.file, tmp_path / "second.parquet")
    tables = [pq.read_table(scored.file) for scored in (first, second)]
    assert tables[0].to_pydict() == tables[1].to_pydict()
    assert tables[0].column_names.count("labelled_severity") == 1


def test_earlier_estimates_are_replaced_not_taken_for_labels(
    folder: Path, complaints: list[str], tmp_path: Path
) -> None:
    header = ["Question", "Severity", *ARABIC_LABELS.values()]  # as MAQA's augmented form has it
    rows = [[text, "critical", "5", "5", "90"] for text in complaints[:9]]
    data = write_as(".csv", tmp_path, header, rows)
    score_file(folder, data, tmp_path / "scored.parquet")
    written = pq.read_table(tmp_path / "scored.parquet")
    assert written.column_names == ["Question", "severity", *PROBABILITY_COLUMNS]
    assert set(written["severity"].to_pylist()) != {"critical"}


def test_the_file_that_is_read_is_not_written_over(
    folder: Path, labelled: list[Consultation], tmp_path: Path
) -> None:
    data = write_as(".csv", tmp_path, HEADER, table_of(labelled))
    scored = score_file(folder, data, tmp_path / "scored.parquet")
    before = scored.file.read_bytes()
    with pytest.raises(FolderError, match="what the command reads") as error:
        score_file(folder, scored.file, scored.file)
    assert "--out" in error.value.remedy
    assert scored.file.read_bytes() == before


def test_the_result_does_not_depend_on_the_shards(
    folder: Path, labelled: list[Consultation], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_as(".csv", tmp_path, HEADER, table_of(labelled))
    whole = score_file(folder, data, tmp_path / "whole.parquet")
    monkeypatch.setattr(shards_module, "SHARD_ROWS", 7)
    parts = score_file(folder, data, tmp_path / "parts.parquet")
    assert pq.ParquetFile(parts.file).num_row_groups == -(-len(labelled) // 7)
    assert pq.read_table(whole.file).equals(pq.read_table(parts.file))
    assert whole.rows_by_severity == parts.rows_by_severity
    assert whole.out_of_fold_rows == parts.out_of_fold_rows == len(labelled)


def test_the_file_carries_the_annotators_signature(
    folder: Path, annotator: LinearAnnotator, complaints: list[str], tmp_path: Path
) -> None:
    data = write_as(".csv", tmp_path, ["complaint"], [[complaints[0]]])
    score_file(folder, data, tmp_path / "scored.parquet")
    metadata = pq.read_schema(tmp_path / "scored.parquet").metadata
    assert json.loads(metadata[b"tarjih.annotator"]) == annotator.signature()


@pytest.mark.parametrize("empty", ["", "  ", "\u200f", "nan"])
def test_a_row_without_a_complaint_is_named(
    folder: Path, complaints: list[str], tmp_path: Path, empty: str
) -> None:
    rows = [[complaints[0], "a"], [empty, "b"]]
    data = write_as(".csv", tmp_path, ["complaint", "note"], rows)
    with pytest.raises(DataError, match="row 2, column 'complaint': the row has no complaint") as e:
        score_file(folder, data, tmp_path / "scored.parquet")
    assert "tarjih prepare" in e.value.remedy
    assert sorted(path.name for path in tmp_path.iterdir()) == ["posts.csv"]  # nothing half-written


def test_a_damaged_row_is_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "posts.csv").write_text("complaint,note\nصداع,a\nسعال,b,c\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"row 2: the row has 3 fields"):
        score_file(folder, tmp_path / "posts.csv", tmp_path / "scored.parquet")


def test_a_failure_leaves_the_earlier_file(
    folder: Path, complaints: list[str], tmp_path: Path
) -> None:
    out = tmp_path / "scored.parquet"
    score_file(folder, write_as(".csv", tmp_path, ["complaint"], [[complaints[0]]]), out)
    before = out.read_bytes()
    data = write_as(".csv", tmp_path, ["complaint", "x"], [[complaints[0], "1"], ["", "2"]])
    with pytest.raises(DataError):
        score_file(folder, data, out)
    assert out.read_bytes() == before


def test_a_name_is_never_given_to_two_columns(
    folder: Path, complaints: list[str], tmp_path: Path
) -> None:
    data = write_as(
        ".csv", tmp_path, ["q", "level", "labelled_severity"], [[complaints[0], "", ""]]
    )
    told = {"complaint": "q", "labelled_severity": "level"}
    with pytest.raises(DataError, match="2 columns of the scored file would be called"):
        score_file(folder, data, tmp_path / "scored.parquet", columns=told)


def test_told_columns_are_used(folder: Path, complaints: list[str], tmp_path: Path) -> None:
    data = write_as(".csv", tmp_path, ["q", "level"], [[complaints[0], "critical"]])
    told = {"complaint": "q", "labelled_severity": "level"}
    score_file(folder, data, tmp_path / "scored.parquet", columns=told)
    names = pq.read_schema(tmp_path / "scored.parquet").names
    assert names == ["q", "labelled_severity", "severity", *PROBABILITY_COLUMNS]


def test_only_parquet_is_written(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"end the name in \.parquet"):
        score_file(folder, tmp_path / "posts.csv", tmp_path / "scored.csv")


def test_a_folder_that_is_no_annotator_is_a_model_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not an annotator"):
        score_file(tmp_path, tmp_path / "posts.csv", tmp_path / "scored.parquet")
    with pytest.raises(ModelError, match="not an annotator"):
        evaluate_file(tmp_path, tmp_path / "posts.csv")


def test_evaluating_the_rows_it_was_fitted_on_is_out_of_fold(
    folder: Path, annotator: LinearAnnotator, labelled: list[Consultation], tmp_path: Path
) -> None:
    data = write_as(".xlsx", tmp_path, HEADER, table_of(labelled))
    measures = evaluate_file(folder, data)
    assert measures == annotator.measures
    assert measures.out_of_fold_rows == len(labelled)


def test_evaluating_new_rows_is_plain_scoring(
    folder: Path, annotator: LinearAnnotator, tmp_path: Path
) -> None:
    texts = ["نزيف حاد", "قشرة شعر", "زكام"]
    labels = [Severity.CRITICAL, Severity.NON_CRITICAL, Severity.CRITICAL]
    rows = [list(pair) for pair in zip(texts, labels, strict=True)]
    measures = evaluate_file(folder, write_as(".tsv", tmp_path, ["post", "severity"], rows))
    assert measures == measure(annotator.score(texts, out_of_fold=False).probabilities, labels)


def test_fitting_goes_by_the_kind_in_the_settings(
    annotator: LinearAnnotator, labelled: list[Consultation]
) -> None:
    fitted = fit_annotator(labelled, LinearSettings())
    assert isinstance(fitted, LinearAnnotator)
    assert fitted.signature() == annotator.signature()


def test_a_row_without_a_label_cannot_be_fitted_on(labelled: list[Consultation]) -> None:
    bare = Consultation(id="x7", complaint="صداع", response="")
    with pytest.raises(DataError, match=r"row 151.*id 'x7' has no label"):
        fit_annotator([*labelled, bare], LinearSettings())


def test_scored_consultations_keep_everything_else(annotator: LinearAnnotator) -> None:
    before = Consultation(
        id="1",
        complaint="نزيف",
        response="إلى الطوارئ",
        specialty="s",
        dialect="d",
        labelled_severity=Severity.NEUTRAL,
        probabilities=SeverityDistribution(1, 0, 0),
    )
    (after,) = score_consultations(annotator, [before])
    assert after.probabilities != before.probabilities
    assert after.severity is Severity.NEUTRAL
    for name in ("id", "complaint", "response", "specialty", "dialect"):
        assert getattr(after, name) == getattr(before, name)
    assert score_consultations(annotator, []) == []

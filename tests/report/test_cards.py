from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import scipy.stats

from severity.conftest import make_labelled
from severity.encoder.conftest import save_encoder
from tarjih.data.read import read_consultations
from tarjih.errors import ModelError
from tarjih.files import sha256_of_file
from tarjih.records import SEVERITIES, Consultation
from tarjih.report.cards import (
    DATA_CARD,
    KINDS,
    MODEL_CARD,
    facts_of,
    intervals_of,
    write_cards,
)
from tarjih.severity.annotate import fit_annotator
from tarjih.severity.annotator import (
    ANNOTATOR_CLASSES,
    annotator_class,
    load_annotator,
    read_manifest,
)
from tarjih.severity.linear import LinearSettings

SOURCE = "po|sts <b>.jsonl"  # a name that is markup in Markdown


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, list[Consultation]]:
    """An annotator's folder, the file that it was fitted on, and the consultations in it."""
    from small_world import write_consultations

    folder = tmp_path_factory.mktemp("cards")
    file = write_consultations(folder / SOURCE, make_labelled(60))
    labelled = read_consultations(file)
    fit_annotator(labelled, LinearSettings(folds=2)).save(folder / "annotator")
    return folder / "annotator", file, labelled


def cards(fitted: tuple[Path, Path, list[Consultation]], **more: str | None) -> tuple[str, str]:
    folder, file, labelled = fitted
    model, data = write_cards(load_annotator(folder), folder, labelled, source=file, **more)
    assert (model, data) == (folder / MODEL_CARD, folder / DATA_CARD)
    return model.read_text(encoding="utf-8"), data.read_text(encoding="utf-8")


def row(card: str, name: str) -> list[str]:
    """The cells after the first of the table row that begins so."""
    (line,) = re.findall(rf"^\| {re.escape(name)} \|(.*)\|\s*$", card, re.MULTILINE)
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)]


def test_the_model_card_says_what_the_manifest_says(
    fitted: tuple[Path, Path, list[Consultation]],
) -> None:
    model, _ = cards(fitted)
    manifest = read_manifest(fitted[0])
    measures = manifest.measures
    assert measures is not None
    assert row(model, "Accuracy")[0] == f"{measures.accuracy:.3f}"
    assert row(model, "Expected calibration error")[0] == (
        f"{measures.expected_calibration_error:.3f}"
    )
    for severity, counts in zip(SEVERITIES, measures.confusion_matrix, strict=True):
        assert row(model, severity.replace("_", "-")) == [str(count) for count in counts]
    assert row(model, "`folds`")[:1] == ["2"]
    assert row(model, "`max_ngrams`")[:1] == ["null"]
    assert f"**{manifest.signature['calibrator']}**" in model
    assert "20 non-critical, 20 neutral, 20 critical" in model
    assert "of kind linear" in model
    assert row(model, "`rows_sha256`") == [manifest.signature["rows_sha256"]]
    assert row(model, "`scikit_learn`") == [manifest.signature["scikit_learn"]]
    assert "load_annotator" in model


def test_an_interval_is_that_of_resampled_rows(
    fitted: tuple[Path, Path, list[Consultation]],
) -> None:
    model, _ = cards(fitted)
    value, interval, _ = row(model, "Accuracy")
    low, high = (float(end) for end in interval.split(" to "))
    # No two of the rows are near-duplicates, so hits are drawn as a binomial.
    hits = round(float(value) * 60)
    expected = scipy.stats.binom.ppf([0.025, 0.975], 60, hits / 60) / 60
    assert (low, high) == pytest.approx(expected, abs=1.01 / 60)
    labelled = fitted[2]
    apart = intervals_of(load_annotator(fitted[0]), labelled, range(60))["accuracy"]
    # Pairs of rows as groups: half as many draws.
    together = [labelled[place // 2] for place in range(120)]
    pairs = intervals_of(load_annotator(fitted[0]), together, [place // 2 for place in range(120)])[
        "accuracy"
    ]
    assert pairs == apart
    assert row(model, "Labelled complaints")[:2] == ["60", ""]


@pytest.mark.parametrize("kind", list(ANNOTATOR_CLASSES))
def test_every_kind_has_its_cards(
    fitted: tuple[Path, Path, list[Consultation]], tmp_path: Path, kind: str
) -> None:
    _, file, labelled = fitted
    raw: dict[str, object] = {"folds": 2, "kind": kind}
    if kind == "encoder":
        raw |= {"model": str(save_encoder(tmp_path / "bert")), "epochs": 1, "device": "cpu"}
        raw |= {"max_tokens": 48, "precision": "float32"}
    annotator = fit_annotator(labelled, annotator_class(kind).settings_class.model_validate(raw))
    annotator.save(tmp_path / "annotator")
    model, data = write_cards(annotator, tmp_path / "annotator", labelled, source=file)
    told = model.read_text(encoding="utf-8")
    assert f"of kind {kind}\n" in told
    assert KINDS[kind] in told.replace("\n", " ")
    assert re.search(r"\d to \d", row(told, "Under-triage")[1])
    assert ("has what the scores of its members" in told) == (kind == "ensemble")
    assert row(data.read_text(encoding="utf-8"), "all") == ["60", "100.0 %"]
    assert load_annotator(tmp_path / "annotator").signature() == annotator.signature()


def test_an_annotator_that_reads_responses_says_so(
    fitted: tuple[Path, Path, list[Consultation]], tmp_path: Path
) -> None:
    _, file, labelled = fitted
    answered = [replace(one, response="راجع الطبيب") for one in labelled]
    annotator = fit_annotator(answered, LinearSettings(folds=2, responses="read"))
    annotator.save(tmp_path / "annotator")
    model, _ = write_cards(annotator, tmp_path / "annotator", answered, source=file)
    told = model.read_text(encoding="utf-8")
    assert "and the doctor's response to it" in told
    assert 'AnsweredComplaints(["a complaint"]' in told
    assert "response to it" not in "".join(cards(fitted))


def test_parts_of_another_rule_are_told(
    fitted: tuple[Path, Path, list[Consultation]], tmp_path: Path
) -> None:
    _, file, _ = fitted
    mixed, mild = make_labelled(300), SEVERITIES[0]
    rows = [*mixed, *(one for one in mixed if one.labelled_severity is not mild)]
    annotator = fit_annotator(rows, LinearSettings(folds=2))
    annotator.save(tmp_path / "annotator")
    model, data = write_cards(annotator, tmp_path / "annotator", rows, source=file)
    # Rows are dealt mild, neutral, critical in turn: the last two of them go on without mild.
    assert row(data.read_text(encoding="utf-8"), "299 to 500") == ["202", "non-critical"]
    assert "labelled by another rule" in model.read_text(encoding="utf-8")
    assert "another rule" not in "".join(cards(fitted))


def test_the_data_card_counts(fitted: tuple[Path, Path, list[Consultation]]) -> None:
    _, data = cards(fitted)
    assert row(data, "source") == ["po\\|sts &lt;b&gt;.jsonl"]
    assert row(data, "SHA-256") == [sha256_of_file(fitted[1])]
    assert row(data, "critical") == ["20", "33.3 %"]
    words = sorted(len(one.complaint.split()) for one in fitted[2])
    assert row(data, "words, most") == [str(words[-1])]
    assert row(data, "words, median") == [str(words[30])]
    assert row(data, "of them Arabic") == ["100.0 %"]


def test_no_complaint_is_in_a_card(fitted: tuple[Path, Path, list[Consultation]]) -> None:
    for card in cards(fitted, licence="CC BY 4.0"):
        assert not re.search("[\u0600-\u06ff]", card)


def test_a_licence_is_told_or_left_open(
    fitted: tuple[Path, Path, list[Consultation]],
) -> None:
    model, data = cards(fitted)
    assert "to be filled in" in row(data, "licence")[0]
    assert not re.search(r"\d{4}-\d\d", model + data)
    _, data = cards(fitted, licence="CC BY\n| 4.0")
    assert row(data, "licence") == ["CC BY \\| 4.0"]


def test_cards_may_be_edited_and_are_the_same_each_time(
    fitted: tuple[Path, Path, list[Consultation]],
) -> None:
    folder = fitted[0]
    first = cards(fitted)
    before = (folder / "annotator.json").read_bytes()
    (folder / DATA_CARD).write_text("mine", encoding="utf-8")
    (folder / MODEL_CARD).unlink()
    load_annotator(folder)
    assert cards(fitted) == first
    assert (folder / "annotator.json").read_bytes() == before


def test_a_folder_without_an_annotator_gets_no_card(
    fitted: tuple[Path, Path, list[Consultation]], tmp_path: Path
) -> None:
    annotator = load_annotator(fitted[0])
    with pytest.raises(ModelError):
        write_cards(annotator, tmp_path, fitted[2], source=fitted[1])
    assert not list(tmp_path.iterdir())


def test_facts_are_counted_by_hand() -> None:
    mild, _, critical = SEVERITIES
    long = "عندي صداع شديد ومستمر منذ أسبوعين ولا أستطيع النوم في الليل أبدا"
    texts = [
        ("عندي صداع", mild),
        ("عندي صُداع!", critical),  # the same, spelled otherwise
        ("ab cd صداع", mild),
        ("123 !", critical),
        (long, mild),
        (long + " يا دكتور", mild),
    ]
    facts = facts_of(
        [Consultation("", text, "", labelled_severity=one) for text, one in texts], 0.7
    )
    assert facts.rows_by_severity == {"non_critical": 4, "neutral": 0, "critical": 2}
    assert (facts.rows, facts.distinct, facts.contradicting) == (6, 5, 1)
    assert facts.near_duplicates == 4
    assert facts.without_arabic == 1
    # 8 + 8 + 4 letters, those of the long one twice, and those of its last two words.
    letters = 8 + 8 + 4 + 2 * len(long.replace(" ", "")) + len("يادكتور")
    assert facts.letters == letters + 4
    assert facts.arabic == pytest.approx(letters / (letters + 4))
    assert facts.latin == pytest.approx(4 / (letters + 4))
    assert facts.words[3] == len(long.split()) + 2

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from tarjih.errors import DataError, ModelError, SettingsError
from tarjih.records import SEVERITIES, Severity
from tarjih.settings import make_settings
from tarjih.severity.annotator import (
    BUILTIN_LEXICON,
    MANIFEST,
    annotator_class,
    load_annotator,
    write_manifest,
)
from tarjih.severity.calibration import Floats
from tarjih.severity.calibrators import fit_calibrator
from tarjih.severity.ensemble import EnsembleAnnotator, EnsembleScorer, EnsembleSettings
from tarjih.severity.folds import grouped_folds, near_duplicate_groups
from tarjih.severity.lexical import (
    ASSUMED,
    OUTCOMES,
    LexiconAnnotator,
    LexiconScorer,
    LexiconSettings,
    outcomes,
)
from tarjih.severity.lexicon.reading import bundled_lexicon

NOTHING, MILD, MIDDLE, SEVERE = range(4)
TEXTS = {
    "السلام عليكم دكتور": NOTHING,
    "أريد علاج حب الشباب": MILD,
    "عندي سعال منذ شهر": MIDDLE,
    "عندي ألم شديد في الصدر وضيق في التنفس": SEVERE,
    "ما عندي ألم في الصدر": NOTHING,
    "": NOTHING,
}


def make_labelled(rows: int = 120) -> tuple[list[str], list[Severity]]:
    """Complaints of the four findings, no two alike; every fourth label is another's."""
    said = list(TEXTS)[:4]
    complaints, labels = [], []
    for row in range(rows):
        finding = row % 4
        fitting = max(finding - 1, 0)
        other = fitting if row // 4 % 4 else (fitting + 1) % 3
        own = "".join(chr(0x4E00 + 16 * row + place) for place in range(16))  # Han characters
        complaints.append(f"{said[finding]} {own}")
        labels.append(SEVERITIES[other])
    return complaints, labels


COMPLAINTS, LABELS = make_labelled()


@pytest.fixture(scope="module")
def fitted() -> LexiconAnnotator:
    return LexiconAnnotator.fit(COMPLAINTS, LABELS, LexiconSettings())


def counted(rows: list[int]) -> Floats:
    """The table of some rows, counted by hand."""
    table = np.zeros((4, 3))
    for row in rows:
        table[row % 4][SEVERITIES.index(LABELS[row])] += 1
    table += 30.0 * ASSUMED
    return np.asarray(table / table.sum(axis=1, keepdims=True))


def test_what_is_found_decides_the_row_of_the_table() -> None:
    assert outcomes(list(TEXTS)).tolist() == list(TEXTS.values())
    for text, place in TEXTS.items():
        assert bundled_lexicon().read(text).severity is OUTCOMES[place]


def test_without_labels_the_assumed_probabilities_are_given() -> None:
    annotator = load_annotator(Path(BUILTIN_LEXICON))
    scored = annotator.score(list(TEXTS))
    np.testing.assert_allclose(scored.probabilities, ASSUMED[list(TEXTS.values())], rtol=1e-12)
    assert scored.out_of_fold_rows == 0
    assert annotator.measures is None
    assert annotator.signature()["rows"] == 0
    np.testing.assert_allclose(ASSUMED.sum(axis=1), 1)
    assert ASSUMED.argmax(axis=1).tolist() == [0, 0, 1, 2]


def test_the_one_without_labels_can_be_kept(tmp_path: Path) -> None:
    annotator = LexiconAnnotator.without_labels()
    annotator.save(tmp_path / "annotator")
    loaded = load_annotator(tmp_path / "annotator")
    assert isinstance(loaded, LexiconAnnotator)
    before, after = (one.score(list(TEXTS)).probabilities for one in (annotator, loaded))
    assert before.tobytes() == after.tobytes()
    assert loaded.signature() == annotator.signature()


def test_the_table_is_what_a_hand_counts(fitted: LexiconAnnotator) -> None:
    assert isinstance(fitted.scorer, LexiconScorer)
    table = counted(list(range(len(LABELS))))
    np.testing.assert_allclose(fitted.scorer.table, table, rtol=1e-12)
    expected = fitted.calibrator.apply(np.log(table[list(TEXTS.values())]))
    scored = fitted.score(list(TEXTS), out_of_fold=False)
    np.testing.assert_allclose(scored.probabilities, expected, rtol=1e-12)


def test_known_complaints_get_the_table_of_the_other_folds(fitted: LexiconAnnotator) -> None:
    groups = near_duplicate_groups(COMPLAINTS, 0.7)
    assert len(set(groups)) == len(COMPLAINTS)
    parts = grouped_folds(LABELS, groups, folds=5, seed=0)
    classes = np.asarray([SEVERITIES.index(label) for label in LABELS])
    logits = np.zeros((len(LABELS), 3))
    for rows, held_out in parts:
        logits[held_out] = np.log(counted([int(row) for row in rows]))[held_out % 4]
    expected = np.zeros_like(logits)
    for rows, held_out in parts:
        calibrator = fit_calibrator(fitted.calibrator.kind, logits[rows], classes[rows])
        expected[held_out] = calibrator.apply(logits[held_out])
    scored = fitted.score(COMPLAINTS)
    assert scored.out_of_fold_rows == len(COMPLAINTS)
    np.testing.assert_allclose(scored.probabilities, expected, rtol=1e-9)
    assert fitted.measures is not None
    assert fitted.measures.accuracy > 0.6


def test_a_saved_annotator_scores_bit_for_bit_the_same(
    fitted: LexiconAnnotator, tmp_path: Path
) -> None:
    fitted.save(tmp_path / "annotator")
    assert {file.name for file in (tmp_path / "annotator").iterdir()} == {
        MANIFEST,
        "calibration.safetensors",
        "table.safetensors",
    }
    loaded = load_annotator(tmp_path / "annotator")
    assert isinstance(loaded, LexiconAnnotator)
    for out_of_fold in (True, False):
        before = fitted.score([*TEXTS, *COMPLAINTS], out_of_fold=out_of_fold)
        after = loaded.score([*TEXTS, *COMPLAINTS], out_of_fold=out_of_fold)
        assert before.probabilities.tobytes() == after.probabilities.tobytes()
        assert before.out_of_fold == after.out_of_fold
    assert loaded.signature() == fitted.signature()
    assert loaded.measures == fitted.measures
    assert loaded.settings == fitted.settings


def test_fitting_is_deterministic(fitted: LexiconAnnotator, tmp_path: Path) -> None:
    fitted.save(tmp_path / "first")
    LexiconAnnotator.fit(COMPLAINTS, LABELS, LexiconSettings()).save(tmp_path / "second")
    for file in (tmp_path / "first").iterdir():
        assert file.read_bytes() == (tmp_path / "second" / file.name).read_bytes()


def test_the_signature_names_the_lexicon_the_rows_and_the_settings(
    fitted: LexiconAnnotator, monkeypatch: pytest.MonkeyPatch
) -> None:
    signature = fitted.signature()
    assert signature["annotator"] == "lexicon"
    assert signature["lexicon_sha256"] == bundled_lexicon().digest
    assert signature["rows"] == len(LABELS)
    assert signature["settings"]["assumed_rows"] == 30.0
    monkeypatch.setattr(bundled_lexicon(), "digest", "other")
    other = LexiconAnnotator.fit(COMPLAINTS, LABELS, LexiconSettings()).signature()
    assert {name for name in signature if signature[name] != other[name]} == {"lexicon_sha256"}


def test_more_assumed_rows_leave_the_table_nearer_to_what_is_assumed() -> None:
    def distance(rows: float) -> float:
        scorer = LexiconAnnotator.fit(COMPLAINTS, LABELS, LexiconSettings(assumed_rows=rows)).scorer
        assert isinstance(scorer, LexiconScorer)
        return float(np.abs(scorer.table - ASSUMED).sum())

    assert distance(0.01) > distance(30) > distance(10_000)
    with pytest.raises(SettingsError, match="assumed_rows"):
        make_settings(LexiconSettings, {"assumed_rows": 0})


def test_its_kind_is_known_and_it_can_be_a_member_of_an_ensemble(
    complaints: list[str], labels: list[Severity], tmp_path: Path
) -> None:
    assert annotator_class("lexicon") is LexiconAnnotator
    chosen = make_settings(EnsembleSettings, {"folds": 3})
    assert [member.kind for member in chosen.members] == ["lexicon", "linear"]
    together = EnsembleAnnotator.fit(complaints, labels, chosen)
    assert isinstance(together.scorer, EnsembleScorer)
    member = together.scorer.members[0]
    assert isinstance(member, LexiconAnnotator)
    alone = LexiconAnnotator.fit(complaints, labels, LexiconSettings(folds=3))
    texts = [*TEXTS, *complaints]
    together.save(tmp_path / "ensemble")
    for other in (alone, load_annotator(tmp_path / "ensemble" / "member-1")):
        before, after = (one.score(texts).probabilities for one in (member, other))
        assert before.tobytes() == after.tobytes()


@given(st.lists(st.text(max_size=100), max_size=4))
@settings(deadline=None)
def test_any_text_gets_a_distribution(texts: list[str]) -> None:
    scored = LexiconAnnotator.without_labels().score(texts)
    assert scored.probabilities.shape == (len(texts), 3)
    assert (scored.probabilities > 0).all()
    np.testing.assert_allclose(scored.probabilities.sum(axis=1), 1.0, rtol=1e-12)


def test_scores_do_not_depend_on_the_batch(fitted: LexiconAnnotator) -> None:
    together = fitted.score([*TEXTS, *COMPLAINTS[:5]]).probabilities
    alone = [fitted.score([text]).probabilities[0] for text in (*TEXTS, *COMPLAINTS[:5])]
    assert together.tobytes() == np.asarray(alone).tobytes()


def test_a_severity_without_labels_is_a_data_error() -> None:
    with pytest.raises(DataError, match="no labelled complaint is critical"):
        LexiconAnnotator.fit(COMPLAINTS, [SEVERITIES[0], SEVERITIES[1]] * 60, LexiconSettings())


@pytest.mark.parametrize("name", ["table.safetensors", "calibration.safetensors", MANIFEST])
@pytest.mark.parametrize("damage", ["truncated", "changed", "gone"])
def test_a_damaged_folder_is_a_model_error(
    fitted: LexiconAnnotator, tmp_path: Path, name: str, damage: str
) -> None:
    folder = tmp_path / "annotator"
    fitted.save(folder)
    content = bytearray((folder / name).read_bytes())
    if damage == "gone":
        (folder / name).unlink()
    elif damage == "truncated":
        (folder / name).write_bytes(content[: len(content) // 2])
    else:
        content[len(content) // 2] ^= 0xFF
        (folder / name).write_bytes(content)
    with pytest.raises(ModelError, match="What to do"):
        LexiconAnnotator.load(folder)


@pytest.mark.parametrize(
    ("table", "what"),
    [
        (ASSUMED[:3], r"float64 \(3, 3\)"),
        (ASSUMED.astype(np.float32), "float32"),
        (ASSUMED * 2, "no probabilities"),
        (np.where(ASSUMED < 0.1, 0.0, ASSUMED), "no probabilities"),
        (np.full_like(ASSUMED, np.nan), "no probabilities"),
    ],
)
def test_a_table_that_cannot_be_is_a_model_error(
    fitted: LexiconAnnotator, tmp_path: Path, table: Floats, what: str
) -> None:
    """Written by somebody who also sealed the folder anew."""
    folder = tmp_path / "annotator"
    fitted.save(folder)
    assert load_file(folder / "table.safetensors")["table"].shape == (4, 3)
    save_file({"table": np.ascontiguousarray(table)}, folder / "table.safetensors")
    (folder / MANIFEST).unlink()
    write_manifest(folder, settings=fitted.settings, signature=fitted.signature(), measures=None)
    with pytest.raises(ModelError, match=what):
        LexiconAnnotator.load(folder)

from __future__ import annotations

import csv
import json
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tarjih.data.prepare import load_split, prepare
from tarjih.data.split import SPLITS
from tarjih.data.summary import PrepareSettings
from tarjih.errors import DataError, FolderError
from tarjih.files import sha256_of_file
from tarjih.records import Severity

LABELS = ["critical", "neutral", "non_critical"]
HEADER = ["id", "complaint", "response", "specialty", "severity"]
PLAIN = PrepareSettings()
SYMPTOMS = [
    "headache", "cough", "fever", "rash", "nausea", "dizzy", "cramps", "itching", "insomnia",
    "swelling", "backache", "fatigue", "heartburn", "earache", "numbness", "bleeding",
]  # fmt: skip


def complaint(seed: int, words: int = 14) -> str:
    source = random.Random(seed)
    return " ".join(f"{source.choice(SYMPTOMS)}{source.randint(0, 999)}" for _ in range(words))


def rows(count: int, first: int = 0) -> list[list[str]]:
    return [
        [str(n), complaint(n), f"answer {n}", f"specialty {n % 2}", LABELS[n % 3]]
        for n in range(first, first + count)
    ]


def saved(path: Path, body: Sequence[Sequence[str]], header: Sequence[str] = HEADER) -> str:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(body)
    return str(path)


def rejects(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "rejects.jsonl").read_text().splitlines()]


def test_a_folder_is_prepared_and_counted(tmp_path: Path) -> None:
    source = saved(tmp_path / "x.csv", rows(60))
    seen: list[int] = []

    summary = prepare([source], tmp_path / "out", PLAIN, progress=seen.append)

    assert {name: part.rows for name, part in summary.splits.items()} == {
        "train": 48,
        "validation": 6,
        "test": 6,
    }
    assert summary.splits["test"].labelled_severity == dict.fromkeys(LABELS, 2)
    assert sum(summary.splits["train"].specialty.values()) == 48
    assert (summary.rows_read, summary.rows_kept, summary.rejected) == (60, 60, {})
    assert summary.sources[0].columns["complaint"] == "complaint"
    assert seen[-1] == 60
    assert {file.name for file in (tmp_path / "out").iterdir()} == {
        *(f"{split}.parquet" for split in SPLITS),
        "rejects.jsonl",
        "summary.json",
    }
    loaded = {split: load_split(tmp_path / "out", split) for split in SPLITS}
    everything = sorted(int(c.id) for part in loaded.values() for c in part)
    assert everything == list(range(60))
    one = loaded["test"][0]
    assert (one.complaint, one.response) == (complaint(int(one.id)), f"answer {one.id}")
    assert one.labelled_severity == Severity(LABELS[int(one.id) % 3])


def test_near_duplicates_never_straddle(tmp_path: Path) -> None:
    body = rows(40)
    for n in range(0, 40, 2):  # one changed word each
        changed = [*complaint(n).split()[:-1], "changed"]
        body.append([f"copy {n}", " ".join(changed), "another answer", "", ""])

    summary = prepare([saved(tmp_path / "x.csv", body)], tmp_path / "out", PLAIN)

    place = {c.id: split for split in SPLITS for c in load_split(tmp_path / "out", split)}
    assert all(place[f"copy {n}"] == place[str(n)] for n in range(0, 40, 2))
    assert set(place.values()) == set(SPLITS)
    assert (summary.groups, summary.near_duplicate_rows, summary.largest_group) == (40, 40, 2)


def test_the_split_depends_on_the_seed_and_not_on_the_order(tmp_path: Path) -> None:
    body = rows(50)
    sources = [saved(tmp_path / "x.csv", body), saved(tmp_path / "y.csv", body[::-1])]
    settings = [PLAIN, PLAIN, PrepareSettings(seed=1)]

    tests = []
    for n, (source, chosen) in enumerate(zip([*sources, sources[0]], settings, strict=True)):
        prepare([source], tmp_path / str(n), chosen)
        tests.append({c.id for c in load_split(tmp_path / str(n), "test")})

    assert tests[0] == tests[1]
    assert tests[0] != tests[2]


def test_the_same_work_gives_the_same_bytes(tmp_path: Path) -> None:
    source = saved(tmp_path / "x.csv", rows(30))

    one, other = (prepare([source], tmp_path / name, PLAIN) for name in ("one", "other"))

    assert one == other
    for name, digest in one.files.items():
        assert sha256_of_file(tmp_path / "other" / name) == digest


def test_rows_are_set_aside_with_a_reason_and_without_their_text(tmp_path: Path) -> None:
    body = rows(20)
    body += [
        ["a", "", "answer", "", ""],
        ["b", "secret complaint", "?!", "", ""],
        ["c", complaint(0).upper() + "!!", "Answer 0", "", ""],
        ["d", complaint(0), "answer 0", "", "neutral"],
        ["e", complaint(0), "a second answer", "", "neutral"],
    ]

    summary = prepare([saved(tmp_path / "x.csv", body)], tmp_path / "out", PLAIN)

    assert rejects(tmp_path / "out") == [
        {"file": "x.csv", "row": 21, "id": "a", "reason": "empty complaint"},
        {"file": "x.csv", "row": 22, "id": "b", "reason": "empty response"},
        {"file": "x.csv", "row": 23, "id": "c", "reason": "exact duplicate"},
        {
            "file": "x.csv",
            "row": 24,
            "id": "d",
            "reason": "exact duplicate with another severity label",
        },
    ]
    assert sum(summary.rejected.values()) == 4
    assert (summary.sources[0].rows, summary.sources[0].accepted) == (25, 21)


@pytest.mark.parametrize("reject", [False, True])
def test_bad_values_stop_the_work_or_are_set_aside(tmp_path: Path, reject: bool) -> None:
    body = rows(20)
    for n in range(7):
        body[n][4] = f"purple {n}"
    body.append(["short row"])
    source = saved(tmp_path / "x.csv", body)
    settings = PrepareSettings(reject_bad_values=reject)

    if reject:
        summary = prepare([source], tmp_path / "out", settings)
        assert summary.rejected == {"unknown severity": 7, "damaged row": 1}
        return
    with pytest.raises(DataError) as caught:
        prepare([source], tmp_path / "out", settings)
    message = str(caught.value)
    assert "8 rows have values that cannot be used; the first 5 are" in message
    assert "x.csv, row 1, column 'severity', value 'purple 0'" in message
    assert "purple 4" in message
    assert "purple 5" not in message
    assert "--reject-bad-values" in message
    assert list(tmp_path.iterdir()) == [Path(source)]


def test_told_labels_are_understood(tmp_path: Path) -> None:
    body = [[*row[:4], "red"] for row in rows(20)]
    settings = PrepareSettings(labels={"Red": Severity.CRITICAL})

    summary = prepare([saved(tmp_path / "x.csv", body)], tmp_path / "out", settings)

    assert summary.splits["test"].labelled_severity == {"critical": 2}


def test_estimated_severities_are_kept_apart_from_labels(tmp_path: Path) -> None:
    header = ["question", "answer", "severity", "p_non_critical", "p_neutral", "p_critical"]
    body = [[complaint(n), f"a{n}", "critical", "20", "30", "50"] for n in range(20)]

    summary = prepare([saved(tmp_path / "x.csv", body, header)], tmp_path / "out", PLAIN)

    assert summary.splits["test"].labelled_severity == {}
    assert summary.splits["test"].estimated_severity == {"critical": 2}
    assert summary.sources[0].probability_scale == 100.0
    (one, *_) = load_split(tmp_path / "out", "test")
    assert one.probabilities is not None
    assert one.probabilities.as_tuple() == pytest.approx((0.2, 0.3, 0.5))


def test_contacts_are_masked_unless_told_otherwise(tmp_path: Path) -> None:
    body = rows(20)
    body[3][2] = "call 0791234567"
    source = saved(tmp_path / "x.csv", body)

    def answers(name: str, mask: bool) -> set[str]:
        summary = prepare([source], tmp_path / name, PrepareSettings(mask_contacts=mask))
        assert summary.masked_rows == mask
        return {c.response for split in SPLITS for c in load_split(tmp_path / name, split)}

    assert "call [phone]" in answers("masked", True)
    assert "call 0791234567" in answers("open", False)


def test_several_sources_share_ids_and_told_columns(tmp_path: Path) -> None:
    others = [["0", *row[1:]] for row in rows(20, 100)]
    sources = [
        saved(tmp_path / "x.csv", rows(20)),
        saved(tmp_path / "y.csv", others, ["id", "text", "answer", "type", "severity"]),
    ]

    summary = prepare(sources, tmp_path / "out", PLAIN, columns={"complaint": "text"})

    assert summary.repeated_ids == 20
    assert [part.told for part in summary.sources] == [[], ["complaint"]]
    ids = [c.id for split in SPLITS for c in load_split(tmp_path / "out", split)]
    assert len(set(ids)) == 40
    assert {"0", "0#2", "0#21"} <= set(ids)
    table = pq.read_table(tmp_path / "out" / "train.parquet")
    assert set(table.column("source").to_pylist()) == {"x.csv", "y.csv"}
    with pytest.raises(DataError, match=r"(?s)none of the sources has this column.*absent"):
        prepare(
            sources, tmp_path / "new", PLAIN, columns={"complaint": "text", "dialect": "absent"}
        )


def test_files_of_one_name_in_two_folders_are_told_apart(tmp_path: Path) -> None:
    for n, folder in enumerate(["a", "b"]):
        (tmp_path / folder).mkdir()
        saved(tmp_path / folder / "x.csv", rows(10, 10 * n))
    sources = [str(tmp_path / folder / "x.csv") for folder in "ab"]

    summary = prepare(sources, tmp_path / "out", PLAIN)

    assert [(part.name, part.accepted) for part in summary.sources] == [(s, 10) for s in sources]


def test_max_rows_draws_at_random_by_seed(tmp_path: Path) -> None:
    source = saved(tmp_path / "x.csv", rows(60))

    def drawn(name: str, seed: int) -> set[str]:
        settings = PrepareSettings(max_rows=30, seed=seed)
        summary = prepare([source], tmp_path / name, settings)
        assert (summary.rows_kept, summary.rows_not_drawn) == (30, 30)
        found = [c for split in SPLITS for c in load_split(tmp_path / name, split)]
        assert all(c.complaint == complaint(int(c.id)) for c in found)
        return {c.id for c in found}

    assert len(drawn("a", 1)) == 30
    assert drawn("a", 1) == drawn("b", 1) != drawn("c", 2)


def test_rows_that_are_drawn_keep_their_own_near_duplicates(tmp_path: Path) -> None:
    body = [row for n in range(40) for row in (rows(1, n)[0], [f"{n}+", *rows(1, n)[0][1:]])]
    for row in body[1::2]:
        row[2] = "another answer"

    prepare([saved(tmp_path / "x.csv", body)], tmp_path / "out", PrepareSettings(max_rows=60))

    place = {c.id: split for split in SPLITS for c in load_split(tmp_path / "out", split)}
    pairs = [(str(n), f"{n}+") for n in range(40) if {str(n), f"{n}+"} <= set(place)]
    assert len(pairs) > 15
    assert all(place[one] == place[other] for one, other in pairs)


def test_a_folder_of_the_same_work_is_reused(tmp_path: Path) -> None:
    source = saved(tmp_path / "x.csv", rows(30))
    first = prepare([source], tmp_path / "out", PLAIN)
    changed = (tmp_path / "out" / "train.parquet").stat().st_mtime_ns

    second = prepare([source], tmp_path / "out", PLAIN)

    assert (first.reused, second.reused) == (False, True)
    assert second.data_hash == first.data_hash
    assert (tmp_path / "out" / "train.parquet").stat().st_mtime_ns == changed


@pytest.mark.parametrize("change", ["settings", "source", "damage"])
def test_a_folder_of_other_work_is_replaced_only_when_told(tmp_path: Path, change: str) -> None:
    source = saved(tmp_path / "x.csv", rows(30))
    out = tmp_path / "out"
    prepare([source], out, PLAIN)
    settings = PrepareSettings(seed=9) if change == "settings" else PLAIN
    if change == "source":
        saved(tmp_path / "x.csv", rows(40))
    if change == "damage":
        (out / "train.parquet").write_bytes(b"damaged")
    before = {file.name: file.read_bytes() for file in out.iterdir()}

    with pytest.raises(FolderError, match="--overwrite"):
        prepare([source], out, settings)
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before

    assert not prepare([source], out, settings, overwrite=True).reused
    assert sum(len(load_split(out, split)) for split in SPLITS) == (
        40 if change == "source" else 30
    )


@pytest.mark.parametrize("content", ["notes.txt", "summary.json"])
def test_a_folder_of_something_else_is_never_touched(tmp_path: Path, content: str) -> None:
    out = tmp_path / "out"
    out.mkdir()
    source = saved(tmp_path / "x.csv", rows(30))
    (out / content).write_text("{}")

    with pytest.raises(FolderError, match="nothing in it is touched"):
        prepare([source], out, PLAIN, overwrite=True)
    with pytest.raises(FolderError, match="nothing in it is touched"):
        prepare([source], out / content, PLAIN, overwrite=True)
    assert (out / content).read_text() == "{}"


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()

    assert prepare([saved(tmp_path / "x.csv", rows(20))], tmp_path / "out", PLAIN).rows_kept == 20


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            [["1", "", "a", "", ""], ["2", "", "b", "", ""]],
            r"none of the 2 rows.*2 empty complaint",
        ),
        (rows(2), "2 rows in 2 groups .* too few"),
    ],
)
def test_too_little_data_is_an_error(tmp_path: Path, body: list[list[str]], message: str) -> None:
    source = saved(tmp_path / "x.csv", body)

    with pytest.raises(DataError, match=message):
        prepare([source], tmp_path / "out", PLAIN)
    assert list(tmp_path.iterdir()) == [Path(source)]
    with pytest.raises(DataError, match="no source was named"):
        prepare([], tmp_path / "out", PLAIN)


def test_a_killed_run_leaves_the_previous_folder(tmp_path: Path) -> None:
    source = saved(tmp_path / "x.csv", rows(30))
    out = tmp_path / "out"
    first = prepare([source], out, PLAIN)
    script = (
        "import os, signal, sys; from pathlib import Path;"
        "from tarjih.data.prepare import prepare; from tarjih.data.summary import PrepareSettings;"
        "prepare([sys.argv[1]], Path(sys.argv[2]), PrepareSettings(seed=5), overwrite=True,"
        " progress=lambda _: os.kill(os.getpid(), signal.SIGKILL))"
    )

    ended = subprocess.run([sys.executable, "-c", script, source, str(out)], check=False)

    assert ended.returncode == -signal.SIGKILL
    assert prepare([source], out, PLAIN).reused
    assert first.data_hash == prepare([source], tmp_path / "again", PLAIN).data_hash


def test_load_split_takes_files_and_names_what_is_missing(tmp_path: Path) -> None:
    source = saved(tmp_path / "x.csv", rows(20))
    prepare([source], tmp_path / "out", PLAIN)

    assert len(load_split(source, "test")) == 20
    assert len(load_split(tmp_path / "out" / "test.parquet", "train")) == 2
    with pytest.raises(DataError, match="no split 'dev'"):
        load_split(tmp_path / "out", "dev")
    (tmp_path / "out" / "test.parquet").unlink()
    with pytest.raises(DataError, match="lacks this split"):
        load_split(tmp_path / "out", "test")


SHARED = Path(__file__).parents[3] / "shared" / "data"


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared development data is not here")
def test_the_shared_files_are_recognised_and_do_not_leak(tmp_path: Path) -> None:
    files = sorted(str(file) for file in SHARED.iterdir() if file.suffix in (".csv", ".xlsx"))

    summary = prepare(files, tmp_path / "out", PLAIN)

    assert summary.rows_read == 8651
    assert summary.rows_kept > 8600
    # An independent measure: sets of three words, as written.
    triples: dict[tuple[str, ...], list[int]] = {}
    places: list[tuple[str, int]] = []
    for split in SPLITS:
        for consultation in load_split(tmp_path / "out", split):
            words = consultation.complaint.split()
            found = set(zip(words, words[1:], words[2:], strict=False))
            for triple in found:
                triples.setdefault(triple, []).append(len(places))
            places.append((split, len(found)))
    shared = Counter(
        pair for held in triples.values() if len(held) < 50 for pair in combinations(held, 2)
    )
    similar = [
        places[one][0] == places[other][0]
        for (one, other), both in shared.items()
        if both / (places[one][1] + places[other][1] - both) > 0.5
    ]
    assert len(similar) > 20
    assert all(similar)

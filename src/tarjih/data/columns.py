"""Which column of a file holds what: found by name, or told."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tarjih.arabic.normalise import comparison_key
from tarjih.errors import DataError
from tarjih.records import PROBABILITY_COLUMNS

# Our name -> the names that others use, the surest first. Names are compared folded: case, blanks,
# underscores, hyphens and Arabic diacritics make no difference.
ALIASES: dict[str, tuple[str, ...]] = {
    "id": ("id", "row id", "example id", "question id"),
    "complaint": (
        "complaint",
        "q_body",
        "question",
        "question body",
        "post",
        "patient question",
        "patient",
        "query",
        "\u0627\u0644\u0634\u0643\u0648\u0649",  # al-shakwa: the complaint
        "\u0634\u0643\u0648\u0649",  # shakwa: complaint
        "\u0627\u0644\u0633\u0624\u0627\u0644",  # al-su'al: the question
        "\u0633\u0624\u0627\u0644",  # su'al: question
        "prompt",
        "instruction",
        "input",
    ),
    "response": (
        "response",
        "a_body",
        "answer",
        "answer body",
        "plan",
        "doctor answer",
        "doctor response",
        "doctor",
        "reply",
        "\u0627\u0644\u062c\u0648\u0627\u0628",  # al-jawab: the answer
        "\u062c\u0648\u0627\u0628",  # jawab: answer
        "\u0627\u0644\u0625\u062c\u0627\u0628\u0629",  # al-ijaba: the response
        "\u0625\u062c\u0627\u0628\u0629",  # ijaba: response
        "\u0627\u0644\u0631\u062f",  # al-radd: the reply
        "\u0631\u062f",  # radd: reply
        "completion",
        "output",
    ),
    "specialty": (
        "specialty",
        "speciality",
        "category",
        "type",
        "department",
        "\u0627\u0644\u062a\u062e\u0635\u0635",  # al-takhassus: the specialty
        "\u062a\u062e\u0635\u0635",  # takhassus: specialty
        "\u0627\u0644\u0642\u0633\u0645",  # al-qism: the department
    ),
    "dialect": (
        "dialect",
        "\u0627\u0644\u0644\u0647\u062c\u0629",  # al-lahja: the dialect
        "\u0644\u0647\u062c\u0629",  # lahja: dialect
    ),
    "severity": (
        "severity",
        "severity label",
        "severity level",
        "\u0627\u0644\u062e\u0637\u0648\u0631\u0629",  # al-khutura: the danger
        "\u062e\u0637\u0648\u0631\u0629",  # khutura: danger
        "\u0627\u0644\u0634\u062f\u0629",  # al-shidda: the severity
    ),
    "labelled_severity": ("labelled_severity", "labeled_severity", "human severity"),
    "p_non_critical": (
        "p_non_critical",
        "non_critical",
        "not critical",
        "prob non critical",
        "\u063a\u064a\u0631 \u062d\u0631\u062c",  # ghayr harij: not critical
    ),
    "p_neutral": (
        "p_neutral",
        "neutral",
        "prob neutral",
        "\u0645\u062a\u0648\u0633\u0637",  # mutawassit: moderate
    ),
    "p_critical": (
        "p_critical",
        "critical",
        "prob critical",
        "\u062d\u0631\u062c",  # harij: critical
    ),
}


def fold_name(name: str) -> str:
    """A column's name or a label without case, blanks, punctuation and Arabic spelling variants."""
    return comparison_key(name).replace(" ", "")


@dataclass(frozen=True, slots=True)
class ColumnMap:
    """Where a file keeps what we read.

    Attributes:
        names: our name -> the file's column name.
        told: those of our names that the user mapped; the others were found by name.
    """

    names: Mapping[str, str]
    told: frozenset[str] = field(default_factory=frozenset)

    @property
    def has_probabilities(self) -> bool:
        """Whether the file holds the three probabilities."""
        return PROBABILITY_COLUMNS[0] in self.names

    @property
    def label_column(self) -> str | None:
        """The column with a person's label.

        A column `severity` beside probabilities was derived from them, so it is nobody's label.
        """
        if "labelled_severity" in self.names:
            return self.names["labelled_severity"]
        return None if self.has_probabilities else self.names.get("severity")


def find_columns(
    columns: Sequence[str],
    *,
    told: Mapping[str, str] | None = None,
    file: str = "",
    require_response: bool = True,
    told_for_several: bool = False,
) -> ColumnMap:
    """Find our columns among those of a file.

    Args:
        columns: the file's column names, in order.
        told: our name -> the file's name; these win, the rest is found by name.
        file: the file's name, for errors.
        require_response: whether a file without responses is an error.
        told_for_several: the told names are for several files, so that this one may lack some.

    Raises:
        DataError: when a needed column is missing, a name fits two columns, a told name does not
            exist, or only some of the three probabilities are there.
    """
    told = {
        ours: theirs
        for ours, theirs in (told or {}).items()
        if theirs in columns or not told_for_several
    }
    names = _told_names(columns, told, file)
    used = set(names.values())
    free = [column for column in columns if column not in used]
    for ours, aliases in ALIASES.items():
        if ours not in names and (found := _find(ours, aliases, free, file)) is not None:
            names[ours] = found
    _check_needed(names, columns, file, require_response)
    _check_probabilities(names, columns, file)
    ordered = {ours: names[ours] for ours in ALIASES if ours in names}
    return ColumnMap(ordered, frozenset(told))


def _told_names(columns: Sequence[str], told: Mapping[str, str], file: str) -> dict[str, str]:
    for ours, theirs in told.items():
        if ours not in ALIASES:
            near = difflib.get_close_matches(ours, ALIASES, n=1, cutoff=0.4)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise DataError(
                f"{ours!r} is not one of the columns that can be named{hint}",
                file=file,
                remedy=f"use one of {', '.join(ALIASES)}",
            )
        if theirs not in columns:
            raise DataError(
                f"there is no such column; the file has {_listed(columns)}",
                file=file,
                column=theirs,
                remedy=f"name one of these columns as {ours}",
            )
        if columns.count(theirs) > 1:
            raise DataError(
                "the file has this column more than once",
                file=file,
                column=theirs,
                remedy="rename or remove the one that is not meant",
            )
    return dict(told)


def _find(ours: str, aliases: Iterable[str], free: Sequence[str], file: str) -> str | None:
    folded: dict[str, list[str]] = {}
    for column in free:
        folded.setdefault(fold_name(column), []).append(column)
    for alias in aliases:
        fits = folded.get(fold_name(alias), [])
        if len(fits) > 1:
            raise DataError(
                f"two columns may be the {ours}: {_listed(fits)}",
                file=file,
                remedy=f"say which one: --column {ours}=NAME",
            )
        if fits:
            return fits[0]
    return None


def _check_needed(
    names: Mapping[str, str], columns: Sequence[str], file: str, require_response: bool
) -> None:
    needed = ("complaint", "response") if require_response else ("complaint",)
    missing = [ours for ours in needed if ours not in names]
    if missing:
        raise DataError(
            f"found no column for the {' and the '.join(missing)}; the file has {_listed(columns)}",
            file=file,
            remedy="name it: " + " ".join(f"--column {ours}=NAME" for ours in missing),
        )


def _check_probabilities(names: Mapping[str, str], columns: Sequence[str], file: str) -> None:
    found = [ours for ours in PROBABILITY_COLUMNS if ours in names]
    if found and len(found) < len(PROBABILITY_COLUMNS):
        missing = [ours for ours in PROBABILITY_COLUMNS if ours not in names]
        raise DataError(
            f"found {_listed([names[ours] for ours in found])} for {', '.join(found)}, but nothing "
            f"for {', '.join(missing)}; the file has {_listed(columns)}",
            file=file,
            remedy="name the others ("
            + " ".join(f"--column {ours}=NAME" for ours in missing)
            + ") or rename the column that is no probability",
        )


def _listed(columns: Sequence[str]) -> str:
    shown = ", ".join(repr(column) for column in columns[:30])
    return shown + (f" and {len(columns) - 30} more" if len(columns) > 30 else "") or "no columns"

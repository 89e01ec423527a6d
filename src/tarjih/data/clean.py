"""Cleaning of rows: normal text, masked contact details, and reasons to set a row aside."""

from __future__ import annotations

import re
from dataclasses import replace
from enum import StrEnum

from tarjih.arabic.normalise import clean_text
from tarjih.data.read import Row

EMAIL_MASK = "[email]"
PHONE_MASK = "[phone]"


class RejectReason(StrEnum):
    """Why a row is set aside."""

    EMPTY_COMPLAINT = "empty complaint"
    EMPTY_RESPONSE = "empty response"
    DUPLICATE = "exact duplicate"
    DUPLICATE_OTHER_LABEL = "exact duplicate with another severity label"
    DAMAGED_ROW = "damaged row"
    UNKNOWN_SEVERITY = "unknown severity"
    INVALID_PROBABILITIES = "invalid probabilities"


_EMAIL = re.compile(r"[\w.+-]+\s?@\s?[\w-]+(?:\s?\.\s?[a-zA-Z]{2,})+|[\w.+-]+@[\w-]+(?:\.[\w-]+)+")

# Medical text is full of numbers, so a number counts as a telephone only by its form. In a regular
# expression \d is a digit of any script. `_START` and `_END` keep out parts of longer numbers,
# decimals, dates and fractions (120/80).
_START = r"(?<![\d.,:/\u066b\u066c])"
_END = r"(?![.,/\u066b\u066c]?\d)"
_GAP = r"[ \u00a0-]"
_DATE = r"\d{4}-\d\d?-\d\d?(?!\d)"
_ZERO = r"[0\u0660\u06f0]"
_MOBILE = r"[057\u0660\u0665\u0667\u06f0\u06f5\u06f7]"
# Country codes of the Arab states, written without a plus sign: 20, 212 to 218, 249, 96x and 97x.
_COUNTRY = (
    r"(?:20|21[2368]|249|96[1-8]|97[0-4]"
    r"|[\u0662\u06f2][\u0660\u06f0]"
    r"|[\u0669\u06f9][\u0666\u0667\u06f6\u06f7][\u0660-\u0668\u06f0-\u06f8])"
)
_PHONES = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        # +962 79 123 4567, 00962-79-1234567, +20 (10) 1234-5678
        rf"(?:\+|{_START}{_ZERO}{{2}} ?)\d(?:[ \u00a0().-]{{0,2}}\d){{7,14}}{_END}",
        # 966 55 123 4567, 20 100 1234567
        rf"{_START}{_COUNTRY}{_GAP}\d{{2,3}}{_GAP}(?:\d{{3,4}}{_GAP}?\d{{4}}|\d{{6}})\+?{_END}",
        # 079 123 4567, 010-1234-5678, 05 5512 3456
        rf"{_START}{_ZERO}\d{{1,4}}(?:{_GAP}\d{{3,4}})?{_GAP}\d{{4,8}}{_END}",
        # 0791 234 567
        rf"{_START}{_ZERO}\d{{3}}(?:{_GAP}\d{{3}}){{2}}{_END}",
        # 06 12 34 56 78, as in the Maghreb
        rf"{_START}{_ZERO}\d(?:{_GAP}\d{{2}}){{4}}{_END}",
        # 0791234567, 551234567 (Gulf mobiles start with 5, Levantine with 7), and any other run of
        # ten digits or more, but no round number
        rf"{_START}(?!\d{{1,6}}{_ZERO}{{6,}}(?!\d))(?:\d{{10,15}}|{_MOBILE}\d{{8}})\+?{_END}",
        # shorter ones, after a word that says so
        r"(?:\b(?:phone|mobile|tel|whats\s?app)"
        r"|\u0647\u0627\u062a\u0641"  # hatif: telephone
        r"|\u062a\u0644\u064a?\u0641\u0648\u0646"  # telifon
        r"|\u062c\u0648\u0627\u0644"  # jawwal: mobile
        r"|\u0645\u0648\u0628\u0627\u064a\u0644"  # mobail
        r"|\u0648\u0627\u062a\u0633(?:\s?\u0627?\u0628)?"  # wats, watsab
        rf")[^\W\d_]{{0,3}}[\s:.#=]{{0,4}}(?!{_DATE})(?P<number>\d(?:{_GAP}?\d){{6,14}}){_END}",
    )
)
_FEWEST_DIGITS = 9
_FEWEST_AFTER_WORD = 7
_HAS_WORD = re.compile(r"[^\W_]")


def mask_contacts(text: str) -> str:
    """Replace e-mail addresses by ``[email]`` and telephone numbers by ``[phone]``.

    Numbers count as telephones by their form: an international prefix, a leading zero with groups,
    a run of ten digits or more, or seven or more after a word such as "phone". Doses, laboratory
    values, dates, ages and blood pressures do not have these forms. Applying it twice changes
    nothing more.
    """
    if "@" in text:
        text = _EMAIL.sub(EMAIL_MASK, text)
    for pattern in _PHONES:
        text = pattern.sub(_masked, text)
    return text


def _masked(match: re.Match[str]) -> str:
    number = match.groupdict().get("number")
    digits = sum(character.isdigit() for character in number or match[0])
    if digits < (_FEWEST_DIGITS if number is None else _FEWEST_AFTER_WORD):
        return match[0]
    return match[0].removesuffix(number or match[0]) + PHONE_MASK


def clean_row(row: Row, *, mask: bool = True) -> Row:
    """Clean the texts of a row and, unless told not to, mask contact details in them."""
    return replace(
        row,
        complaint=_clean(row.complaint, mask),
        response=_clean(row.response, mask),
        specialty=_clean(row.specialty or "", mask) or None,
        dialect=_clean(row.dialect or "", mask) or None,
    )


def _clean(text: str, mask: bool) -> str:
    cleaned = clean_text(text)
    return mask_contacts(cleaned) if mask and _may_hold_contact(cleaned) else cleaned


_DIGIT_OR_AT = re.compile(r"\d\D{0,3}\d\D{0,3}\d|@")


def _may_hold_contact(text: str) -> bool:
    # Most texts hold no number at all; this spares them the patterns.
    return _DIGIT_OR_AT.search(text) is not None


def reject_reason(row: Row) -> RejectReason | None:
    """Why a cleaned row cannot be used by itself, or None.

    A text without a single letter or digit is empty. Duplicates are found by `prepare`, which sees
    all rows.
    """
    if row.faults:
        return RejectReason(row.faults[0].kind.value)
    if not _HAS_WORD.search(row.complaint):
        return RejectReason.EMPTY_COMPLAINT
    if not _HAS_WORD.search(row.response):
        return RejectReason.EMPTY_RESPONSE
    return None

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tarjih.data.clean import (
    EMAIL_MASK,
    PHONE_MASK,
    RejectReason,
    clean_row,
    mask_contacts,
    reject_reason,
)
from tarjih.data.read import Fault, FaultKind, Row

# Made-up numbers in the forms that people write.
PHONES = [
    "+962 79 123 4567",
    "+1-202-555-0147",
    "+20 (10) 1234-5678",
    "00962791234567",
    "00 962 79 1234567",
    "966 55 123 4567",
    "20 100 123 4567",
    "962791234567+",
    "0791234567",
    "551234567",
    "079 123 4567",
    "0791 234 567",
    "010-1234-5678",
    "05 5512 3456",
    "06 12 34 56 78",
    "\u0660\u0667\u0669\u0661\u0662\u0663\u0664\u0665\u0666\u0667",
    "\u0660\u0661\u0660 \u0661\u0662\u0663\u0664 \u0665\u0666\u0667\u0668",
    "\u0669\u0666\u0666 \u0665\u0665 \u0661\u0662\u0663 \u0664\u0665\u0666\u0667",
    "\u06f0\u06f5\u06f5\u06f1\u06f2\u06f3\u06f4\u06f5\u06f6\u06f7",
]
AFTER_A_WORD = [
    "tel. 4412345",
    "Phone: 5551 2345",
    "WhatsApp 55512345",
    "\u0647\u0627\u062a\u0641: 5551 2345",
    "\u0648\u0627\u062a\u0633\u0627\u0628 55512345",
    "\u062c\u0648\u0627\u0644\u064a \u0665\u0665\u0665\u0661\u0662\u0663\u0664\u0665",
]
MEDICINE = [
    "120/80",
    "130/85 110/70",
    "500 mg 1000 mg",
    "\u0665\u0660\u0660 \u0645\u0644\u063a \u0643\u0644 \u0668 \u0633\u0627\u0639\u0627\u062a",
    "37.5",
    "0.123456789",
    "3.14159265358",
    "0.5 - 1.25",
    "4,500,000",
    "1.000.000",
    "150000",
    "15000000",
    "100000000",
    "5000000000",
    "HCG 12345.67",
    "48225 60190",
    "12/05/2020",
    "\u0662\u0660\u0662\u0660/\u0660\u0665/\u0661\u0662",
    "12-05-2020",
    "2020-05-12 10:30",
    "01-05-2020 10:30",
    "01 02 2024",
    "05 2021 06 2021",
    "2019-2020",
    "tel 2020-05-12",
    "8 9 10 11 12 1",
    "891011121",
    "10-20-30-40",
    "210 220 180 200",
    "20 250 400",
    "20 1000 1000",
    "961 1000 2000",
    "020 100 200",
    "010 2020",
    "+5 +10",
]


@pytest.mark.parametrize("phone", PHONES)
def test_telephone_numbers_are_masked(phone: str) -> None:
    assert mask_contacts(f"call {phone}, thanks") == f"call {PHONE_MASK}, thanks"
    assert mask_contacts(phone) == PHONE_MASK


@pytest.mark.parametrize("text", AFTER_A_WORD)
def test_shorter_numbers_are_masked_after_a_word_that_says_so(text: str) -> None:
    masked = mask_contacts(text)

    assert masked.endswith(PHONE_MASK)
    assert not any(character.isdigit() for character in masked)


@pytest.mark.parametrize("text", MEDICINE)
def test_the_numbers_of_medicine_stay(text: str) -> None:
    for around in ("{}", "result {} today", "({})."):
        assert mask_contacts(around.format(text)) == around.format(text)


@pytest.mark.parametrize(
    "address", ["a.b@mail.com", "name_1+x@sub.example.co.uk", "a @ b.com", "a@b-c.org"]
)
def test_addresses_are_masked(address: str) -> None:
    assert mask_contacts(f"write to {address}.") == f"write to {EMAIL_MASK}."


@pytest.mark.parametrize("text", ["@", "5 @ 3", "see @ noon", "a@b"])
def test_a_sign_alone_is_no_address(text: str) -> None:
    assert mask_contacts(text) == text


@settings(deadline=None)
@given(st.text(st.sampled_from("0123456789+-/. ()@a\u0660\u0665:")))
def test_masking_is_idempotent(text: str) -> None:
    once = mask_contacts(text)

    assert mask_contacts(once) == once


def row(complaint: str = "q", response: str = "a", **more: object) -> Row:
    return Row("x.csv", 1, "1", complaint, response, **more)  # type: ignore[arg-type]


def test_rows_are_cleaned_and_masked() -> None:
    dirty = row(" my  number\u200b 0791234567", "a@b.com", specialty=" \u200b ", dialect=" x ")

    clean = clean_row(dirty)

    assert (clean.complaint, clean.response) == (f"my number {PHONE_MASK}", EMAIL_MASK)
    assert (clean.specialty, clean.dialect) == (None, "x")
    assert clean_row(dirty, mask=False).complaint == "my number 0791234567"


@pytest.mark.parametrize(
    ("rejected", "reason"),
    [
        (row(), None),
        (row(complaint=""), RejectReason.EMPTY_COMPLAINT),
        (row(complaint="?!"), RejectReason.EMPTY_COMPLAINT),
        (row(response="..."), RejectReason.EMPTY_RESPONSE),
        (
            row(complaint="", faults=(Fault(FaultKind.UNKNOWN_SEVERITY, "x"),)),
            RejectReason.UNKNOWN_SEVERITY,
        ),
    ],
)
def test_reasons_to_set_a_row_aside(rejected: Row, reason: RejectReason | None) -> None:
    assert reject_reason(rejected) == reason


def test_every_fault_has_a_reason() -> None:
    for kind in FaultKind:
        assert reject_reason(row(faults=(Fault(kind, "x"),))) == RejectReason(kind.value)

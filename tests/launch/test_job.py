"""What is known of a job that has ended."""

from __future__ import annotations

import pytest

from repro.launch.job import outcome


def test_a_command_that_did_its_work_has_a_document_and_no_reason():
    ended = outcome(0, '[{"status": "done"}]', "12:00:00 wrote table1.md")
    assert ended.document() == [{"status": "done"}]
    assert ended.reason == ""


def test_the_reason_is_the_error_message_of_the_command_with_its_mend_and_nothing_else():
    err = "training\nrepro: error: no such GPU: cuda:3\n  expected: a CUDA device\n  fix:      repro doctor\nleft over"
    assert outcome(5, "", err).reason == "no such GPU: cuda:3\n  expected: a CUDA device\n  fix:      repro doctor"


@pytest.mark.parametrize(("code", "words"), [(-9, "SIGKILL; out of memory?"), (-11, "SIGSEGV")])
def test_a_process_that_was_killed_is_named_by_its_signal(code, words):
    assert outcome(code, "", "loading\n").reason == f"ended by {words}"


def test_a_crash_shows_the_last_lines():
    assert "ZeroDivisionError" in outcome(1, "", "Traceback\n" * 30 + "ZeroDivisionError: division by zero\n").reason


def test_what_is_no_document_is_none():
    assert outcome(0, "not json", "").document() is None

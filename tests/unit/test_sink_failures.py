"""What an error of the database means."""

from __future__ import annotations

import logging

import psycopg2
import pytest
from psycopg2 import errors

from intentloop_sink.failures import Failure, classify, describe

CODES = {
    Failure.PASSING: ["40001", "40P01", "23503", "25006", "55P03", "57014"],
    Failure.DATA: ["22003", "22021", "22P05", "23502", "23514", "54000"],
    Failure.AWAY: ["08006", "08P01", "53100", "53300", "57P01", "57P03", "42P01", "XX000", "P0001"],
}
UNFORESEEN = {"42P01", "XX000", "P0001"}


def error(code: str | None) -> psycopg2.Error:
    class Raised(psycopg2.Error):
        pgcode = code

    return Raised("it failed\nLINE 1: ...")


@pytest.mark.parametrize(("failure", "code"), [(f, c) for f, codes in CODES.items() for c in codes])
def test_sqlstates(failure: Failure, code: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        assert classify(error(code)) is failure
    assert (code in caplog.text) == (code in UNFORESEEN)


def test_a_lost_connection_has_no_sqlstate() -> None:
    assert classify(psycopg2.OperationalError("server closed the connection")) is Failure.AWAY


def test_descriptions_are_one_line() -> None:
    assert describe(error("22003")) == "it failed (SQLSTATE 22003)"
    assert describe(psycopg2.OperationalError("no\nanswer")) == "no answer"
    assert describe(errors.AdminShutdown()) == "AdminShutdown"

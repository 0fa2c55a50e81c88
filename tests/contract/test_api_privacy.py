"""What the API keeps of a sender: in the store, and in files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from intentloop_schemas import PiiMode
from intentloop_schemas.pii_settings import PiiSettings
from support.api import configuration, running_api

NUMBER = "+919876543210"
EVENT = {
    "phoneNumber": NUMBER,
    "messageText": f"call me at {NUMBER}",
    "intent": "call_back",
    "confidence": 0.9,
    "timestamp": 1_698_345_600_000,
}


@pytest.mark.parametrize("mode", [PiiMode.MASK, PiiMode.HMAC])
def test_no_number_reaches_a_file_of_the_api(tmp_path: Path, mode: PiiMode) -> None:
    configured = replace(configuration(None, tmp_path), pii=PiiSettings(mode=mode, key="secret"))
    with running_api(configured) as api:
        answer = api.log(EVENT)
        again = api.log(EVENT)
    assert answer.status_code == again.status_code == 200

    kept = "".join(p.read_text() for p in tmp_path.rglob("*") if p.is_file())
    assert "call me at" in kept
    assert NUMBER not in kept
    assert NUMBER.removeprefix("+") not in kept

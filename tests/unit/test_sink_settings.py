"""DATABASE_URL."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from intentloop_sink import DatabaseSettings


@pytest.mark.parametrize("scheme", ["postgres", "postgresql"])
def test_both_spellings(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"{scheme}://bot:secret@db:5432/loop"
    monkeypatch.setenv("DATABASE_URL", url)
    settings = DatabaseSettings()
    assert settings.required_url() == url
    assert "secret" not in repr(settings)


@pytest.mark.parametrize("value", [None, ""])
def test_without_it_the_error_names_the_variable(
    value: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    if value is not None:
        monkeypatch.setenv("DATABASE_URL", value)
    with pytest.raises(ValueError, match="DATABASE_URL is not set"):
        DatabaseSettings().required_url()


def test_another_database_is_refused_without_telling_the_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DATABASE_URL", "mysql://bot:secret@db/loop")
    with pytest.raises(ValidationError, match="postgresql://user:password@host") as raised:
        DatabaseSettings()
    assert "secret" not in str(raised.value)

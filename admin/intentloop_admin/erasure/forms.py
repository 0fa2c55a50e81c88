"""A person's sender, in every form in which it may be stored."""

from __future__ import annotations

from collections.abc import Iterable

from intentloop_schemas.pii import PiiMode, PiiRule
from intentloop_schemas.pii_settings import PiiSettings


def stored_forms(senders: Iterable[str], pii: PiiSettings) -> frozenset[str]:
    """Return senders as given, and their pseudonyms if there is a key, whatever the mode now.

    Not their masks: one mask is many people's. Whoever means all of them gives the mask itself.
    """
    given = frozenset(senders)
    if pii.key is None:
        return given
    rule = PiiRule(PiiMode.HMAC, pii.key.get_secret_value().encode())
    return given | {rule.pseudonym(sender) for sender in given}

"""What keeps the review queue going in the background; safe in several processes."""

from __future__ import annotations

import asyncio
import time

import structlog

from intentloop_admin.problems import ProblemError
from intentloop_admin.stores import Stores
from intentloop_sink.review import DrawAudit, TendQueue

_IDLE_SECONDS = 1.0
"""How long a newly flagged message may wait for its card when little is to do."""
_REST = 3
"""How many times as long as it worked it rests: what comes in goes before."""
_TROUBLE_SECONDS = 5.0
_AUDIT_SECONDS = 600.0

log = structlog.get_logger(__name__)


async def tend_queue(stores: Stores) -> None:
    """Make cards of what is flagged, and settle what is decided, until cancelled."""
    while True:
        began = time.monotonic()
        try:
            tended = await stores.apply(TendQueue())
        except ProblemError:
            # The store says that the database is away, and waits for it.
            await asyncio.sleep(_TROUBLE_SECONDS)
        except Exception as error:  # noqa: BLE001 - ingestion goes on; what was taken comes again
            log.error("review_queue_not_tended", error=type(error).__name__)  # noqa: TRY400 - its words may hold what a customer wrote
            await asyncio.sleep(_TROUBLE_SECONDS)
        else:
            rest = _REST * (time.monotonic() - began)
            await asyncio.sleep(rest if tended.more else max(rest, _IDLE_SECONDS))


async def draw_audits(stores: Stores) -> None:
    """Draw the sample of each day after it has ended, until cancelled."""
    while True:
        try:
            drawn = await stores.apply(DrawAudit())
        except ProblemError:
            await asyncio.sleep(_TROUBLE_SECONDS)
        except Exception as error:  # noqa: BLE001 - the day is drawn at the next try
            log.error("audit_not_drawn", error=type(error).__name__)  # noqa: TRY400 - its words may hold what a customer wrote
            await asyncio.sleep(_AUDIT_SECONDS)
        else:
            if drawn:
                log.info("audit_drawn", messages=drawn)
            await asyncio.sleep(_AUDIT_SECONDS)

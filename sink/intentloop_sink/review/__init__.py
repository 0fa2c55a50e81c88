"""The review queue: cards made of flagged examples, decisions about them, and the daily audit."""

from intentloop_sink.catalogue.examples import REJECTED, SIMULATED
from intentloop_sink.review.audit import Audited, Audits, DrawAudit, DrawShare
from intentloop_sink.review.cards import Queue, State, Verdict, normalise
from intentloop_sink.review.decisions import Decide, Decided, Decisions, UndoDecision
from intentloop_sink.review.queue import Card, CardView, ReviewQueue, SkipCard, TakeCard
from intentloop_sink.review.settling import SIMULATION
from intentloop_sink.review.tending import Tended, TendQueue

__all__ = [
    "REJECTED",
    "SIMULATED",
    "SIMULATION",
    "Audited",
    "Audits",
    "Card",
    "CardView",
    "Decide",
    "Decided",
    "Decisions",
    "DrawAudit",
    "DrawShare",
    "Queue",
    "ReviewQueue",
    "SkipCard",
    "State",
    "TakeCard",
    "TendQueue",
    "Tended",
    "UndoDecision",
    "Verdict",
    "normalise",
]

"""The contract between the parts: events, identities, the review rule, privacy, statistics, topics.

Every other package imports this one; it imports none of them.
"""

from intentloop_schemas.batch import Batch, ClosedBy, Entry, Record, Source, TopicPartition
from intentloop_schemas.dead_letter import DeadLetter, DeadLetterReason
from intentloop_schemas.event import Alternative, Event, explain
from intentloop_schemas.fields import AlternativeFields, EventFields
from intentloop_schemas.identity import event_identity, example_id
from intentloop_schemas.logger_report import LoggerReport
from intentloop_schemas.pii import PiiMode, PiiRule
from intentloop_schemas.review import ReviewReason, ReviewRule
from intentloop_schemas.statistics import WindowKey, WindowStatistics, fold_windows
from intentloop_schemas.topics import CONVERSATIONS_TOPIC, LOGGERS_TOPIC, dead_letter_topic

__all__ = [
    "CONVERSATIONS_TOPIC",
    "LOGGERS_TOPIC",
    "Alternative",
    "AlternativeFields",
    "Batch",
    "ClosedBy",
    "DeadLetter",
    "DeadLetterReason",
    "Entry",
    "Event",
    "EventFields",
    "LoggerReport",
    "PiiMode",
    "PiiRule",
    "Record",
    "ReviewReason",
    "ReviewRule",
    "Source",
    "TopicPartition",
    "WindowKey",
    "WindowStatistics",
    "dead_letter_topic",
    "event_identity",
    "example_id",
    "explain",
    "fold_windows",
]

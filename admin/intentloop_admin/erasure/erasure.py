"""Every place in turn: first the database, which from then on takes nothing of the sender."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from confluent_kafka import KafkaException

from intentloop_admin.erasure.journals import erase_journals
from intentloop_admin.erasure.report import ErasureReport, Place
from intentloop_schemas.kafka import KafkaSettings
from intentloop_sink.privacy import erase_examples, find_examples
from intentloop_sink.spool import erase_spools
from intentloop_stream.copies import copies
from intentloop_stream.letter_erasure import erase_letters, find_letters
from intentloop_stream.quarantine import QUARANTINE, Quarantine

_ELSEWHERE = (
    "Exports, backups and trained models are not looked at: make them anew (docs/privacy.md)."
)


@dataclass(frozen=True)
class Whereabouts:
    """Where words of senders may be, as far as this machine reaches."""

    database_url: str
    fallback: Path
    """FALLBACK_DIR: the spools, and the quarantine."""
    journals: Path | None
    """The loggers' journals; None when they are elsewhere."""
    kafka: KafkaSettings
    topic: str


def erase(where: Whereabouts, senders: Collection[str], *, dry_run: bool = False) -> ErasureReport:
    """Erase senders, given as they are stored, and tell of every place. Blocks.

    A dry run only looks. What fails in one place keeps no other from being dealt with. Running it
    again is safe.

    Raises DatabaseUnavailableError when the database does not answer; then nothing is erased
    anywhere, because it would come back.
    """
    return _Erasure(where, frozenset(senders), dry_run).run()


@dataclass(frozen=True)
class _Erasure:
    where: Whereabouts
    senders: Collection[str]
    dry_run: bool

    def run(self) -> ErasureReport:
        if self.dry_run:
            examples: Mapping[str, int] = find_examples(self.where.database_url, self.senders)
            erased_at = None
        else:
            erased = erase_examples(self.where.database_url, self.senders)
            examples, erased_at = erased.examples, erased.at
        database = self._place("database", sum(examples.values()), _counts(examples))
        places = (database, *self._elsewhere())
        return ErasureReport(places, tuple(self._remains()), erased_at)

    def _elsewhere(self) -> Iterator[Place]:
        yield from self._guarded("spools", self._spools)
        yield from self._guarded("journals", self._journals)
        quarantine = Quarantine(self.where.fallback / QUARANTINE)
        files: set[str] = set()
        yield from self._guarded("dead letters", partial(self._letters, quarantine, files))
        yield from self._guarded("quarantine", partial(self._quarantine, quarantine, files))

    def _spools(self) -> Iterator[Place]:
        spools = list(erase_spools(self.where.fallback, self.senders, dry_run=self.dry_run))
        held = sum(spool.events for spool in spools if spool.is_held)
        note = "held by live writers, refused when they come to the store" if held else ""
        yield self._place("spools", sum(spool.events for spool in spools), note, left=held)

    def _journals(self) -> Iterator[Place]:
        if self.where.journals is None:
            yield Place("journals", note="not looked at: they are where the bots are")
            return
        if not self.where.journals.is_dir():
            yield Place("journals", note="none on this machine")
            return
        journals = erase_journals(self.where.journals, self.senders, dry_run=self.dry_run)
        left = 0 if self.dry_run else journals.found - journals.erased
        note = "held by running bots, refused when they come to the store" if left else ""
        yield self._place("journals", journals.found, note, left=left)

    def _letters(self, quarantine: Quarantine, files: set[str]) -> Iterator[Place]:
        """Deal with dead letters; `files` gets the names of those in the quarantine."""
        files |= set(quarantine.find(self.senders))
        kafka, topic = self.where.kafka, self.where.topic
        if kafka.bootstrap_servers is None:
            yield Place("dead letters", note="KAFKA_BOOTSTRAP_SERVERS is not set: nobody looked")
            return
        letters = find_letters(kafka, topic, self.senders, files)
        if letters.count and not self.dry_run:
            erase_letters(kafka, topic, self.senders, files)
        files |= letters.quarantined
        yield self._place("dead letters", letters.count)

    def _quarantine(self, quarantine: Quarantine, files: set[str]) -> Iterator[Place]:
        """Deal with the files of letters that were too large, as far as they are here."""
        here = [name for name in files if (quarantine.folder / name).exists()]
        if not self.dry_run:
            for name in here:
                quarantine.remove(name)
        yield self._place("quarantine", len(here))

    def _remains(self) -> Iterator[str]:
        if self.where.kafka.bootstrap_servers is not None:
            yield _kafka_copies(self.where)
        yield _ELSEWHERE

    def _place(self, name: str, found: int, note: str = "", *, left: int = 0) -> Place:
        return Place(name, found, 0 if self.dry_run else found - left, note)

    def _guarded(self, name: str, look: Callable[[], Iterator[Place]]) -> Iterator[Place]:
        try:
            yield from look()
        except OSError as error:
            yield Place(name, note=str(error), failed=True)
        except KafkaException as error:
            yield Place(name, note=f"Kafka did not do it: {error.args[0].str()}", failed=True)


def _kafka_copies(where: Whereabouts) -> str:
    try:
        expiry = copies(where.kafka, where.topic).expire(datetime.now(UTC))
    except KafkaException as error:
        return f"Kafka does not say how long it keeps {where.topic}: {error.args[0].str()}."
    if expiry is None:
        return f"Kafka keeps its copies in {where.topic} for ever: give the topic a retention.ms."
    return f"Kafka's own copies in {where.topic} are gone by {expiry:%Y-%m-%d %H:%M} UTC."


def _counts(examples: Mapping[str, int]) -> str:
    return ", ".join(f"{dataset_id} {count}" for dataset_id, count in examples.items())

"""A database that dies, stalls, refuses or leaves an answer unsaid."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator

import pytest

from intentloop_devstack import PostgresServer
from support import tables
from support.harm import die, freeze, restart
from support.proxy import Proxy
from support.scene import SUPERVISED, Scene, database_away, end_sessions

pytestmark = pytest.mark.fault
HALF_OPEN_SECONDS = 15.0
"""How long the fault lasts; nothing is waited for."""

SLOW_COMMIT = """
CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN PERFORM pg_sleep(2); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER slow_commit AFTER UPDATE ON ingest_offset
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION dawdle();
"""
COMMITTING = """
SELECT 1 FROM pg_stat_activity
WHERE application_name LIKE 'intentloop-%%' AND wait_event = 'PgSleep'
"""


@pytest.fixture
def postgres_server(own_postgres: PostgresServer) -> PostgresServer:
    return own_postgres


@pytest.mark.parametrize(
    "harm",
    [
        die,
        pytest.param(restart, marks=pytest.mark.slow_fault),
        pytest.param(freeze, marks=pytest.mark.slow_fault),
    ],
)
def test_database_harmed(
    scene: Scene, own_postgres: PostgresServer, harm: Callable[[PostgresServer], None]
) -> None:
    scene.start_worker()
    scene.traffic()
    scene.flows()

    harm(own_postgres)

    scene.recovers()
    scene.ends_well()


def test_database_stopped_in_the_middle_of_a_commit(
    scene: Scene, own_postgres: PostgresServer
) -> None:
    scene.start_worker()
    scene.traffic()
    scene.flows()

    tables.query(scene.url, SLOW_COMMIT)
    scene.eventually(lambda: tables.query(scene.url, COMMITTING), 10, "a commit is under way")
    assert own_postgres.pid
    os.kill(own_postgres.pid, signal.SIGQUIT)
    own_postgres.restart()
    tables.query(scene.url, "DROP TRIGGER slow_commit ON ingest_offset")

    scene.recovers()
    scene.ends_well()


@pytest.mark.slow_fault
def test_worker_killed_while_the_database_commits(
    scene: Scene, own_postgres: PostgresServer
) -> None:
    """The database finishes what a dead worker asked for; nobody hears of it."""
    worker = scene.start_worker(**SUPERVISED)
    scene.traffic()
    scene.flows()

    tables.query(scene.url, SLOW_COMMIT)
    scene.eventually(lambda: tables.query(scene.url, COMMITTING), 10, "a commit is under way")
    worker.kill()
    scene.start_worker(**SUPERVISED)
    tables.query(scene.url, "DROP TRIGGER slow_commit ON ingest_offset")

    scene.recovers()
    scene.ends_well()


@pytest.mark.slow_fault
def test_database_read_only(scene: Scene) -> None:
    server, name = scene.url.rsplit("/", 1)
    scene.start_worker()
    scene.traffic()
    scene.flows()

    setting = f"ALTER DATABASE {name} SET default_transaction_read_only"
    tables.query(f"{server}/postgres", f"{setting} = on")
    end_sessions(scene.url)
    scene.starts_spooling()
    tables.query(f"{server}/postgres", f"{setting} = off")
    end_sessions(scene.url)

    scene.recovers()
    scene.ends_well()


@pytest.fixture
def road(database_url: str, worker_environment: dict[str, str]) -> Iterator[Proxy]:
    """The only road between workers and the database."""
    proxy = Proxy(database_url)
    worker_environment["DATABASE_URL"] = proxy.url
    yield proxy
    proxy.stop()


def test_the_reply_to_commit_is_lost(road: Proxy, scene: Scene) -> None:
    scene.start_worker()
    scene.traffic()
    for _ in range(3):
        scene.flows()
        road.lost.clear()
        road.lose_answer_to(b"COMMIT")
        assert road.lost.wait(10), "no answer to a COMMIT was lost"

    scene.recovers()
    scene.ends_well()


def test_network_cut_between_worker_and_database(road: Proxy, scene: Scene) -> None:
    scene.start_worker()
    scene.traffic()
    scene.flows()

    road.close_road()
    scene.starts_spooling()
    road.open_road()

    scene.recovers()
    scene.ends_well()


@pytest.mark.slow_fault
def test_half_open_connection_to_the_database(road: Proxy, scene: Scene) -> None:
    """What is sent is swallowed, and every connection looks open."""
    worker = scene.start_worker()
    scene.traffic()
    scene.flows()

    road.swallow()
    scene.lasts(HALF_OPEN_SECONDS)
    road.open_road()

    scene.recovers()
    scene.ends_well()
    assert worker.process.poll() is None


@pytest.mark.slow_fault
def test_partitions_move_while_the_database_is_away_for_longer_than_faust_waits(
    scene: Scene,
) -> None:
    leaves = scene.start_worker()
    scene.begins(leaves)
    stays = scene.start_worker()
    scene.begins(stays)
    scene.traffic()
    scene.flows()

    with database_away(scene.url):
        scene.starts_spooling()
        assert leaves.stop() == 0
        scene.lasts(10)

    scene.eventually(lambda: not any(scene.segments()), 90, "all that waited is stored")
    scene.flows()
    scene.ends_well()

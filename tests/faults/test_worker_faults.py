"""Workers that die or freeze at the worst moments."""

from __future__ import annotations

import pytest

from support.scene import Scene

pytestmark = pytest.mark.fault
SUPERVISED = {"INTENTLOOP_INSTANCE_ID": "supervised"}
"""A supervisor starts it again under the same name, so that nobody waits for the dead one."""


@pytest.mark.parametrize(
    "moment",
    [
        "store.before_copy",
        "store.after_copy",
        "store.before_commit",
        "store.after_commit",
        "ack.before",
    ],
)
def test_worker_killed_in_its_transaction(scene: Scene, moment: str) -> None:
    worker = scene.start_worker(**SUPERVISED, INTENTLOOP_FAILPOINT=f"{moment}:5")
    scene.traffic()
    scene.ended(worker)

    scene.start_worker(**SUPERVISED)

    scene.recovers()
    scene.ends_well()

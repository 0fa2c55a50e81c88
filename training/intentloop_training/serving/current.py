"""The model that answers now: swapped for a promoted one without anybody waiting."""

from __future__ import annotations

import logging
from threading import Event, Thread

from intentloop_training.model import IntentModel, ModelUnreadableError
from intentloop_training.registry import ModelRegistry, NoModelError

_WARM_UP = "warm up"
_log = logging.getLogger("intentloop.nlu")


class CurrentModel:
    """Follows a registry. A request keeps the model it began with; the next one gets the new one.

    Between `start` and `stop` a thread looks every `seconds` whether another model is current. One
    that cannot be read is reported, and the one before it goes on answering.
    """

    def __init__(self, registry: ModelRegistry, seconds: float) -> None:
        self._registry = registry
        self._seconds = seconds
        self._stop = Event()
        self._thread = Thread(target=self._follow, name="reload", daemon=True)
        self._refused: str | None = None
        self.model: IntentModel | None = None

    def start(self) -> None:
        """Load what is current and follow it. Blocks while the first model is read."""
        self.refresh()
        self._thread.start()

    def stop(self) -> None:
        """Stop following."""
        self._stop.set()
        self._thread.join()

    def refresh(self) -> None:
        """Load what is current, unless it is loaded. Blocks; meanwhile the old model answers."""
        version = self._registry.promotions().current
        if version is None or version == self._refused:
            return
        if self.model is not None and self.model.version == version:
            return
        try:
            model = self._registry.load(version)
            # The first answer pays for what is loaded late.
            model.parse([_WARM_UP])
        except (ModelUnreadableError, NoModelError) as error:
            self._refused = version
            _log.error("%s is current and cannot be used: %s", version, error)
            return
        self.model, self._refused = model, None
        _log.info("%s answers", version)

    def _follow(self) -> None:
        while not self._stop.wait(self._seconds):
            try:
                self.refresh()
            except Exception:  # noqa: BLE001 - the model that is loaded goes on
                _log.exception("looking for a new model failed")

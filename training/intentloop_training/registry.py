"""Models on disk: a folder for each version, and a file that says which one is current.

    <folder>/<dataset>/<version>/model.skops, model.json, card.json, card.html
    <folder>/<dataset>/current.json

A version appears whole or not at all, and so does a change of what is current.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from pydantic import Field

from intentloop_sink.spool.durable import make_folder, sync_folder, write_file
from intentloop_training.model import IntentModel
from intentloop_training.report import Report

_CURRENT, _LOCK, _UNFINISHED = "current.json", "lock", ".unfinished-"


class NoModelError(Exception):
    """There is no such model, or none that could be current."""


class OvertakenError(Exception):
    """What is current has changed since a model was compared with it."""


class Promotions(Report):
    """Which versions are, were, and are no longer to be current."""

    promoted: list[str] = Field(default_factory=list)
    """The last one is current; a rollback takes it away."""
    rolled_back: list[str] = Field(default_factory=list)

    @property
    def current(self) -> str | None:
        """The version that answers."""
        return self.promoted[-1] if self.promoted else None

    def promote(self, version: str) -> Promotions:
        """Return the promotions with a version on top; promoting the current one changes nothing.

        A version that was rolled back may be promoted again, by a person.
        """
        if version == self.current:
            return self
        rolled_back = [other for other in self.rolled_back if other != version]
        return Promotions(promoted=[*self.promoted, version], rolled_back=rolled_back)

    def roll_back(self) -> Promotions:
        """Return the promotions without the current version. Raises NoModelError."""
        if len(self.promoted) < 2:  # noqa: PLR2004 - the current one and one before it
            raise NoModelError("there is no earlier model to go back to")
        *earlier, current = self.promoted
        return Promotions(promoted=earlier, rolled_back=[*self.rolled_back, current])


class ModelRegistry:
    """The models of one dataset. Several processes may use the folder at once."""

    def __init__(
        self, folder: Path, dataset_id: str, sync: Callable[[int], None] = os.fsync
    ) -> None:
        self._folder = folder / dataset_id
        self._sync = sync

    def folder_of(self, version: str) -> Path:
        """Return where a version's files are, or would be."""
        return self._folder / version

    def has(self, version: str) -> bool:
        """Tell whether a version is there, which means whole."""
        return self.folder_of(version).is_dir()

    def versions(self) -> list[str]:
        """Return all versions, the newest first."""
        found = self._folder.iterdir() if self._folder.is_dir() else iter(())
        names = (path.name for path in found if path.is_dir())
        return sorted((name for name in names if not name.startswith(".")), reverse=True)

    @contextmanager
    def adding(self, version: str) -> Iterator[Path]:
        """Yield an empty folder that becomes the version when the context ends well.

        A process that dies before leaves nothing but an unfinished folder, which the next one
        removes: of a dataset only one model is made at a time. Raises OSError when another process
        did so all the same and was first.
        """
        make_folder(self._folder, self._sync)
        for left in self._folder.glob(f"{_UNFINISHED}*"):
            shutil.rmtree(left, ignore_errors=True)
        unfinished = self._folder / f"{_UNFINISHED}{version}-{uuid4().hex[:8]}"
        unfinished.mkdir()
        try:
            yield unfinished
            for path in unfinished.iterdir():
                self._sync_file(path)
            sync_folder(unfinished, self._sync)
            unfinished.rename(self.folder_of(version))
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
        sync_folder(self._folder, self._sync)

    def promotions(self) -> Promotions:
        """Return what is current now."""
        try:
            return Promotions.model_validate_json((self._folder / _CURRENT).read_bytes())
        except FileNotFoundError:
            return Promotions()

    def promote(self, version: str) -> None:
        """Make a version current because a person says so. Raises NoModelError."""
        self._require(version)
        self._change(lambda promotions: promotions.promote(version))

    def promote_instead_of(self, compared_with: str | None, version: str) -> None:
        """Make a version current that was compared with what was current; again: nothing happens.

        Raises OvertakenError when something else is current by now, or the version was rolled
        back, and NoModelError when it is not there.
        """
        self._require(version)

        def change(promotions: Promotions) -> Promotions:
            if version in promotions.rolled_back:
                raise OvertakenError(f"{version} has been rolled back")
            if promotions.current not in (compared_with, version):
                raise OvertakenError(
                    f"it was compared with {compared_with or 'nothing'}, and meanwhile "
                    f"{promotions.current} became current: retry the job"
                )
            return promotions.promote(version)

        self._change(change)

    def roll_back(self) -> str:
        """Make the version before the current one current, and return it. Raises NoModelError."""
        return self._change(Promotions.roll_back).promoted[-1]

    def load(self, version: str) -> IntentModel:
        """Read a model. Raises NoModelError, and ModelUnreadableError when it is damaged."""
        self._require(version)
        return IntentModel.load(self.folder_of(version))

    def load_current(self) -> IntentModel | None:
        """Read the current model, None when there is none. Raises ModelUnreadableError."""
        version = self.promotions().current
        return self.load(version) if version else None

    def _require(self, version: str) -> None:
        if not self.has(version):
            versions = self.versions()
            known = f"there are {', '.join(versions)}" if versions else "none is there yet"
            raise NoModelError(f"there is no model {version!r}: {known}")

    def _change(self, change: Callable[[Promotions], Promotions]) -> Promotions:
        make_folder(self._folder, self._sync)
        with (self._folder / _LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            promotions = change(self.promotions())
            replacement = self._folder / f"{_CURRENT}.new"
            write_file(replacement, promotions.model_dump_json(by_alias=True).encode(), self._sync)
            replacement.replace(self._folder / _CURRENT)
            sync_folder(self._folder, self._sync)
            return promotions

    def _sync_file(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            self._sync(descriptor)
        finally:
            os.close(descriptor)

"""Which user a Postgres server runs as, and what that user can reach.

Postgres refuses to run as root. Root therefore runs it as an ordinary account, for which some
folders of root's are closed.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

from intentloop_devstack.errors import UnavailableError

_ACCOUNTS = ("postgres", "nobody")


def server_account() -> str | None:
    """Return None (this user) for an ordinary user, `postgres` or `nobody` for root."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    for account in _ACCOUNTS:
        if account in known:
            return account
    raise UnavailableError(
        f"root cannot run Postgres, and there is no user {' or '.join(_ACCOUNTS)}"
    )


def as_account(account: str | None, command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command as `account` to its end, from the root folder, keeping what it prints."""
    return subprocess.run(
        command,
        cwd="/",
        user=account,
        group=None if account is None else pwd.getpwnam(account).pw_gid,
        extra_groups=None if account is None else [],
        capture_output=True,
        text=True,
        check=False,
    )


def reaches(account: str | None, path: Path) -> bool:
    """Tell whether `account` can enter a folder or run a file."""
    return account is None or as_account(account, ["test", "-x", str(path)]).returncode == 0


def hand_over(path: Path, account: str | None) -> None:
    """Make `path` the account's own and nobody else's."""
    path.chmod(0o700)
    if account is not None:
        shutil.chown(path, account, pwd.getpwnam(account).pw_gid)


def elsewhere(wanted: Path) -> Path:
    """Return the temporary folder that stands in for `wanted`; it need not exist."""
    name = "intentloop-" + hashlib.sha256(str(wanted).encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / name


def open_folder(wanted: Path, account: str | None) -> Path:
    """Return `wanted` when the account can enter it, else a folder for it among temporary files.

    Raises:
        UnavailableError: somebody else has made that temporary folder.
    """
    if reaches(account, wanted):
        return wanted
    place = elsewhere(wanted)
    place.mkdir(mode=0o755, exist_ok=True)
    if place.is_symlink() or place.stat().st_uid != os.geteuid():
        raise UnavailableError(f"{place} belongs to another user, remove it")
    return place

"""What can go wrong with a local server."""


class UnavailableError(Exception):
    """This road to a server is closed here; the text says why and what would open it."""


class StartError(UnavailableError):
    """The server was there but did not come up; the text ends with the last lines of its log."""


class PortTakenError(StartError):
    """Another process took the port between choosing it and listening on it."""


class NotOursError(Exception):
    """The server was given from outside, so it is not ours to stop, pause or restart."""

"""Erasing a sender everywhere that this machine reaches, with a report of every place."""

from intentloop_admin.erasure.erasure import Whereabouts, erase
from intentloop_admin.erasure.files import erase_from_files
from intentloop_admin.erasure.forms import stored_forms
from intentloop_admin.erasure.report import ErasureReport, Place

__all__ = ["ErasureReport", "Place", "Whereabouts", "erase", "erase_from_files", "stored_forms"]

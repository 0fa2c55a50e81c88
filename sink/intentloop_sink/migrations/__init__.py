"""Alembic migrations, part of the package so that an installed wheel can run them.

A new one is a module `versions/vNNNN_what_it_does.py` whose `down_revision` is the newest before
it. Migrations never import the tables as they are now: those will have moved on.
"""

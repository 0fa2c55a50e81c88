"""The version of intentloop, as in pyproject.toml.

Written down here because asking the installed package for it costs a bot an import of `email`.
"""

VERSION = "0.1.0"

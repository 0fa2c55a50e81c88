"""Training jobs that make the bot better: examples in, a judged model out, and a server for it.

Names are imported from the modules: what is here needs nothing of the `training` extra.
"""

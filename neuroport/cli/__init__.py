"""The command ``neuroport``: a file for each command. What is heavy is imported within the functions."""

from neuroport.cli.app import app, main

__all__ = ["app", "main"]

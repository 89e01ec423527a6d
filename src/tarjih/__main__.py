"""`python -m tarjih` is `tarjih`."""

from __future__ import annotations

from tarjih.cli.app import main

main()

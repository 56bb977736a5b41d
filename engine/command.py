"""The entry of the command `tactful`: interrupted while it still loads, it says no more than when it runs."""

import sys


def main() -> None:
    """Run the command."""
    try:
        from engine.cli import main as run
    except KeyboardInterrupt:
        sys.stderr.write("\nAborted!\n")
        sys.exit(1)
    run()

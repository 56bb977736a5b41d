"""`python -m benchmarks NAME [args]`: runs benchmarks/NAME.py; exits 1 where a bound is missed."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path


def main(argv: list[str]) -> int:
    """Run the benchmark that is named first with the other arguments; return its exit code."""
    names = sorted(path.stem for path in Path(__file__).parent.glob("*.py") if not path.stem.startswith("_"))
    if not argv or argv[0] not in names:
        print(f"usage: python -m benchmarks NAME [args]; NAME is one of: {', '.join(names)}", file=sys.stderr)
        return 2
    code: int = importlib.import_module(f"benchmarks.{argv[0]}").main(argv[1:])
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

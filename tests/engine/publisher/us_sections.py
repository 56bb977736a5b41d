"""us_sections.json of the small bridges, from the readers: `python -m tests.engine.publisher.us_sections > FILE`."""

from __future__ import annotations

import json
import sys

from privacy.gpp import NATIONAL_1, NATIONAL_2, STATES, UsSection

CHILD = "KnownChildSensitiveDataConsents"


def written() -> str:
    """Write the sections as JSON, one a line."""
    sections = {
        7: [(1, NATIONAL_1), (2, NATIONAL_2)],
        **{number: [(1, state)] for number, state in STATES.items()},
    }
    lines = []
    for number, versions in sections.items():
        rows = [
            {
                "version": version,
                "layout": state.layout,
                "gpc": state.gpc,
                "sensitive": state.sensitive,
                "no": [
                    name for name, _ in state.layout if name != CHILD and UsSection("", {name: 1}).objects()
                ],
                "child": CHILD,
            }
            for version, state in versions
        ]
        lines.append(f'"{number}": {json.dumps(rows, separators=(",", ":"))}')
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    sys.stdout.write(written())

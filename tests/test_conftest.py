"""Under TACTFUL_REQUIRE_ALL=1 a skip is a failure that tells its reason."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import LONGEST

SKIPS = {
    "a test": "import pytest\n@pytest.mark.skip(reason='no strace')\ndef test_a(): pass",
    "in a test": "import pytest\ndef test_a():\n    pytest.skip('no strace')",
    "in a fixture": "import pytest\n@pytest.fixture\ndef f(): pytest.skip('no strace')\ndef test_a(f): pass",
    "a module": "import pytest\npytest.skip('no strace', allow_module_level=True)\ndef test_a(): pass",
}


@pytest.mark.parametrize("skip", SKIPS)
def test_a_skip_is_a_failure_where_all_is_required(tmp_path, skip):
    (tmp_path / "test_a.py").write_text(f"def test_b(): pass\n{SKIPS[skip]}")
    shutil.copy(Path(__file__).with_name("conftest.py"), tmp_path)
    for required, code in (("0", {0, pytest.ExitCode.NO_TESTS_COLLECTED}), ("1", {1, 2})):
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-c",
            os.devnull,
            "--rootdir",
            str(tmp_path),
            str(tmp_path),
        ]
        environment = {**os.environ, "TACTFUL_REQUIRE_ALL": required}
        run = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert run.returncode in code, run.stdout
        assert ("but skipped: Skipped: no strace" in run.stdout) == (required == "1"), run.stdout


def test_the_longest_files_are_begun_first_however_few_tests_they_have(tmp_path):
    assert [name for name in LONGEST if not list(Path(__file__).parent.rglob(name))] == []
    (tmp_path / "test_many.py").write_text("".join(f"def test_{n}(): pass\n" for n in range(9)))
    (tmp_path / LONGEST[0]).write_text("def test_a(): pass")
    shutil.copy(Path(__file__).with_name("conftest.py"), tmp_path)
    command = [sys.executable, "-m", "pytest", "-c", os.devnull, "--rootdir", str(tmp_path), "-v"]
    run = subprocess.run(
        [*command, "-n", "1", "--dist", "loadfile", str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    ran = [
        Path(line.split("::")[0].split()[-1]).name for line in run.stdout.splitlines() if " PASSED " in line
    ]
    assert ran == [LONGEST[0], *["test_many.py"] * 9], run.stdout

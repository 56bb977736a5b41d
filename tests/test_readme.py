"""The README is run: its marked blocks do what it says, in its order, as one session.

`<!-- run -->` on the line before a `sh` or `python` block marks it to be run. `<!-- prints -->` before one
says what the block that was run last prints, line by line, `…` standing for anything. A block may leave a
service behind (`tactful serve &`): later blocks find it running, and it is stopped at the end.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import pytest
from filelock import FileLock

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
TIMEOUT_S = 180
BLOCK = re.compile(r"^<!-- (?P<mark>[a-z0-9 ]+) -->\n+```(?P<language>\w*)\n(?P<text>.*?)^```$", re.M | re.S)
MARKS = {"run", "prints", "command 1", "command 2"}


class Block(NamedTuple):
    """A fenced block that a comment marks."""

    mark: str
    language: str
    text: str
    line: int


def blocks(readme: str) -> list[Block]:
    return [
        Block(found["mark"], found["language"], found["text"], readme.count("\n", 0, found.start()) + 1)
        for found in BLOCK.finditer(readme)
    ]


def marked(mark: str) -> list[Block]:
    return [block for block in blocks(README.read_text("utf-8")) if block.mark == mark]


def script(session: list[Block]) -> str:
    """Return the blocks as one shell script that says on a line of its own where each begins."""
    lines = ["set -euo pipefail"]
    for block in session:
        if block.mark != "run":
            continue
        text = block.text
        if block.language == "python":
            text = f"python - <<'END-OF-BLOCK'\n{text}END-OF-BLOCK\n"
        lines += [f"printf '\\036%d\\n' {block.line}", text]
    return "\n".join(lines)


def run(session: list[Block], folder: Path) -> dict[int, str]:
    """Run the blocks in a folder and return what each printed, by its line. What they started is stopped."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("TACTFUL_")},
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(folder),
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": "",
        "TACTFUL_DEADLINE_MS": "5000",  # how fast an answer comes depends on what else runs here
    }
    output = folder / ".output"
    # The README's ports are written in it: one test at a time, whatever processes the tests run in.
    with FileLock(Path(tempfile.gettempdir()) / "tactful-readme.lock"), output.open("wb") as file:
        process = subprocess.Popen(
            ["bash", "-c", script(session)],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
        try:
            code = process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            code = -1
        finally:
            stop(process.pid)
            process.wait()
    printed = output.read_text("utf-8", "replace")
    assert code == 0, f"README.md, block behind line {printed.rpartition(chr(30))[2]}"
    parts = (part.partition("\n") for part in printed.split("\x1e")[1:])
    return {int(line): text for line, _, text in parts}


def stop(group: int) -> None:
    try:
        os.killpg(group, signal.SIGTERM)
    except ProcessLookupError:
        return  # nothing was left running


def misprints(session: list[Block], printed: dict[int, str]) -> list[str]:
    """Return the promised lines that were not printed, in their order, by the block before."""
    missing = []
    line = 0
    for block in session:
        if block.mark == "run":
            line = block.line
        if block.mark == "prints":
            came = iter(printed[line].splitlines())
            for promised in filter(str.strip, block.text.splitlines()):
                pattern = ".*".join(map(re.escape, promised.strip().split("…")))
                if not any(re.fullmatch(pattern, got.strip()) for got in came):
                    missing.append(f"README.md:{block.line}: {promised}")
                    break
    return missing


def test_the_readme_does_what_it_says(tmp_path):
    session = blocks(README.read_text("utf-8"))
    assert any(block.mark == "run" for block in session), "README.md has no block behind <!-- run -->"
    copy(tmp_path)
    assert misprints(session, run(session, tmp_path)) == []


def copy(folder: Path) -> None:
    """Copy what a clone holds, so that nothing that a block writes lands in the repository."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    if listed.returncode == 0:
        files = [Path(os.fsdecode(name)) for name in listed.stdout.split(b"\0") if name]
    else:  # not a clone: take it as it lies here, but no environment and no data
        files = [path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file()]
        files = [path for path in files if not path.parts[0].startswith((".", "tactful-", "build", "dist"))]
    for path in files:
        if (ROOT / path).is_file():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / path, folder / path)


def test_every_mark_is_known():
    assert [block for block in blocks(README.read_text("utf-8")) if block.mark not in MARKS] == []


@pytest.mark.parametrize("command", ["command 1", "command 2"])
def test_the_two_commands_are_one_command_each(command):
    (block,) = marked(command)
    assert block.language == "sh"
    text = block.text.replace("\\\n", " ").strip()
    assert "\n" not in text
    assert "sudo" not in text
    subprocess.run(["bash", "-n", "-c", text], check=True)


def test_ci_runs_the_second_command():
    (block,) = marked("command 2")
    shown = subprocess.run([ROOT / ".ci/run", "--show"], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == block.text.strip()


def test_readme_and_image_install_the_same_torch():
    texts = [block.text for command in ("command 1", "command 2") for block in marked(command)]
    texts.append((ROOT / "Dockerfile").read_text("utf-8"))
    assert len({tuple(re.findall(r"\btorch==[0-9.]+", text)) for text in texts}) == 1


def test_a_session_keeps_its_variables_and_its_background_work(tmp_path):
    session = blocks(
        "<!-- run -->\n```sh\nNAME=a\nsleep 60 &\nPID=$!\n```\n\n"
        "<!-- run -->\n\n```sh\nkill -0 $PID; echo name $NAME\n```\n"
        "<!-- prints -->\n```text\nname …\n```\n"
        "<!-- run -->\n```python\nprint(1 + 1)\n```\n<!-- prints -->\n```\n2\n```\n"
    )
    assert [block.mark for block in session] == ["run", "run", "prints", "run", "prints"]
    assert misprints(session, run(session, tmp_path)) == []


def test_a_block_that_fails_is_named(tmp_path):
    session = blocks(
        "# Title\n\n<!-- run -->\n```sh\necho fine\n```\n<!-- run -->\n```sh\nfalse | cat\necho on\n```\n"
    )
    with pytest.raises(AssertionError, match="behind line 7"):
        run(session, tmp_path)


def test_a_promise_that_is_not_kept_is_named(tmp_path):
    session = blocks("<!-- run -->\n```sh\necho one two\n```\n<!-- prints -->\n```text\none …\nthree\n```\n")
    assert misprints(session, run(session, tmp_path)) == ["README.md:5: three"]

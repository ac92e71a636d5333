"""The git commit of the code that runs."""

import subprocess
from pathlib import Path

UNKNOWN = "unknown"


def git_commit(folder: Path = Path(__file__).parent) -> str:
    """The commit that is checked out, `-dirty` where tracked files differ from it, or UNKNOWN outside of a checkout."""
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return UNKNOWN
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return f"{commit}-dirty" if changed or changed is None else commit


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        result = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return result.stdout.strip()

"""A notification takes hardly more instructions than at the commit before."""

import subprocess

import instructions
import pytest


@pytest.mark.slow
@pytest.mark.integration
def test_a_notification_takes_hardly_more_instructions_than_at_the_commit_before():
    try:
        with instructions.checked_out("HEAD~1") as tree:
            before = instructions.measure(tree)
        now = instructions.measure(instructions.ROOT)
    except instructions.NotMeasurableError as why:
        pytest.skip(str(why))
    assert now <= instructions.MOST * before, f"{now:,.0f} instructions a notification, {before:,.0f} before"


@pytest.mark.integration
def test_a_commit_that_is_not_there_is_the_reason_to_skip(tmp_path):
    def git(*arguments):
        subprocess.run(["git", *arguments], cwd=tmp_path, check=True, capture_output=True)

    with pytest.raises(instructions.NotMeasurableError, match="not here"), instructions.checked_out("HEAD", tmp_path):
        pass  # it is no clone
    git("init", "--quiet")
    git("-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "--quiet", "--allow-empty", "-m", "First")
    with instructions.checked_out("HEAD", tmp_path) as tree:
        assert tree.is_dir()
    assert not tree.exists()
    with pytest.raises(instructions.NotMeasurableError, match="HEAD~1"), instructions.checked_out("HEAD~1", tmp_path):
        pass  # it is the first commit, or the clone is shallow


def test_a_tree_that_crashes_is_no_reason_to_skip(tmp_path, monkeypatch):
    valgrind = tmp_path / "valgrind"
    valgrind.write_text("#!/bin/sh\necho it crashed >&2\nexit 1\n")
    valgrind.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    with pytest.raises(instructions.CrashedError, match="it crashed"):
        instructions.measure(tmp_path)


def test_without_valgrind_there_is_the_reason_to_skip(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(instructions.NotMeasurableError, match="valgrind is not installed"):
        instructions.measure(tmp_path)

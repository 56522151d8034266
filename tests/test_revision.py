"""The commit that a result names."""

import subprocess

from udal_tf.reporting import revision


def commit_of(folder, monkeypatch):
    monkeypatch.setattr(revision, "_PACKAGE", folder)
    revision.commit.cache_clear()
    try:
        return revision.commit()
    finally:
        revision.commit.cache_clear()


def git(folder, *arguments):
    own = ["-c", "user.name=a", "-c", "user.email=a@b"]
    return subprocess.run(["git", "-C", folder, *own, *arguments], check=True, capture_output=True, text=True).stdout


def test_the_commit_is_the_checkouts_and_changes_are_marked(tmp_path, monkeypatch):
    assert commit_of(tmp_path, monkeypatch) == ""
    git(tmp_path, "init", "-q")
    (tmp_path / "config.py").write_text("a = 1\n")
    assert commit_of(tmp_path, monkeypatch) == ""  # A checkout, and not the package's.
    git(tmp_path, "add", "config.py")
    git(tmp_path, "commit", "-q", "-m", "one")
    head = git(tmp_path, "rev-parse", "HEAD").strip()
    assert commit_of(tmp_path, monkeypatch) == head
    (tmp_path / "config.py").write_text("a = 2\n")
    assert commit_of(tmp_path, monkeypatch) == f"{head} (modified)"


def test_without_git_there_is_no_commit(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commit_of(tmp_path, monkeypatch) == ""

"""Tasks of Celery: what was imported, beside what Celery itself does with the same file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from beside import tables
from effort import examples
from hypothesis import given, settings, strategies as st
from judged import agrees, by_celery, policies, policy, schedule

from simulation.importing.channels import place_of
from simulation.importing.files import import_files

TABLES = tables(__file__)
HEAD = "from celery import Celery, Task, shared_task\napp = Celery('a', set_as_current=False)\n"


def judged(text: str, task: str = "charge", **options: Any) -> None:
    found = {each.name.rpartition(".")[2]: each for each in policies("celery", text, **options)}[task]
    agrees(found, by_celery(text, task, 0.0), by_celery(text, task, 1.0))


@pytest.mark.parametrize("text", [pytest.param(row["text"], id=row["name"]) for row in TABLES["judged"]])
def test_starts_are_those_of_celery(text: str) -> None:
    judged(HEAD + text)


OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "autoretry_for": st.just("(Exception,)"),
        "retry_backoff": st.sampled_from([False, True, 0, 0.5, 1, 2, 3.7, 30]),
        "retry_backoff_max": st.sampled_from([0, 5, 60, 600, 700.5]),
        "retry_jitter": st.booleans(),
        "max_retries": st.sampled_from([None, 0, 1, 4, 12]),
        "default_retry_delay": st.sampled_from([0, 2.5, 30]),
        "retry_kwargs": st.sampled_from(["{}", "{'max_retries': 5}", "{'countdown': 7, 'max_retries': None}"]),
    },
)


@given(
    OPTIONS, OPTIONS, st.sampled_from(["pass", "raise self.retry(countdown=3 * self.request.retries)", "self.retry()"])
)
@settings(max_examples=examples(300), deadline=None)
def test_drawn_settings_start_attempts_as_celery_does(own: dict[str, Any], of_class: dict[str, Any], body: str) -> None:
    """Of a decorator and of a base class, with and without a call of self.retry."""
    of_class = {**of_class, "abstract": True}
    attributes = "\n".join(f"    {name} = {value}" for name, value in of_class.items())
    keywords = ", ".join(f"{name}={value}" for name, value in own.items())
    body = body if "autoretry_for" not in {**own, **of_class} else "pass"
    text = f"{HEAD}class Base(Task):\n{attributes}\n@app.task(bind=True, base=Base, {keywords})\n"
    judged(f"{text}def charge(self):\n    {body}\n    raise ValueError\n")


def test_each_setting_has_its_mark() -> None:
    for row in TABLES["marks"]:
        found = policy("celery", HEAD + row["text"], **row.get("given", {}))
        marks = {each.text: each.mark.value for each in found.findings if each.line}
        said = {text: f"{each.mark.value}: {each.reason}" for each in found.findings if (text := each.text)}
        for text, mark in row["marks"].items():
            assert said.get(text, "nothing").startswith(mark), (row["name"], said)
        assert (found.channel is None) == row.get("open", False), (row["name"], said)
        assert [each.name for each in found.questions] == row.get("asks", []), row["name"]
        assert marks


def test_each_question_is_answered_by_the_name_that_it_has() -> None:
    for row in TABLES["marks"]:
        answers = {name: "autoretry" if name.endswith(".retry") else "5" for name in row.get("asks", [])}
        if answers:
            found = policy("celery", HEAD + row["text"], values=answers).channel
            assert found is not None, row["name"]
            if "a.charge.max_retries" in answers:
                assert found["retry"]["max_attempts"] == 6


def test_a_value_that_is_given_answers_what_is_asked() -> None:
    head = f"{HEAD}from shop.conf import LIMIT\n"
    text = f"{head}@shared_task(autoretry_for=(OSError,), max_retries=LIMIT)\ndef charge(): ..."
    assert policy("celery", text).questions[0].asked == "a.py:4: --given LIMIT=… wants a number of retries"
    found = policy("celery", text, values={"LIMIT": "6"})
    assert found.channel is not None
    assert found.channel["retry"]["max_attempts"] == 7
    other = policy("celery", text.replace("shop.conf", "b"), "LIMIT = 2 * 3\n")
    assert other.channel == found.channel


def test_a_task_is_named_by_its_own_file_and_files_with_answers_were_read(tmp_path: Path) -> None:
    texts = {
        "base.py": "from celery import Task\nfrom limits import TRIES\n"
        "class Base(Task):\n    autoretry_for = (OSError,)\n    max_retries = TRIES\n",
        "tasks.py": f"{HEAD}from base import Base\n@shared_task(base=Base)\ndef charge(): ...\n",
        "limits.py": "TRIES = 6\n",
        "other.py": "TRIES = 7\n",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    imported = import_files([tmp_path])
    (found,) = imported.policies
    assert place_of(found).source == str(tmp_path / "tasks.py")
    assert {Path(each.file).name for each in found.findings if not each.line} == {"tasks.py"}
    assert found.channel is not None
    assert found.channel["retry"]["max_attempts"] == 7
    assert [Path(name).name for name in imported.files] == ["base.py", "limits.py", "tasks.py"]
    assert [Path(name).name for name in imported.passed_over] == ["other.py"]


def test_tasks_of_an_app_that_another_file_makes_are_read_and_files_of_python_3_14(tmp_path: Path) -> None:
    of_app = "from shop.background import app as background, HIGH\n@background.task(bind=True, max_retries=4)\n"
    body = "    try:\n        send()\n    except OSError, shop.Late:\n        self.retry(countdown=2)\n"
    texts = {
        "background.py": "from celery import Celery\napp = Celery('shop')\n",
        "mails.py": f"{of_app}def mail(self):\n{body}",
        "old.py": f"{of_app}def old(self):\n{body.replace('shop.Late', 'late')}",
        "jobs.py": "from jobs.runner import app\n@app.task(retry=3)\ndef job(): ...\n",
    }
    (tmp_path / "shop").mkdir()
    for name, text in texts.items():
        (tmp_path / "shop" / name).write_text(text)
    imported = import_files([tmp_path])
    assert [each.name for each in imported.policies] == ["shop.mails.mail"]
    assert schedule(imported.policies[0]).attempts[-1].start.longest == 8
    assert [Path(name).name for name in imported.passed_over] == ["jobs.py", "old.py"]


OF_DECORATOR = "@shared_task(autoretry_for=(OSError,), retry_backoff=2, max_retries=4)\ndef charge(): ..."
OF_CLASS = """\
class Base(Task):
    autoretry_for = (OSError,)
    max_retries = 4
@shared_task(base=Base)
def charge(): ...
"""


@pytest.mark.parametrize(
    ("version", "text", "attempts", "first"),
    [
        ("5.7", OF_DECORATOR, 5, "2s"),
        ("4.1", OF_DECORATOR, 5, "180s"),
        ("4.4", OF_CLASS, 5, "180s"),
        ("4.3", OF_CLASS, 1, None),
    ],
)
def test_versions_read_other_settings(version: str, text: str, attempts: int, first: str | None) -> None:
    found = policy("celery", HEAD + text, versions={"celery": version})
    assert found.channel is not None
    assert found.channel["retry"]["max_attempts"] == attempts
    assert found.channel["retry"].get("initial_delay") == first


@pytest.mark.parametrize("library", ["procrastinate", "huey", "taskiq"])
def test_a_decorator_of_another_library_is_no_task(library: str) -> None:
    head = f"import {library}\nfrom celery import states\napp = {library}.App()\n"
    assert policies("celery", f"{head}@app.task(max_retries=3)\ndef charge(): ...\n") == []

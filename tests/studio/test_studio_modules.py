"""The modules of studio's page that need no browser, tested by Node.js; and what all of them promise."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from each_row import over_each

STATIC = Path(__file__).parents[2] / "simulation" / "studio" / "static"
TESTS = Path(__file__).parent / "modules"
NODE = shutil.which("node")


@pytest.mark.integration
@pytest.mark.skipif(NODE is None, reason="needs Node.js of at least 20 (Debian: nodejs)")
@pytest.mark.parametrize("name", sorted(path.name for path in TESTS.glob("*.test.mjs")))
def test_a_module_does_what_its_tests_say(name):
    done = subprocess.run(
        [NODE, "--test", str(TESTS / name)],
        env={**os.environ, "STATIC": str(STATIC), "NODE_NO_WARNINGS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_there_is_little_javascript():
    assert sum(len(path.read_text(encoding="utf-8").splitlines()) for path in STATIC.glob("*.js")) < 1450


@over_each(sorted(STATIC.iterdir()))
def test_pages_need_nothing_from_elsewhere_and_run_no_text(path):
    text = path.read_text(encoding="utf-8")
    assert re.findall(r"(?:https?:)?//[\w.-]+\.\w+/", text) == []
    assert (
        re.findall(
            r"\binnerHTML\b|\bouterHTML\b|insertAdjacentHTML|document\.write|\beval\(|new Function|\son\w+=\"", text
        )
        == []
    )
    assert re.findall(r"<script(?![^>]*\bsrc=)|\sstyle=\"", text) == []


def test_each_curve_has_the_colour_of_its_key():
    style, page = ((STATIC / name).read_text(encoding="utf-8") for name in ("studio.css", "edit.html"))
    for name in set(re.findall(r'class="key (\w+)"', page)):
        assert len(re.findall(rf"--c-{name}: #", style)) == 2, name  # by day and by night; curves are drawn with it
        assert f".{name} {{ --own: var(--c-{name}); }}" in style

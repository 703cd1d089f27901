"""The README and the guides lead to one another, and name the folders that there are."""

import re

import pytest
from documents import GUIDES, ROOT, text_of
from each_row import over_each
from other_libraries import GUIDE, page

DOCUMENTS = [ROOT / "README.md", ROOT / ".github" / "CONTRIBUTING.md", *sorted(GUIDES.glob("*.md"))]


def headings(path):
    """The headings of a document, as links name them."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@over_each(DOCUMENTS)
def test_what_a_document_points_to_is_there(path):
    links = re.findall(r"\]\((?!https?:)([^)]+)\)", path.read_text(encoding="utf-8"))
    missing = []
    for link in links:
        file, _, heading = link.partition("#")
        target = path.parent / file if file else path
        if not target.exists() or (heading and heading not in headings(target)):
            missing.append(link)
    assert missing == []


def test_the_readme_leads_to_every_guide():
    found = {link.partition("#")[0] for link in re.findall(r"\]\(([^)]+)\)", text_of("README"))}
    assert {f"notebooks/guides/{path.name}" for path in GUIDES.glob("*.md")} - found == set()


@pytest.mark.parametrize("package", ["actors", "simulation"])
def test_the_architecture_lists_the_folders_in_their_order(package):
    (folders,) = re.findall(
        rf"^{package}/\n(.*?)(?:\n\n|^```)", text_of("architecture"), flags=re.MULTILINE | re.DOTALL
    )
    listed = re.findall(r"^  (\w+)/ ", folders, flags=re.MULTILINE)
    there = [path.parent.name for path in (ROOT / package).glob("*/__init__.py")]
    assert sorted(listed) == sorted(there)


def test_the_files_that_the_architecture_names_are_there():
    named = re.findall(r"`((?:actors|simulation)/[\w/]+(?:\.py)?)/?`", text_of("architecture"))
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


@over_each(DOCUMENTS)
def test_nothing_that_is_shown_imports_from_a_private_path(path):
    text = path.read_text(encoding="utf-8")
    assert re.findall(r"^(?:from|import) ((?:actors|simulation)\.\S+)", text, flags=re.MULTILINE) == []


def test_the_guide_to_other_libraries_has_the_tables_of_now():
    """Otherwise write them: ``python tests/guides/other_libraries.py``."""
    assert GUIDE.read_text(encoding="utf-8") == page()

"""The README and the guides, as tests read them: their text, and their code blocks by language."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
GUIDES = ROOT / "notebooks" / "guides"


def text_of(name: str) -> str:
    """Return the text of a guide, or of the README by the name of ``README``."""
    path = ROOT / "README.md" if name == "README" else GUIDES / f"{name}.md"
    return path.read_text(encoding="utf-8")


def blocks(name: str, language: str) -> list[str]:
    """Return the code blocks of a language in a document, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text_of(name), flags=re.MULTILINE | re.DOTALL)

"""A picture of the README or of a guide is what its commands draw, is small, and has an alternative text.

Otherwise draw it anew and look at it: ``python tests/guides/pictures.py NAME``.
"""

import re

import numpy as np
import pytest
from chromium import needs_chromium
from documents import GUIDES, text_of
from each_row import over_each
from effort import sliced
from pictures import BYTES_MAX, PAGES, PLOTS, commands, document_of, path_of, plotted
from PIL import Image

SHOWN_IN = {name: document_of(name) for name in (*PLOTS, *PAGES)}
PATH = "notebooks/guides/"


def colours(picture):
    return np.asarray(picture.convert("RGB"), dtype=float)


def test_each_picture_is_shown_once_with_an_alternative_text():
    assert sorted(path.stem for path in GUIDES.glob("*.png")) == sorted(SHOWN_IN)
    for name, document in SHOWN_IN.items():
        folder = PATH if document == "README" else ""
        [text] = re.findall(rf"^!\[(.+)\]\({folder}{name}\.png\)$", text_of(document), re.MULTILINE)
        assert len(text) > 100
        assert path_of(name).stat().st_size < BYTES_MAX
    assert text_of("README").startswith("# retrylab\n\n![")


@over_each(PLOTS)
def test_the_document_shows_the_commands_that_draw_it(name):
    shown = re.sub(r"\s+", " ", text_of(SHOWN_IN[name]).replace("\\\n", " "))
    assert [line for line in commands(name) if " ".join(line.split()) not in shown] == []


@pytest.mark.integration
@pytest.mark.parametrize("name", sliced(PLOTS, len(PLOTS), first=1))
def test_a_plot_is_what_its_commands_draw(name):
    stored, drawn = colours(Image.open(path_of(name))), colours(plotted(name))
    assert stored.shape == drawn.shape
    assert np.abs(stored - drawn).mean() < 1.0  # of 255: with another release of matplotlib an edge is another one


@pytest.mark.thorough
@pytest.mark.integration
@needs_chromium
@pytest.mark.parametrize("name", PAGES)
def test_a_page_still_looks_like_its_picture(name):
    """Seen from afar, since clock times and fonts differ from one machine to another."""
    stored, seen = (picture.convert("RGB") for picture in (Image.open(path_of(name)), PAGES[name]()))
    assert stored.size == seen.size
    afar = [colours(picture.resize((22, 16), Image.Resampling.BOX)) for picture in (stored, seen)]
    assert np.abs(afar[0] - afar[1]).mean() < 6.0

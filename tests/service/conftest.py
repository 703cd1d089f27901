"""What several files of these tests need."""

import logging

import pytest
from served import Scripted


@pytest.fixture
def provider(monkeypatch):
    """A transport of emails, the same one for every pipeline."""
    provider = Scripted()
    monkeypatch.setattr("actors.service.transports.EmailTransport.open", lambda self: provider)
    return provider


@pytest.fixture
def kept_logging():
    """Gives the root logger its level and handlers back."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    yield root
    root.setLevel(level)
    root.handlers[:] = handlers

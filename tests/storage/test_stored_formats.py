"""What is written stays what it is: other releases and other nodes read it."""

from hashlib import sha256

import pytest
import stored_formats


def digest(rows: list[str]) -> str:
    return sha256("\n".join(rows).encode()).hexdigest()[:16]


def test_a_seeded_history_is_written_to_sqlite_byte_by_byte_as_before(tmp_path):
    """When a format is meant to change, write the digest anew and say in the changelog which releases read it."""
    rows = stored_formats.written_to_sqlite(1, 400, tmp_path)
    assert (len(rows), digest(rows)) == (284, "6254d0aa10262446")


@pytest.mark.integration
def test_a_seeded_history_is_written_to_postgres_byte_by_byte_as_before(postgres_server):
    rows = stored_formats.written_to_postgres(1, 400, postgres_server.new_database())
    assert (len(rows), digest(rows)) == (449, "47527b4df6a89e96")

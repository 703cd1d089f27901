"""Source files that are made to take long: read within bounds, or refused."""

from __future__ import annotations

import pytest
from effort import sliced

from actors.errors import ConfigurationError
from simulation.importing.source import KINDS, Given, SourceFile

JS = "import { Queue, Worker } from 'bullmq';\nconst q = new Queue('q', {});\n"
MANY = {
    "spaces": ("bullmq", JS + "from" + " " * 250_000),
    "queues": ("bullmq", JS + "new Queue('a', { defaultJobOptions: { attempts: 2 } });" * 4_000),
    "jobs": ("bullmq", JS + "q.add('x', {}, { attempts: 2 });" * 7_000),
    "workers": ("bullmq", JS + "new Worker('q', f, { concurrency: 2 });throw new UnrecoverableError();" * 3_000),
    "unknown receivers": ("bullmq", JS + "a.add('x', {}, { attempts: 2 });const a = b();" * 4_000),
    "options": ("bullmq", JS + "f({ attempts: 2, backoff: 1 });" * 6_000),
    "constants": ("bullmq", JS + "".join(f"const a{n} = a{n + 1} + a{n + 1};" for n in range(6_000)) + "q.add(a0)"),
    "classes": ("sidekiq", "class A < A\n  include Sidekiq::Job\nend\n" * 5_000),
    "constants of one name": (
        "sidekiq",
        "class B\n  include Sidekiq::Job\n  sidekiq_options retry: A\n  A = A\nend\n" * 3_000,
    ),
    "conditions": (
        "sidekiq",
        "class B\n  include Sidekiq::Job\n  sidekiq_retry_in do |n, e|\n"
        + "".join(f"    return {n} if e.a{n}?\n" for n in range(5_000))
        + "  end\nend\n",
    ),
    "new lines": ("sidekiq", "class B; include Sidekiq::Job; end" + "\n" * 250_000),
    "retries": (
        "sidekiq",
        "class B\n  include Sidekiq::Job\n  sidekiq_options retry: 9_999_999\n  sidekiq_retry_in { |n| n * 2 }\nend\n",
    ),
    "configs": ("oban", "defmodule A do\n  use Oban.Worker\nend\n" + "config " * 35_000),
    "clauses": (
        "oban",
        "defmodule A do\n  use Oban.Worker, max_attempts: 900\n"
        + "".join(f"  def backoff(%Job{{attempt: {n}}}), do: {n}\n" for n in range(5_000))
        + "end\n",
    ),
    "clients": (
        "aws",
        "from botocore.config import Config\n"
        + "".join(f"c{n} = boto3.client('s3', config=Config(retries={{'mode': 'legacy'}}))\n" for n in range(400)),
    ),
    "modules": ("oban", "defmodule A do\n  use Oban.Worker\nend\nA.new(1, max_attempts: 2)\n" * 4_000),
}


@pytest.mark.parametrize(("kind", "text"), sliced([pytest.param(*case, id=name) for name, case in MANY.items()], 5))
def test_files_with_very_many_of_one_thing_take_a_bounded_time(kind: str, text: str) -> None:
    file = SourceFile({"aws": "a.py", "bullmq": "a.ts", "sidekiq": "a.rb", "oban": "a.ex"}[kind], text)
    assert KINDS[kind].recognises(file)
    try:
        found = len(KINDS[kind].read([file], Given()))
    except ConfigurationError as error:
        found, (problem,) = 0, error.problems
        assert problem.startswith(f"{file.name}: wanted at most")
    assert found <= 500

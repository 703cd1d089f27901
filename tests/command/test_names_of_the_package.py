"""What ``import simulation`` gives: every name is there as often as it is asked for, and costs nothing until it is."""

import json
import subprocess
import sys


def printed(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def test_every_name_is_the_same_the_second_time():
    # The first time imports modules, each of which becomes an attribute of its package: in the place of the name.
    code = "import json, simulation as s; print(json.dumps([n for n in dir(s) if getattr(s, n) is not getattr(s, n)]))"
    assert printed(code) == []

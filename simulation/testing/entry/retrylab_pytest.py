"""The pytest plugin, by a name that no project has for a folder of its own.

It reads the plugin from its file, so that the names `simulation` and `actors` stay free for packages of the project
under test; see :mod:`simulation.testing.pytest_plugin`.
"""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

_HERE = Path(__file__).parent
_FOLDER = _HERE.parent if _HERE.name == "entry" else _HERE / "simulation" / "testing"  # here, or as it is installed
_SPEC = spec_from_file_location(__name__, _FOLDER / "pytest_plugin.py")
assert _SPEC is not None
assert _SPEC.loader is not None
sys.modules[__name__] = module_from_spec(_SPEC)
_SPEC.loader.exec_module(sys.modules[__name__])

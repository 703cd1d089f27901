"""The contract with pykka: what `actors.kernel.pykka_hooks` relies on, in whichever pykka is installed."""

import ast
import inspect
from pathlib import Path

import pykka
import pytest

import actors
from actors.kernel.actor import Actor
from actors.kernel.pykka_hooks import ActorRef, HookedActor
from simulation.engine.system import SimulatedSystem

PACKAGES = [Path(actors.__file__).parents[1] / name for name in ("actors", "simulation")]


class PykkasActor(pykka.Actor):
    _create_actor_inbox = _create_future = staticmethod(lambda: None)

    def _start_actor_loop(self):
        """Start nothing."""


def test_a_runtime_defines_three_hooks():
    assert pykka.Actor.__abstractmethods__ == {"_create_actor_inbox", "_create_future", "_start_actor_loop"}


@pytest.mark.parametrize(
    ("ours", "pykkas", "names"),
    [
        (HookedActor, pykka.Actor, ["stop", "_stop", "_handle_receive", "_start_actor_loop"]),
        (ActorRef, pykka.ActorRef, ["ask", "stop"]),
    ],
)
def test_what_is_overridden_is_called_as_in_pykka(ours, pykkas, names):
    overridden = [name for name, value in vars(ours).items() if inspect.isfunction(value) and hasattr(pykkas, name)]
    assert [name for name in overridden if name != "__init__"] == sorted(names, key=overridden.index)
    for name in names:
        mine, theirs = (inspect.signature(getattr(each, name)).parameters.values() for each in (ours, pykkas))
        assert [(each.name, each.kind, each.default) for each in mine] == [
            (each.name, each.kind, each.default) for each in theirs
        ]


def test_pykkas_constructor_sets_what_takes_its_place_sets():
    of_pykka = set(vars(PykkasActor()))
    assert of_pykka == {"actor_urn", "actor_inbox", "actor_stopped", "_actor_ref"}
    ours = vars(SimulatedSystem().spawn(Actor).actor)
    assert of_pykka <= set(ours)
    assert of_pykka <= Actor._IDENTITY
    assert set(vars(PykkasActor().actor_ref)) - {"_actor"} <= set(vars(ours["_actor_ref"]))


def test_an_error_is_logged_and_ends_an_actor_as_pykka_has_it(caplog):
    actor = PykkasActor()
    pykka.ActorRegistry.register(actor.actor_ref)
    error = ValueError("no")
    actor._handle_failure(ValueError, error, None)
    assert (actor.actor_stopped.is_set(), pykka.ActorRegistry.get_all()) == (True, [])
    assert caplog.records[-1].exc_info[1] is error


def test_no_module_imports_a_private_name_of_pykkas():
    imported = [
        f"{getattr(node, 'module', None) or ''}.{name.name}".lstrip(".")
        for package in PACKAGES
        for path in package.rglob("*.py")
        if "pykka" in (text := path.read_text(encoding="utf-8"))
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in node.names
    ]
    assert "pykka" in imported
    assert [name for name in imported if name.startswith("pykka.") and "._" in name] == []

"""What waits for its template, and that what may have ended a process is marked before it is filled in."""

import pytest
from test_isolation import SUSPECT, UNKNOWN, Left, Watched
from worlds import World, email, on_both_clocks, simulate

from actors.messages import ActorFailed, NotificationMovedToDeadLetter, NotificationSent
from actors.pipeline.templates import Template, Templates

REFUSED = {"t": Template(body="{% macro m() %}{% endmacro %}Hello {{ name }}")}
PROBLEM = "template 't': line 1: 'macro' cannot be used in a template: write its text where it is used"


def named(name: str, **more: object) -> object:
    return email(name, metadata={"template": "t", "name": "Ann"}, **more)


def test_what_names_a_template_that_cannot_be_used_waits_with_an_alert_and_goes_on_with_another_one():
    def scenario(world: World) -> None:
        templates = Templates(REFUSED)
        world.open(templates=templates)
        world.send(named("a"), email("b"), named("c"), named("d", expires_after=25.0))
        world.at(35, lambda: templates.take_over(Templates({"t": Template(body="Hello {name}")})))

    world = on_both_clocks(scenario)
    assert world.sent_ids() == ["b", "a", "c"]
    assert world.times(NotificationSent) == [0.0, 40.0, 40.0]
    assert world.reasons == ["expired"]
    assert world.times(NotificationMovedToDeadLetter) == [25.0]
    assert world.alerts[0] == f"Notifications on channel email wait for a template that cannot be used: {PROBLEM}"
    assert len(world.alerts) == 2  # the other one is of the letter
    assert not world.events(ActorFailed)


def test_what_was_accepted_by_an_earlier_process_waits_as_well_and_a_restart_finds_it():
    store = Left([named("a"), named("b")], {"a": SUSPECT})

    def refused(world: World) -> None:
        world.open(Watched(), store=store, templates=Templates(REFUSED))

    world = simulate(refused, until=1000.0)
    assert (world.sent_ids(), world.letters, world.pipeline.in_flight, store.marks) == ([], [], 2, [])
    store.cautions = {"a": SUSPECT}

    def put_right(world: World) -> None:
        world.open(Watched(), store=store, templates=Templates({"t": Template(body="Hello {name}")}))

    assert sorted(simulate(put_right).sent_ids()) == ["a", "b"]


@pytest.mark.parametrize("hedging", [None, {"delay": "30s", "max_attempts": 2}])
def test_what_may_have_ended_a_process_is_marked_before_it_is_filled_in(monkeypatch, hedging):
    store, provider, marked = Left([named("a"), named("b")], {"a": UNKNOWN, "b": SUSPECT}), Watched(), {}
    fill_in = Templates.fill_in

    def note_and_fill_in(self, command):
        marked[command.notification_id] = list(store.marks)
        return fill_in(self, command)

    monkeypatch.setattr(Templates, "fill_in", note_and_fill_in)

    def scenario(world: World) -> None:
        templates = Templates({"t": Template(body="Hello {name}", html=True)})
        world.open(provider, store=store, templates=templates, email={"hedging": hedging} if hedging else {})
        world.send(named("new"), at=5)

    world = simulate(scenario)
    assert marked == {"a": [("a", False)], "b": [("a", False), ("b", True)], "new": store.marks}
    assert {each.command.message for each in provider.tries} == {"Hello Ann"}
    assert [each.command.metadata["html"] for each in provider.tries] == [True] * 3
    assert sorted(world.sent_ids()) == ["a", "b", "new"]


def test_what_cannot_be_filled_in_once_it_is_marked_is_dead_lettered_and_others_go_on():
    store = Left([email("a", metadata={"template": "t"}), named("b")], {"a": SUSPECT, "b": SUSPECT})
    provider = Watched()

    def scenario(world: World) -> None:
        world.open(provider, store=store, templates=Templates({"t": Template(body="Hello {name}")}))

    world = simulate(scenario)
    assert world.reasons == ["template 't': 'name' is undefined"]
    assert [letter.attempts for letter in world.letters] == [0]
    assert [name for name, _, _ in provider.spans] == world.sent_ids() == ["b"]

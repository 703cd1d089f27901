"""Templates: which one is taken, what it may say, what happens when something is missing; and that they stay inside."""

from pathlib import Path

import pytest
from beside import tables
from each_row import over_each
from hypothesis import given, strategies as st
from msgspec.structs import replace
from timetables import send_at
from worlds import email

from actors.errors import TemplateError
from actors.messages import ActorFailed, NotificationChannel, NotificationFailed, NotificationSent
from actors.pipeline.templates import BUILT_IN, Template, Templates

HELLO = {"hello": Template(subject="For {name}", body="Hello {name}!"), "hello.de": Template(body="Hallo {name}!")}


def filled(body: str, *, html: bool = False, **metadata: object) -> str:
    templates = Templates({"t": Template(body=body, html=html)})
    return templates.fill_in(email("n", metadata={"template": "t", **metadata})).message


def test_the_built_in_ones():
    templates = Templates(variables={"platform": "Shop"})
    welcome = templates.fill_in(email("n", metadata={"template": "welcome", "name": "Ann"}))
    assert welcome.subject == "Welcome to Shop!"
    assert welcome.message.startswith("Hello Ann, thank you for joining")
    order = templates.fill_in(email("n", metadata={"template": "order_confirm", "order_id": 7, "name": "Ann"}))
    assert order.subject == "Order #7 Confirmed"


def test_the_language_falls_back_and_a_subject_that_the_template_lacks_is_the_notifications_own():
    templates = Templates(HELLO)

    def fill(**metadata: object) -> tuple[str | None, str]:
        command = templates.fill_in(email("n", metadata={"template": "hello", "name": "Ann", **metadata}))
        return command.subject, command.message

    assert fill() == ("For Ann", "Hello Ann!")
    assert fill(lang="de") == ("Hi", "Hallo Ann!")
    assert fill(lang="sv") == ("For Ann", "Hello Ann!")
    assert fill(lang=None) == ("For Ann", "Hello Ann!")


def test_both_syntaxes():
    assert filled("{name} owes {amount}", name="Ann", amount=3) == "Ann owes 3"
    assert filled("{{ name }} owes {{ '%.2f' % amount }}", name="Ann", amount=3) == "Ann owes 3.00"
    assert filled("{% for item in items %}{{ item.name }};{% endfor %}", items=[{"name": "a"}, {"name": "b"}]) == "a;b;"
    assert filled("{items[0].name}", items=[{"name": "a"}]) == "a"
    assert filled("two lines\n", name="Ann") == "two lines\n"


def test_variables_of_the_notification_itself():
    assert filled("{recipient} {user_id} {notification_id} {subject} {message}") == (
        "ann@example.org ann@example.org n Hi Hello"
    )


def test_html_is_escaped_where_the_body_is_html_and_nowhere_else():
    name = "<script>alert('Ann & Bob')</script>"
    assert "<script>" not in filled("<p>{name}</p>", html=True, name=name)
    assert filled("<p>{name}</p>", html=True, name="Ann & Bob") == "<p>Ann &amp; Bob</p>"
    assert filled("<p>{{ name }}</p>", html=True, name="Ann & Bob") == "<p>Ann &amp; Bob</p>"
    assert filled("{name}", name=name) == name
    templates = Templates({"t": Template(subject="{name}", body="{name}", html=True)})
    command = templates.fill_in(email("n", metadata={"template": "t", "name": "Ann & Bob"}))
    assert (command.subject, command.message) == ("Ann & Bob", "Ann &amp; Bob")


def test_what_is_filled_in_is_text_and_not_a_template():
    assert filled("{name}", name="{platform} {{ 7 * 7 }}") == "{platform} {{ 7 * 7 }}"
    assert filled("{{ name }}", name="{{ 7 * 7 }}{% for %}") == "{{ 7 * 7 }}{% for %}"


@given(st.text())
def test_any_text_comes_through_as_it_is(name):
    assert filled("{name}", name=name) == name


@over_each(tables(__file__)["escapes"])
def test_nothing_gets_out_of_the_sandbox_and_every_error_is_a_template_error(escape):
    with pytest.raises(TemplateError, match="template 't'"):
        filled(escape, name="Ann", items=[1])


class Hostile:
    """A variable whose own code raises."""

    def __str__(self) -> str:
        raise NotImplementedError("no text")


def test_a_missing_variable_is_named_and_dead_letters_for_good_without_an_attempt():
    named = [{}, {"template": "nosuch"}, {"name": Hostile()}, {"name": "Ann"}]
    commands = [email(each, metadata={"template": "hello", **more}) for each, more in zip("abcd", named, strict=True)]
    world = send_at({0: commands}, templates=Templates(HELLO))
    assert world.reasons == [
        "template 'hello': 'name' is undefined",
        "template 'nosuch' is unknown; known are hello, hello.de",
        "template 'hello': NotImplementedError: no text",
    ]
    assert [letter.attempts for letter in world.letters] == [0] * 3
    assert world.events(NotificationFailed, ActorFailed) == []
    assert [each.command.message for each in world.provider.tries] == ["Hello Ann!"]
    assert [event.notification_id for event in world.events(NotificationSent)] == ["d"]


def test_what_templates_of_ones_own_raise_dead_letters_as_well_and_no_actor_fails(caplog):
    class Away(Templates):
        def fill_in(self, command):
            raise ConnectionError("no database")

    world = send_at({0: [email("a", metadata={"template": "welcome"}), email("b")]}, templates=Away())
    assert not world.events(ActorFailed)
    assert world.sent_ids() == ["b"]
    assert world.reasons == ["templates raised ConnectionError: no database"]
    assert "templates raised on notification 'a'" in caplog.text


@pytest.mark.parametrize(
    "filled", [None, {"message": "Hello"}, email("b"), replace(email("a"), channel=NotificationChannel.SMS)]
)
def test_what_templates_of_ones_own_return_is_the_notification_or_dead_letters_it(filled):
    class Forgetful(Templates):
        def fill_in(self, command):
            return filled

    world = send_at({0: email("a", metadata={"template": "welcome"})}, templates=Forgetful())
    assert not world.events(ActorFailed)
    assert world.sent_ids() == []
    assert world.reasons == [f"templates: wanted the notification with its text filled in, got {filled!r}"]


def test_a_retry_is_filled_in_from_the_command_as_it_came():
    """The dead letter shows what was asked for, so that it can be corrected and redriven."""

    world = send_at({0: email("a", metadata={"template": "hello", "nam": "Ann"})}, templates=Templates(HELLO))
    (letter,) = world.letters
    assert letter.command == email("a", metadata={"template": "hello", "nam": "Ann"})


def test_without_templates_the_metadata_is_the_transports_own():
    world = send_at({0: email("a", metadata={"template": "d-1234"})})
    assert world.provider.tries[0].command == email("a", metadata={"template": "d-1234"})


# ── files ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_from_a_directory_that_a_team_can_edit(tmp_path: Path):
    (tmp_path / "hello.txt").write_text("Subject: For {name}\n\nHello {name}!\nBye\n", encoding="utf-8")
    (tmp_path / "hello.sv.txt").write_text("Hej {name}, räksmörgås!", encoding="utf-8")
    (tmp_path / "page.html").write_text("<b>{{ name }}</b>", encoding="utf-8")
    (tmp_path / "welcome.txt").write_text("Subject: Yo\n\nYo {name}", encoding="utf-8")
    (tmp_path / "notes.md").write_text("{{{", encoding="utf-8")
    templates = Templates.from_directory(tmp_path, variables={"name": "A&B"})

    def fill(name: str, **metadata: object) -> tuple[str | None, str]:
        command = templates.fill_in(email("n", metadata={"template": name, **metadata}))
        return command.subject, command.message

    assert fill("hello") == ("For A&B", "Hello A&B!\nBye\n")
    assert fill("hello", lang="sv") == ("Hi", "Hej A&B, räksmörgås!")
    assert fill("page") == ("Hi", "<b>A&amp;B</b>")
    assert fill("welcome") == ("Yo", "Yo A&B")  # in place of the built-in one
    assert "order_confirm" in BUILT_IN
    assert fill("order_confirm", order_id=1)[0] == "Order #1 Confirmed"


def test_files_written_on_windows(tmp_path: Path):
    (tmp_path / "hello.txt").write_bytes(b"\xef\xbb\xbfSubject: For {name}\r\n\r\nHello {name}!\r\n")
    command = Templates.from_directory(tmp_path).fill_in(email("n", metadata={"template": "hello", "name": "Ann"}))
    assert (command.subject, command.message) == ("For Ann", "Hello Ann!\n")


def test_two_files_of_one_name_and_files_that_are_no_text_are_refused(tmp_path: Path):
    (tmp_path / "a.txt").write_text("x", encoding="utf-8")
    (tmp_path / "a.html").write_text("x", encoding="utf-8")
    with pytest.raises(TemplateError, match=r"wanted one file for template 'a', got a\.html and a\.txt"):
        Templates.from_directory(tmp_path)
    (tmp_path / "a.html").unlink()
    (tmp_path / "b.txt").write_bytes("ö".encode("latin-1"))
    with pytest.raises(TemplateError, match=r"b\.txt: wanted text in UTF-8"):
        Templates.from_directory(tmp_path)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("Subject: {{ name\n\nHello", "1: unexpected end of template, expected 'end of print statement'."),
        ("Hello {name}\n\n{% if %}", "3: Expected an expression, got 'end of statement block'"),
        ("Subject: Hi\n\n\nHello {{ name }}\n{{ name | nosuch }}", "5: No filter named 'nosuch'."),
        ("Subject: {{ a.upper() }}\n\n{% include 'x' %}", "1: a call of upper() cannot be used in a template: use "),
        ("Subject: Hi\nHello\n{name", "3: unexpected end of template"),
        ("Hello {{ " + 5000 * "9" + " }}", "1: ValueError: Exceeds the limit"),
    ],
)
def test_a_template_that_is_none_is_found_when_it_is_read_and_its_line_is_told(tmp_path: Path, text, problem):
    (tmp_path / "a.txt").write_text(text, encoding="utf-8")
    with pytest.raises(TemplateError) as raised:
        Templates.from_directory(tmp_path)
    assert str(raised.value).startswith(f"{tmp_path}/a.txt:{problem}")


def test_a_file_that_is_a_link_out_of_its_directory_is_refused_and_one_within_is_not(tmp_path: Path):
    directory, other = tmp_path / "templates", tmp_path / "secret.txt"
    (directory / "..data").mkdir(parents=True)
    other.write_text("a secret", encoding="utf-8")
    (directory / "..data" / "hello.txt").write_text("Hello {name}", encoding="utf-8")
    (directory / "hello.txt").symlink_to("..data/hello.txt")  # as a volume of Kubernetes has it
    (tmp_path / "link").symlink_to(directory)
    for each in (directory, tmp_path / "link"):
        command = Templates.from_directory(each).fill_in(email("n", metadata={"template": "hello", "name": "Ann"}))
        assert command.message == "Hello Ann"
    (directory / "evil.txt").symlink_to(other)
    (directory / "dir.txt").symlink_to(tmp_path)
    (directory / "round.txt").symlink_to("round.txt")
    problems = Templates.read(directory)[1]
    assert problems[:2] == [
        f"{directory}/dir.txt: wanted a file in its directory, got a link to {tmp_path}",
        f"{directory}/evil.txt: wanted a file in its directory, got a link to {other}",
    ]
    assert problems[2].startswith(f"{directory}/round.txt: ")
    assert len(problems) == 3


def test_all_that_is_wrong_is_told_and_what_was_good_before_stays(tmp_path: Path):
    (tmp_path / "good.txt").write_text("first", encoding="utf-8")
    (tmp_path / "bad.txt").write_text("first", encoding="utf-8")
    (tmp_path / "gone.txt").write_text("first", encoding="utf-8")
    earlier = Templates.from_directory(tmp_path)
    (tmp_path / "good.txt").write_text("second", encoding="utf-8")
    (tmp_path / "bad.txt").write_text("{", encoding="utf-8")
    (tmp_path / "bad.de.txt").write_bytes(b"\xff")
    (tmp_path / "gone.txt").unlink()
    (tmp_path / ".#good.txt").symlink_to("nobody@nowhere")  # as Emacs locks a file that is edited
    templates, problems = Templates.read(tmp_path, earlier=earlier)
    assert [problem.removeprefix(f"{tmp_path}/").split(" ")[0] for problem in problems] == ["bad.de.txt:", "bad.txt:1:"]

    def fill(name: str) -> str:
        return templates.fill_in(email("n", metadata={"template": name})).message

    assert [fill("good"), fill("bad")] == ["second", "first"]
    with pytest.raises(TemplateError, match="template 'gone' is unknown"):
        fill("gone")
    templates, problems = Templates.read(tmp_path / "nosuch", earlier=templates)
    assert (fill("bad"), len(problems)) == ("first", 1)


def test_which_languages_there_are():
    texts = ["hello", "hello.de", "hello.pt-BR", "order.confirmation", "only.sv"]
    templates = Templates({name: Template(body="x") for name in texts})
    assert templates.languages() == {
        "hello": [None, "de", "pt-BR"],
        "only": ["sv"],
        "order.confirmation": [None],
    }


def test_a_directory_that_is_not_there_is_an_error(tmp_path: Path):
    with pytest.raises(TemplateError, match="nosuch: wanted a directory"):
        Templates.from_directory(tmp_path / "nosuch")

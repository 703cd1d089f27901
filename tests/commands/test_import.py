"""``retrylab import``, and the commands that take files of other libraries."""

import json
from pathlib import Path

import pytest
from in_process import retrylab

from simulation.experiments.incidents import INCIDENTS, settings_given
from simulation.importing.source import Given

TASKS = """\
import os

from celery import Celery, shared_task

from shop.conf import LIMIT

app = Celery("shop")


@app.task(autoretry_for=(OSError,), retry_backoff=2, retry_jitter=False, max_retries=4, retry_delay=9)
def charge(order): ...


@shared_task(bind=True, default_retry_delay=30, max_retries=LIMIT)
def mail(self, to):
    raise self.retry()
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "tasks.py").write_text(TASKS)
    (folder / "views.py").write_text("def index(request): ...\n")
    return tmp_path


def test_each_line_has_a_mark_and_attempts_their_starts(shop: Path) -> None:
    done = retrylab("import", "shop/tasks.py", "--json", cwd=shop)
    assert done.returncode == 0
    charge, mail = json.loads(done.stdout)["policies"]
    assert (charge["name"], charge["channel"], charge["max_attempts"]) == ("shop.tasks.charge", "charge", 5)
    assert [each["start"]["longest"] for each in charge["attempts"]] == [0, 2, 6, 14, 30]
    marks = {each["text"]: each["mark"] for each in charge["findings"]}
    assert marks["retry_delay=9"] == "does nothing"
    (shop / "capped.py").write_text(TASKS.replace("max_retries=4", "max_retries=4, retry_backoff_max=600"))
    capped = json.loads(retrylab("import", "capped.py", "--json", cwd=shop).stdout)["policies"][0]["findings"]
    assert [(each["mark"], each["path"]) for each in capped if "backoff_max" in each["text"]] == [("does nothing", "")]
    assert (mail["channel"], mail["attempts"]) == (None, [])
    assert done.stderr.splitlines() == [
        "2 policies in 1 file",
        "shop/tasks.py:14: --given LIMIT=… wants a number of retries",
    ]


def test_a_question_is_answered_by_the_option_that_it_names(shop: Path) -> None:
    done = retrylab("import", "shop/tasks.py", "--json", "--given", "LIMIT=2", cwd=shop)
    assert json.loads(done.stdout)["policies"][1]["max_attempts"] == 3
    (shop / "shop/conf.py").write_text("LIMIT = 6\n")
    done = retrylab("import", "shop", "--json", cwd=shop)
    document = json.loads(done.stdout)
    assert document["policies"][1]["max_attempts"] == 7
    assert (document["files"], document["passed_over"]) == (["shop/conf.py", "shop/tasks.py"], 1)


@pytest.mark.parametrize("option", [(), ("--markdown",)])
def test_tables_name_the_setting_its_mark_and_why(shop: Path, option: tuple[str, ...]) -> None:
    done = retrylab("import", "shop/*.py", *option, cwd=shop)
    assert done.returncode == 0
    for text in ("shop.tasks.charge", "retry_delay=9", "does nothing", "autoretry_for", "approximate", "starts after"):
        assert text.replace("_", r"\_") in done.stdout if option else text in done.stdout


def test_the_file_of_a_policy_is_that_of_its_own_first_lines(tmp_path: Path) -> None:
    top, key = tmp_path / "src" / "main", "resilience4j.retry"
    top.mkdir(parents=True)
    own = "{enableExponentialBackoff: true, exponentialMaxWaitDuration: 9s, waitDuration: 1s}"
    (top / "application.yml").write_text(f"spring.profiles.active: prod\n{key}.instances.a: {own}\n")
    (top / "application-prod.yml").write_text(f"{key}:\n  configs.default.maxAttempts: 3\n  instances.b: {own}\n")
    done = retrylab("import", "src", "--markdown", cwd=tmp_path).stdout
    assert "### a (resilience4j, src/main/application.yml, channel a)" in done
    assert "### b (resilience4j, src/main/application-prod.yml, channel b)" in done
    assert "| application-prod.yml:2 | " in done
    assert r"| 2 | waitDuration: 1s | exact | retry.initial\_delay |" in done


def test_a_table_that_a_time_limit_ends_says_so(tmp_path: Path) -> None:
    head = "from tenacity import retry, stop_after_attempt, stop_after_delay, wait_fixed\n"
    (tmp_path / "a.py").write_text(f"{head}@retry(stop=stop_after_delay(10), wait=wait_fixed(4))\ndef a(): ...\n")
    done = retrylab("import", "a.py", cwd=tmp_path).stdout
    assert "unlimited attempts" in done
    assert "A time limit ends it: there is no attempt after number 4." in done


def test_what_a_file_has_in_its_names_does_nothing_to_a_terminal(shop: Path) -> None:
    name = "\x1b[31m`x`|$(id)"
    head = "import os\nfrom celery import shared_task\n"
    text = f"{head}@shared_task(autoretry_for=(OSError,), max_retries=int(os.environ[{name!r}]))\n"
    (shop / "odd.py").write_text(f"{text}def a(): ...\n")
    for option in ("--markdown", "--json", "--from=celery"):
        done = retrylab("import", "odd.py", option, cwd=shop)
        assert "\x1b" not in done.stdout + done.stderr
    assert r"--given '\x1b[31m`x`|$(id)=…' wants a number of retries" in done.stderr


def test_what_is_written_is_a_scenario_that_runs(shop: Path) -> None:
    assert retrylab("import", "shop/tasks.py", "--given", "LIMIT=2", "--out", "s.yaml", cwd=shop).returncode == 0
    done = retrylab("run", "s.yaml", "--json", cwd=shop)
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)["channels"]) == {"charge", "mail"}
    done = retrylab("import", "shop/tasks.py", "--library", "celery=4.0", "--out", "t.yaml", cwd=shop)
    assert done.returncode == 0, done.stderr
    assert "mail" not in (shop / "t.yaml").read_text()  # which asks for LIMIT


def test_explain_has_a_channel_for_each_policy_and_says_what_is_left_out(shop: Path) -> None:
    done = retrylab("explain", "shop/tasks.py", "--json", "--workers", "1", cwd=shop)
    (charge,) = json.loads(done.stdout)["channels"]
    assert [each["outage_s"] for each in charge["one_call"]] == [1, 10, 60, 600, 3600]
    assert charge["load_is"] == "assumed"
    told = retrylab("explain", "shop/tasks.py", "--workers", "1", cwd=shop)
    assert "retry_delay=9" in told.stdout
    assert "shop.tasks.mail: left out, until --given answers it" in told.stderr
    assert "Nothing bounds how long an attempt may hang." in told.stdout
    assert "its timeout of" not in told.stdout
    (shop / "limits.py").write_text(TASKS.replace("max_retries=4", "max_retries=4, time_limit=9"))
    assert "each takes 9 s" in retrylab("explain", "limits.py", "--channel", "charge", cwd=shop).stdout


def test_lint_says_which_lines_do_nothing(shop: Path) -> None:
    done = retrylab("lint", "shop/tasks.py", "--given", "LIMIT=0", cwd=shop)
    assert done.returncode == 1
    assert "shop/tasks.py:10:1: shop.tasks.charge: retry_delay=9 does nothing: Celery has no setting" in done.stdout
    assert "circuit_breaker" not in done.stdout  # which stands for what Celery lacks


def test_code_that_makes_retries_and_is_not_read_is_named(shop: Path) -> None:
    (shop / "shop" / "Program.cs").write_text('services.AddHttpClient("a")\n    .AddResilienceHandler("r", p => {});\n')
    (shop / "shop" / "Other.cs").write_text("list.AddRetryable(1);\n")
    done = retrylab("import", "shop", cwd=shop)
    said = "shop/Program.cs:2: passed over: AddResilienceHandler makes retries in code, which is not read"
    assert (done.returncode, [line for line in done.stderr.splitlines() if ".cs" in line]) == (0, [said])
    (shop / "shop" / "tasks.py").unlink()
    assert said in retrylab("import", "shop", cwd=shop).stderr


def test_lint_takes_a_folder_as_import_does_beside_its_templates(shop: Path) -> None:
    (shop / "shop" / "sub").mkdir()
    (shop / "shop" / "sub" / "more.py").write_text((shop / "shop" / "tasks.py").read_text())
    for texts, refused in (({}, 0), ({"requirements.txt": "celery\n"}, 0), ({"a.txt": "{{ f(x) }}\n"}, 1)):
        for name, text in texts.items():
            (shop / "shop" / name).write_text(text)
        found = json.loads(retrylab("lint", "shop", "--given", "LIMIT=2", "--json", cwd=shop).stdout)
        dead = [each["file"] for each in found if each["rule"] == "does-nothing" and "retry_delay" in each["message"]]
        assert sorted(dead) == ["shop/sub/more.py", "shop/tasks.py"]
        assert sum(each["rule"] == "template-refused" for each in found) == refused


def test_lint_finds_nothing_in_settings_that_the_file_lacks(tmp_path: Path) -> None:
    route = "{match: {prefix: /}, route: {cluster: c, retry_policy: {retry_on: 5xx, num_retries: 0}}}"
    config = f"{{typed_config: {{route_config: {{virtual_hosts: [{{name: v, routes: [{route}]}}]}}}}}}"
    (tmp_path / "pay.yaml").write_text(
        f"static_resources: {{listeners: [{{filter_chains: [{{filters: [{config}]}}]}}], clusters: []}}\n"
    )
    done = retrylab("lint", "pay.yaml", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    retrylab("import", "pay.yaml", "--out", "s.yaml", cwd=tmp_path)
    assert "retry_after" not in (tmp_path / "s.yaml").read_text()


def test_incidents_ask_which_policy_is_meant(shop: Path) -> None:
    done = retrylab("incidents", "shop/tasks.py", cwd=shop)
    assert (done.returncode, done.stderr) == (
        2,
        "--policy: wanted one of shop.tasks.charge, shop.tasks.mail, got none\n",
    )


def test_the_policy_that_is_named_is_that_of_every_channel_of_the_incidents(shop: Path) -> None:
    path = shop / "shop/tasks.py"
    settings, said = settings_given(path, "charge", Given())
    assert said == [f"every channel has the policy {path.parent.name}.tasks.charge of {path}"]
    assert {config.retry.max_attempts for config in settings.channels.values()} == {5}
    assert [incident.missing(settings) for incident in INCIDENTS] == [[]] * len(INCIDENTS)


def test_compare_varies_the_channels_of_a_file(shop: Path) -> None:
    vary = ("--vary", "channels.charge.retry.max_attempts=1,5", "--set", "duration=2m", "--set", "drain=1m")
    done = retrylab("compare", "shop/tasks.py", *vary, "--replicates", 2, "--json", "--workers", 1, cwd=shop)
    assert done.returncode == 0, done.stderr
    assert [list(each.values()) for each in json.loads(done.stdout)["settings"]] == [["1"], ["5"]]


REFUSED = {
    "deep.py": "from celery import task\n@task\nx = " + "(" * 5000 + ")" * 5000,
    "signs.py": "from celery import task\n@app.task\nx = " + "-" * 50_000 + "1",
    "chain.py": "import tenacity\nx = a" + ".b" * 50_000,
    "sum.py": "import tenacity\nx = 1" + "+1" * 50_000,
    "conflict.py": "from celery import Task\n<<<<<<< HEAD\nclass A(Task): ...\n=======\n>>>>>>> other\n",
    "two.py": 'from celery import Task\n@app.task\ndef f():\n    print "x"\n',
    "template.py": "from celery import Task\n@app.task(max_retries={{ cookiecutter.retries }}\ndef f(): ...\n",
    "huge.py": "from celery import Task\n@app.task\n" + "x = 1\n" * 100_000,
    "null.py": "from celery import Task\n@app.task\ndef f(): ...\n\0",
    "empty.py": "",
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_cannot_be_read_is_refused_in_a_line(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(REFUSED[name])
    done = retrylab("import", name, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"{name}")
    assert len(done.stderr.splitlines()) == 1


def test_odd_files_of_a_folder_are_said_and_the_others_are_read(shop: Path) -> None:
    (shop / "shop/old.py").write_text(REFUSED["two.py"])
    (shop / "shop/latin.py").write_bytes("# caf\xe9\nfrom celery import Task\n".encode("latin-1"))
    done = retrylab("import", "shop", "--json", cwd=shop)
    assert done.returncode == 0
    document = json.loads(done.stdout)
    assert len(document["policies"]) == 2
    assert [each.partition(": ")[0].partition(":")[0] for each in document["problems"]] == [
        "shop/latin.py",
        "shop/old.py",
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("shop/views.py",), "shop/views.py: wanted a file with settings of celery"),
        (("nowhere.py",), "nowhere.py: no such file"),
        (("shop/*.rs",), "shop/*.rs: no file matches"),
        (("shop/tasks.py", "--from", "cron"), "--from: wanted one of celery"),
        (("shop/tasks.py", "--given", "LIMIT"), "--given: wanted NAME=VALUE, got 'LIMIT'"),
        (("shop/tasks.py", "--library", "celery=new"), "--library celery: wanted a version such as 5.4, got 'new'"),
        (("shop/tasks.py", "--json", "--markdown"), "--markdown: wanted it without --json"),
    ],
)
def test_bad_input_is_refused(shop: Path, arguments: tuple[str, ...], said: str) -> None:
    done = retrylab("import", *arguments, cwd=shop)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(said)

"""The AWS SDK for Python: profiles of ``~/.aws/config``, variables of environment files, and ``Config(retries=…)``.

Facts from botocore 1.44.8 and 1.35.99, run: ``standard`` mode U(0, min(0.05 · 2^(n - 1), 20)) since 1.44 and
U(0, min(2^(n - 1), 20)) before, ``legacy`` mode U(0, 2^(n - 1)).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from actors.errors import ConfigurationError
from actors.formatting import counted
from actors.settings.quantities import write_duration
from actors.settings.yaml_tree import FOREIGN_VALUES_MAX, printable
from simulation.importing.configuration import Draft, Setting, default, each_readable, ini_sections
from simulation.importing.draft import written
from simulation.importing.policy import Policy
from simulation.importing.python_calls import Use, uses
from simulation.importing.python_names import Module, dotted, walked
from simulation.importing.python_source import Program
from simulation.importing.python_values import Called, Combined, Open, Symbol, Undecided
from simulation.importing.source import Given, SourceFile, Version, version_of
from simulation.importing.waits import LONGEST_S

KIND = "aws"
_NEWEST: Version = (1, 44)
_CONFIGS = frozenset({"botocore.config.Config", "botocore.client.Config"})
_IMPORT = re.compile(r"^[ \t]*(?:from|import)[ \t]+(?:[\w.]+[ \t]*,[ \t]*)*botocore\b", re.MULTILINE)
_PROFILE = re.compile(r"^[ \t]*\[[ \t]*(?:default|profile[ \t][^\]\n]*)\]", re.MULTILINE)
_KEY = re.compile(r"^[ \t]*(?:max[-_]?attempts|retry[-_]?mode)[ \t]*=", re.MULTILINE | re.IGNORECASE)
_MISSPELT = re.compile(r"(?!max_attempts$|retry_mode$|metadata_).*(?:retry|retries|attempt)")
_VARIABLE = re.compile(r"^[ \t]*(?:export[ \t]+)?AWS_(?:MAX_ATTEMPTS|RETRY_MODE)[ \t]*=", re.MULTILINE)
_MODES = ("standard", "adaptive", "legacy")
_VARIABLES = {"AWS_MAX_ATTEMPTS": "max_attempts", "AWS_RETRY_MODE": "retry_mode"}
_DYNAMO = ("dynamodb", "dynamodbstreams")


def recognises(file: SourceFile) -> bool:
    """Return whether a file configures retries of botocore: by its Config, a profile or a variable."""
    text = file.text
    if file.suffix == ".py":
        return "retries" in text and bool(_IMPORT.search(text)) and "Config" in text
    is_theirs = file.name.rsplit("/", 1)[-1] in ("config", "credentials") or bool(_PROFILE.search(text))
    return bool(_VARIABLE.search(text)) or (is_theirs and bool(_KEY.search(text)))


@dataclass
class _Retries:
    """The effective settings of retries, each with its place; None where the library's default holds."""

    attempts: tuple[int, Setting] | None = None
    """All attempts, the first included."""

    mode: Setting | None = None
    services: tuple[str, ...] = ()
    """The services whose clients are made with it, where that is known."""

    file: str = ""


def read(files: Sequence[SourceFile], given: Given) -> Sequence[Policy]:
    """Return a policy for each profile, each Config, and for an environment file alone."""
    version = version_of(given, "botocore", _NEWEST)
    broken: list[Policy] = []
    python = [file for file in files if file.suffix == ".py"]
    variables = {file.name: _variables(file) for file in files if file.suffix != ".py" and _VARIABLE.search(file.text)}
    environment = next(iter(variables.values())) if len(variables) == 1 else {}
    others = [file for file in files if file.suffix != ".py" and file.name not in variables]
    found = list(each_readable(others, KIND, lambda file: list(_profiles(file, environment, given, version)), broken))
    if not found or len(variables) > 1:
        for name, settings in variables.items():
            draft = Draft(f"environment {name}" if len(variables) > 1 else "environment", KIND, given)
            found.append(_policy(draft, _given_retries(draft, settings, {}, name), version))
    program = Program(python, given)
    own = ("retries", "connect_timeout", "read_timeout")
    configs = (use for use in uses(program, _CONFIGS) if any(key in use.call.keywords for key in own))
    return [*found, *(_configured(use, program, environment, given, version) for use in configs), *broken]


# ── files and the environment ───────────────────────────────────────────────────────────────────────────────────


def _variables(file: SourceFile) -> dict[str, Setting]:
    found: dict[str, Setting] = {}
    if file.text.count("\n") > FOREIGN_VALUES_MAX:
        raise ConfigurationError([f"{file.name}:1: too long: wanted at most {FOREIGN_VALUES_MAX:,} lines"])
    for number, line in enumerate(file.text.split("\n"), 1):
        match = re.fullmatch(r"\s*(?:export\s+)?([A-Z_]+)\s*=\s*(.*?)\s*", line[:1000])
        if match and match[1] in _VARIABLES:
            value = match[2]
            quoted = re.fullmatch(r"([\"'])(.*?)\1\s*(?:#.*)?", value)
            plain = quoted[2] if quoted else re.sub(r"\s+#.*", "", value)
            setting = Setting.of(file.name, number, match[1], plain)
            comment = "" if quoted or plain == value else "docker run --env-file takes the comment as a part of it"
            found[_VARIABLES[match[1]]] = replace(setting, shown=value, assumed=comment)
    return found


def _profiles(file: SourceFile, environment: Mapping[str, Setting], given: Given, version: Version) -> Iterator[Policy]:
    is_credentials = file.name.rsplit("/", 1)[-1] == "credentials"
    seen: set[str] = set()
    misnamed: list[tuple[str, Setting]] = []
    profiles: list[tuple[str, dict[str, Setting]]] = []
    for name, line, settings in ini_sections(file):
        profile = re.fullmatch(r"profile\s+[\"']?(.+?)[\"']?", name)
        found = {each.key: each for each in settings}
        if name in seen:
            twice = f"the section [{name}] is there twice, and botocore reads neither"
            raise ConfigurationError([f"{file.name}:{line}: {twice}"])
        seen.add(name)
        if profile or name == "default" or is_credentials:
            profiles.append((profile[1] if profile else name, found))
        else:
            misnamed += [(name, found[key]) for key in ("max_attempts", "retry_mode") if key in found]
    if not profiles and misnamed:
        profiles.append(("default", {}))
    for place, (name, found) in enumerate(profiles):
        draft = Draft(name, KIND, given)
        for section, setting in misnamed if place == 0 else []:
            draft.dead(setting, f"[{section}] is no profile; wanted [profile {section}]")
        if len(profiles) > 1 and name != "default":
            draft.note("A profile inherits nothing from [default].")
        for key, setting in found.items():
            if _MISSPELT.match(key):
                meant = "retry_mode" if "mode" in key else "max_attempts"
                text = f"botocore has no setting {printable(key[:40])}; did you mean {meant}?"
                draft.dead(setting, text)
        yield _policy(draft, _given_retries(draft, found, environment, file.name), version)


def _given_retries(
    draft: Draft, settings: Mapping[str, Setting], environment: Mapping[str, Setting], file: str
) -> _Retries:
    retries = _Retries(file=file)
    chosen: dict[str, Setting] = {}
    for key in ("max_attempts", "retry_mode"):
        own, other = settings.get(key), environment.get(key)
        if own is not None and other is not None:
            draft.dead(own, f"{other.key} of the environment comes before it")
        if (setting := draft.known(other or own, "a value")) is not None:
            chosen[key] = setting
    if (attempts := chosen.get("max_attempts")) is not None:
        count = attempts.whole
        if count is None:
            draft.refuse(attempts, "botocore refuses it: wanted a whole number alone on its line")
        else:
            retries.attempts = max(count, 1), attempts
    retries.mode = chosen.get("retry_mode")
    defaults = settings.get("defaults_mode")
    if defaults is not None and retries.mode is None and defaults.written != "legacy":
        retries.mode = Setting.of(defaults.file, defaults.line, "defaults_mode", defaults.written, "standard")
    return retries


# ── Config(retries=…) ───────────────────────────────────────────────────────────────────────────────────────────


def _configured(
    use: Use, program: Program, environment: Mapping[str, Setting], given: Given, version: Version
) -> Policy:
    draft, file = Draft(use.name, KIND, given), use.module.file.name
    retries = _Retries(file=file, services=_services(use))
    node, module = use.call.nodes.get("retries", (None, use.module))
    if node is not None:
        entries = program.entries(node, module)
        if entries is not None:
            read = {key: _argument(draft, program, key, *each) for key, each in entries.items()}
            of = {key: setting for key, setting in read.items() if setting is not None}
            if written(node) in given.values:
                of = {key: replace(setting, line=use.line) for key, setting in of.items()}
            _config_retries(draft, retries, of)
        else:
            named = written(node)
            setting = Setting.of(file, use.line, "retries", named)
            draft.unsaid(setting, "it is decided elsewhere")
            draft.ask_for(named if dotted(node) else f"{use.name}.retries", setting, "a dict with the retries")
    for key in ("connect_timeout", "read_timeout", "max_pool_connections"):
        if key in use.call.keywords:
            node = use.call.nodes.get(key, (use.node,))[0]
            setting = Setting.of(file, getattr(node, "lineno", use.line), key, written(node))
            if key == "max_pool_connections":
                draft.dead(setting, "more connections are opened when these are in use")
            else:
                draft.unsaid(setting, "time-outs of connecting and of reading are apart; here a try has one")
    there = {"max_attempts": retries.attempts, "retry_mode": retries.mode}
    lacking = {key: each for key, each in environment.items() if there.get(key) is None}
    of_environment = _given_retries(draft, {}, lacking, file)
    retries.attempts = retries.attempts or of_environment.attempts
    retries.mode = retries.mode or of_environment.mode
    return _policy(draft, retries, version)


def _argument(draft: Draft, program: Program, key: str, node: ast.AST, module: Module) -> Setting | None:
    """Return an item of ``retries``; None, and a question, where its value does not stand in the files."""
    with program.assumptions() as assumed:
        try:
            value = program.value(node, module)
        except Undecided as undecided:
            value = Open(undecided.name, 0)
    file, line, own = module.file.name, getattr(node, "lineno", 0), f"{draft.name}.{key}"
    if not isinstance(value, Open | Symbol | Called | Combined):
        setting = Setting.of(file, line, key, str(value)[:100], value)
        return replace(setting, assumed="; ".join(dict.fromkeys(assumed)))
    named = value.name if isinstance(value, Open) else value.written if isinstance(value, Symbol) else ""
    name = named or own
    answer = draft.given.values.get(name, draft.given.values.get(own))
    if answer is not None:
        return replace(Setting.of(file, line, key, answer), shown=named or "…")
    setting = Setting.of(file, line, key, named or "…")
    draft.unsaid(setting, f"it is decided elsewhere: --given {name}=…")
    draft.ask_for(name, setting, "a whole number" if "attempts" in key else f"one of {', '.join(_MODES)}")
    return None


def _config_retries(draft: Draft, retries: _Retries, settings: Mapping[str, Setting]) -> None:
    for key, setting in settings.items():
        if key not in ("max_attempts", "total_max_attempts", "mode"):
            draft.refuse(setting, "botocore refuses it: wanted max_attempts, total_max_attempts or mode")
    total, more = settings.get("total_max_attempts"), settings.get("max_attempts")
    for given, least, added in ((total, 1, 0), (more, 0, 1)):
        if given is None:
            continue
        count = given.whole
        if count is None or count < least:
            draft.refuse(given, f"botocore refuses it: wanted a whole number of at least {least}")
        elif given is more and total is not None:
            draft.dead(given, "total_max_attempts comes before it")
        else:
            retries.attempts = count + added, given
    retries.mode = settings.get("mode")


def _services(use: Use) -> tuple[str, ...]:
    """Return the services whose clients are made with a Config, where its name or its line names them."""
    named = _clients(use.module)
    return tuple(sorted({*named.get(use.line, ()), *named.get(use.name.rpartition(".")[2], ())}))


@lru_cache(maxsize=8)
def _clients(module: Module) -> Mapping[int | str, set[str]]:
    """Return the services of a module's clients by the line of their Config, and by the last part of its name."""
    found: dict[int | str, set[str]] = {}
    for node in walked(module.tree):
        if isinstance(node, ast.Call) and (dotted(node.func) or "").rpartition(".")[2] in ("client", "resource"):
            of = {each.arg: each.value for each in node.keywords}
            config, first = of.get("config"), node.args[0] if node.args else of.get("service_name")
            if config is not None and isinstance(first, ast.Constant) and isinstance(first.value, str):
                for key in (config.lineno, (dotted(config) or "").rpartition(".")[2]):
                    found.setdefault(key, set()).add(first.value)
    return found


# ── what botocore does ──────────────────────────────────────────────────────────────────────────────────────────


def _policy(draft: Draft, retries: _Retries, version: Version) -> Policy:
    is_new = version >= (1, 44)
    mode_setting = retries.mode or default(retries.file, "retry_mode", "standard" if is_new else "legacy")
    mode = str(mode_setting.value)
    if mode not in _MODES:
        wanted = f"wanted one of {', '.join(_MODES)}"
        if mode_setting.key == "mode":
            draft.refuse(mode_setting, f"botocore refuses it: {wanted}")
            return draft.policy
        draft.put("retry.max_attempts", 1, mode_setting, why=f"no mode of botocore: nothing is retried; {wanted}")
        if retries.attempts:
            draft.dead(retries.attempts[1], "nothing is tried again in a mode that botocore does not know")
        return draft.policy
    if draft.questions or draft.is_open:
        return draft.policy
    is_dynamo = bool(retries.services) and all(each in _DYNAMO for each in retries.services)
    if not is_dynamo and (not retries.services or any(each in _DYNAMO for each in retries.services)):
        of = "Of the services, " if retries.services else ""
        draft.note(f"{of}DynamoDB has waits and a number of attempts of its own, which are not read.")
    usual = {("legacy", True): 10, ("legacy", False): 5}.get((mode, is_dynamo), 4 if is_dynamo and is_new else 3)
    attempts, setting = retries.attempts or (usual, default(retries.file, "max_attempts", str(usual)))
    is_more = setting.key == "max_attempts" and setting.whole != attempts
    why = f"{counted(attempts, 'attempt')} with the first" if is_more else ""
    draft.put("retry.max_attempts", attempts, setting, why=why)
    draft.exact(mode_setting, "retry")
    if mode == "legacy":
        _legacy(draft, is_dynamo)
    else:
        _standard(draft, is_new, is_dynamo)
    if mode == "adaptive":
        off = "the rate is bounded after the first throttling; its start is measured there"
        draft.put("adaptive_rate", {"kind": "cubic", "minimum_rate": "0.5/s"}, mode_setting, off)
    other = "since 1.44 the mode is standard where none is given, and waits are shorter"
    if is_new:
        other = "before 1.44 the mode was legacy where none is given, and waits 20 times as long"
        other += " (--library botocore=1.43)"
    draft.note(f"As botocore {'.'.join(map(str, version[:2]))} does it; {other}. Other SDKs wait otherwise.")
    return draft.policy


def _standard(draft: Draft, is_new: bool, is_dynamo: bool) -> None:
    base = (0.025 if is_dynamo else 0.05) if is_new else 1.0
    budget: dict[str, Any] = {"kind": "aws", "capacity": 500, "retry_cost": 14, "throttled_cost": 5}
    if is_new:
        draft.set("retry.per_outcome", {"throttled": {"initial_delay": "1s"}, "shares_attempts": True})
        draft.set("retry.retry_after", "lower_bound")
        draft.set("retry.retry_after_excess", "5s")
    else:
        budget |= {"retry_cost": 5, "timeout_cost": 10}
    draft.set("retry.initial_delay", write_duration(base))
    draft.set("retry.max_delay", "20s")
    draft.set("retry.jitter", "full")
    draft.set("retry.budget", budget)


def _legacy(draft: Draft, is_dynamo: bool) -> None:
    """Set U(0, 2^(n - 1)) seconds without a maximum, of DynamoDB 0.05 · 2^(n - 1) without jitter."""
    base = 0.05 if is_dynamo else 1.0
    draft.set("retry.initial_delay", write_duration(base))
    draft.set("retry.max_delay", write_duration(LONGEST_S))
    draft.set("retry.retry_after", "ignore")
    if not is_dynamo:
        draft.set("retry.jitter", "full")

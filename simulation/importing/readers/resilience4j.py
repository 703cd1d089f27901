"""resilience4j as Spring Boot configures it: ``application.yml``, ``application-prod.properties``.

Rules from resilience4j's source at af9e7c97 (2026): which block inherits from which, which settings count only beside
others, and the numbers that hold where no file gives one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from actors.errors import ConfigurationError
from simulation.importing.configuration import (
    RENDER,
    Draft,
    Setting,
    default,
    is_template,
    no_such_setting,
    shown,
    unreadable,
)
from simulation.importing.policy import Policy, Question
from simulation.importing.readers.resilience4j_modules import (
    ASPECTS,
    KNOWN,
    MODULES,
    NOT_ABOUT_CALLS,
    OLD,
    Block,
    Refused,
    Values,
    read_module,
)
from simulation.importing.source import Given, SourceFile
from simulation.importing.spring import Application, Effective, applications as applications_of, names_of, relaxed

KIND = "resilience4j"
_OURS = re.compile(r"^[ \t]*[\"']?resilience4j(?:\.[\w.\[\]-]+)?[\"']?[ \t]*[:=. \[]", re.MULTILINE)
_BESIDE = re.compile(r"(?:^|/)(?:application|bootstrap)[^/]*$")
_CONTAINERS = {"instances": "instances", "backends": "instances", "limiters": "instances", "configs": "configs"}


def recognises(file: SourceFile) -> bool:
    """Return whether a file has a key ``resilience4j`` at its top."""
    if "resilience4j" not in file.text:
        return False
    if file.suffix == ".properties":
        return bool(re.search(r"^[ \t]*resilience4j\.", file.text, re.MULTILINE))
    return any(not found[0][:1].isspace() for found in _OURS.finditer(file.text))


def read(files: Sequence[SourceFile], given: Given) -> Sequence[Policy]:
    """Return a policy for each name that instances of retries, breakers, limiters and bulkheads have in common."""
    broken: dict[SourceFile, ConfigurationError] = {}
    own = {file.name for file in files}
    applications = applications_of([*files, *(file for file in given.others if _BESIDE.search(file.name))], broken)
    if broken and len(files) == 1:
        raise next(iter(broken.values()))
    found = [
        policy
        for application in applications
        if any(setting.file in own for each in application.documents for setting in each.settings.values())
        for policy in _policies(application, given, has_label=len(applications) > 1)
    ]
    return [*found, *(unreadable(error, file, KIND) for file, error in broken.items() if file.name in own)]


def _policies(application: Application, given: Given, *, has_label: bool) -> list[Policy]:
    """Return the policies with the active profiles; where they are not known and decide, they are asked for."""
    answer = re.split(r"\s*,\s*", given.values.get("profile", "").strip())
    active = list(given.profiles) or [name for name in answer if name]
    stands = application.active_by_files()
    question = ""
    if not active and stands is not None:
        filled = Effective({}).filled(stands, given.values)
        active, question = [] if filled.missing else names_of(filled.setting), filled.missing
    chosen = {None: active} | ({} if active else {name: [name] for name in application.profiles})
    with_profiles = {name: _Reading(application.effective(own), given).policies() for name, own in chosen.items()}
    policies: list[Policy] = []
    for name in dict.fromkeys(name for found in with_profiles.values() for name in found):
        variants = {profile: found[name] for profile, found in with_profiles.items() if name in found}
        policy = next(iter(variants.values()))
        differing = sorted(
            profile or "no profile"
            for profile, found in with_profiles.items()
            if repr(found[name].channel if name in found else "") != repr(policy.channel)
        )
        if differing or None not in variants:
            policy = _asking(policy, variants, application, question)
        elif active:
            policy = replace(policy, notes=(*policy.notes, f"Active profiles: {', '.join(active)}."))
        label = f"{application.label}/" if has_label and application.label else ""
        policies.append(replace(policy, name=f"{label}{policy.name}"))
    return policies


def _asking(policy: Policy, variants: Mapping[str | None, Policy], application: Application, name: str) -> Policy:
    others = [f"{profile or 'no profile'}: {_short(found.channel)}" for profile, found in variants.items()]
    place = next((each for each in policy.findings if each.line), policy.findings[0])
    wanted = f"the active profile, by --profile: {', '.join(application.profiles)}, or default"
    question = Question(name or "profile", place.file, place.line, wanted)
    return replace(
        policy,
        channel=None,
        questions=(question, *policy.questions),
        notes=(*policy.notes, f"The profile decides. {'; '.join(others)}."),
    )


def _short(channel: Mapping[str, Any] | None) -> str:
    retry = (channel or {}).get("retry", {})
    shown = {key: retry[key] for key in ("max_attempts", "initial_delay", "schedule") if key in retry}
    return ", ".join(f"{key} {value}" for key, value in shown.items()) if channel else "not known yet"


class _Reading:
    def __init__(self, effective: Effective, given: Given) -> None:
        self.effective, self.given = effective, given
        self.blocks: dict[tuple[str, str, str], dict[str, Setting]] = {}
        self.dead: list[tuple[str, Setting, str]] = []
        """Names for which something is misplaced, with the setting and the reason; no name: of no instance."""
        self.templates: dict[str, Setting] = {}
        """The instances of which a template is the name."""
        self.aspects: dict[str, Setting] = {}
        version = given.versions.get(KIND, "2")
        self.is_old = version.startswith(("0.", "1.")) or version in ("0", "1")
        for parts, setting in effective.settings.items():
            if relaxed(parts[0]) == "resilience4j" and len(parts) > 1:
                self._place(parts[1:], setting)

    def _place(self, parts: Sequence[str], setting: Setting) -> None:
        module = relaxed(parts[0])
        if module not in KNOWN:
            if module not in NOT_ABOUT_CALLS:
                self.dead.append(("", setting, no_such_setting(parts[0], list(KNOWN), KIND)))
            return
        container = _CONTAINERS.get(relaxed(parts[1])) if len(parts) > 1 else None
        if len(parts) > 2 and is_template(parts[2]):
            parts = [*parts[:2], shown(parts[2]), *parts[3:]]
            self.templates.setdefault(parts[2], setting)
        if container is None:
            key = relaxed(parts[-1])
            if len(parts) == 2 and key in ASPECTS:
                self.aspects[key] = setting
            elif len(parts) > 2 and key in KNOWN[module]:
                text = f"misplaced: wanted resilience4j.{parts[0]}.instances.{parts[1]}"
                self.dead.append((parts[1], setting, text))
            elif not (len(parts) > 1 and relaxed(parts[1]) in NOT_ABOUT_CALLS):
                self.dead.append(("", setting, no_such_setting(".".join(parts[1:]), list(_CONTAINERS), KIND)))
        elif len(parts) == 4:
            self.blocks.setdefault((module, container, parts[2]), {})[relaxed(parts[3])] = setting
        elif len(parts) == 3:  # an instance without settings, or a value where a block belongs
            self.blocks.setdefault((module, container, parts[2]), {})
        elif len(parts) > 4:
            name = parts[3]
            text = f"misplaced, in {parts[1]} called {parts[2]!r}: wanted resilience4j.{parts[0]}.instances.{name}"
            self.dead.append((name, setting, text))

    def policies(self) -> dict[str, Policy]:
        instances = dict.fromkeys(name for _, container, name in self.blocks if container == "instances")
        names = [*instances, *(name for name, *_ in self.dead if name and name not in instances)]
        if not names and any(container == "configs" for _, container, _ in self.blocks):
            names = ["default"]
        files = dict.fromkeys(each.file for document in self.effective.documents for each in document.settings.values())
        found: dict[str, Policy] = {}
        for name in dict.fromkeys(names):
            draft = Draft(name, KIND, self.given)
            blocks = [self.blocks.get((module, "instances", name), {}) for module in KNOWN]
            own = {each.file for block in blocks for each in block.values()}
            draft.files = [*(file for file in files if file in own), *(file for file in files if file not in own)]
            try:
                self._read_modules(draft)
            except Refused as error:
                draft.refuse(error.setting, error.reason)
            if name in self.templates:
                draft.refuse(self.templates[name], f"a template decides the name; {RENDER}")
            for of, setting, reason in self.dead:
                if of == name or (not of and not found):
                    draft.dead(setting, reason)
            if not found:
                self._unused_configs(draft)
            if name not in instances:
                draft.note(f"No instance is called {name}: a call of that name gets what is the default.")
            for document in self.effective.documents:
                inside = [each.line for each in document.settings.values() if relaxed(each.key) != ""]
                if document.template_lines and inside:
                    line = document.template_lines[0]
                    draft.refuse(
                        Setting.of(next(iter(document.settings.values())).file, line, "template", "{{ … }}"),
                        f"a template decides which lines are here; {RENDER}",
                    )
            found[name] = draft.policy
        return found

    def _unused_configs(self, draft: Draft) -> None:
        bases = {
            (module, setting.written)
            for (module, *_), block in self.blocks.items()
            if (setting := block.get("baseconfig"))
        }
        names = {(module, name) for module, container, name in self.blocks if container == "instances"}
        for (module, container, name), block in self.blocks.items():
            used = (
                name == "default" or (module, name) in bases or (module == "circuitbreaker" and (module, name) in names)
            )
            if container == "configs" and not used:
                for setting in block.values():
                    draft.dead(setting, f"no instance here has baseConfig: {name}")

    # ── which blocks hold for an instance ───────────────────────────────────────────────────────────────────────

    def _chain(self, module: str, name: str) -> list[Block]:
        own = self.blocks.get((module, "instances", name), {})
        return [*self._above(module, name, own, ()), own]

    def _above(self, module: str, name: str, block: Mapping[str, Setting], inside: tuple[str, ...]) -> list[Block]:
        base = block.get("baseconfig")
        configs = {
            config: each
            for (of, container, config), each in self.blocks.items()
            if of == module and container == "configs"
        }
        if base is not None and base.written:
            if base.written not in configs:
                raise Refused(base, f"the application does not start: there is no config {base.written!r}")
            if base.written in inside or len(inside) > 20:
                raise Refused(base, "the application does not start: the config is based on itself")
            above = base.written
        elif module == "circuitbreaker" and not inside and name in configs:
            above = name
        elif module == "circuitbreaker" and inside:
            return []
        elif name != "default" and "default" in configs:
            above = "default"
        else:
            return []
        return [*self._above(module, above, configs[above], (*inside, above)), configs[above]]

    def _found(self, module: str, name: str, chain: Sequence[Block], draft: Draft) -> dict[str, Setting]:
        """Return the settings that hold, filled, by their relaxed names; unknown ones are said to do nothing."""
        found: dict[str, Setting] = {}
        for block in chain:
            for key, setting in block.items():
                if key in OLD and self.is_old:
                    found |= dict.fromkeys(OLD[key], setting)
                elif key in OLD:
                    reason = f"resilience4j 2 ignores it; wanted {KNOWN[module].get(OLD[key][0], OLD[key][0])}"
                    draft.dead(setting, f"{reason} (--library resilience4j=1.7 reads it)")
                elif key not in KNOWN[module]:
                    draft.dead(setting, no_such_setting(setting.key, list(KNOWN[module].values()), KIND))
                else:
                    found[key] = setting
        filled = {key: self._filled(draft, setting) for key, setting in found.items()}
        draft.open_keys = {KNOWN[module][key] for key, setting in filled.items() if setting is None}
        return {key: setting for key, setting in filled.items() if setting is not None}

    def _filled(self, draft: Draft, setting: Setting) -> Setting | None:
        known = draft.known(setting, "the value")
        if known is None:
            return None
        result = self.effective.filled(known, self.given.values)
        if result.missing:
            draft.unsaid(setting, f"{result.missing} decides it, and no file says its value")
            draft.ask_for(result.missing, setting, f"the value of {setting.key}")
            return None
        if result.defaults:
            names = " and ".join(f"{name} (--given {name}=…)" for name in result.defaults)
            return replace(result.setting, assumed=f"the default, where nothing sets {names}")
        return result.setting

    def _read_modules(self, draft: Draft) -> None:
        name = draft.name
        there = {module for module, container, of in self.blocks if container == "instances" and of == name}
        is_default = name == "default" or not there
        misplaced = {
            relaxed(parts[1])
            for parts in self.effective.settings
            if len(parts) > 3 and name in parts[2:] and relaxed(parts[0]) == KIND
        }
        if is_default:
            there = misplaced or {module for module, container, of in self.blocks if container == "configs"}
        file = next(iter(self.effective.settings.values())).file
        for module in MODULES:
            if module in there:
                named = (module, "instances", name) in self.blocks
                chain = self._chain(module, name if named else "")  # a call of no instance gets the default config
                read_module(module, Values(draft, file, chain, self._found(module, name, chain, draft)))
        if "retry" not in there:
            draft.put("retry.max_attempts", 1, default(file, "retry", f"no instance {name}"))
        self._together(draft, there)

    def _together(self, draft: Draft, there: set[str]) -> None:
        """Say what comes of the modules' being around one another: Retry(Breaker(Limiter(TimeLimiter(Bulkhead))))."""
        breaker = draft.channel.get("circuit_breaker")
        if breaker and "bulkhead" in there and "permanent" in breaker["counts"]:
            breaker["counts"].append("refused_by_bulkhead")
        orders = {of: self.aspects[key].whole for key, of in ASPECTS.items() if key in self.aspects}
        sequence = list(ASPECTS.values())
        places = {
            of: orders.get(of) if orders.get(of) is not None else 2**31 - 6 + sequence.index(of) for of in sequence
        }
        for key, of in ASPECTS.items():
            if key not in self.aspects:
                continue
            present = [other for other in sequence if other in there and of in there and other != of]
            turned = [
                other
                for other in present
                if ((places[of] or 0) < (places[other] or 0)) != (sequence.index(of) < sequence.index(other))
            ]
            if turned:
                reason = (
                    f"the order of {of} and {' and '.join(turned)} is turned round; here a retry is around all else"
                )
                draft.refuse(self.aspects[key], reason)
            else:
                usual = "the order is the usual one" if present else f"only a {of} has this name"
                draft.dead(self.aspects[key], usual if of in there else f"no {of} has this name")
        if len(there) > 1:
            draft.note("Instances of one name are taken together; the annotations in the code decide which a call has.")

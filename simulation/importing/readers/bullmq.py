"""BullMQ, and Bull before it: the queues, jobs, flows and workers of JavaScript and TypeScript, and of NestJS."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

from tree_sitter import Node

from simulation.importing.javascript import Function, Object, Program, Programs
from simulation.importing.javascript_syntax import SUFFIXES, language, string
from simulation.importing.policy import Policy
from simulation.importing.readers.bullmq_options import Found, Job, Queue, policies
from simulation.importing.source import Given, SourceFile
from simulation.importing.syntax_trees import (
    NAMESAKES_MAX,
    Unknown,
    above,
    arguments_of,
    bounded,
    line,
    parsed,
    part,
    shown,
    text,
)

_MODULES = {
    "bullmq": "bullmq",
    "@nestjs/bullmq": "bullmq",
    "@taskforcesh/bullmq-pro": "bullmq",
    "@taskforcesh/nestjs-bullmq-pro": "bullmq",
    "bull": "bull",
    "@nestjs/bull": "bull",
}
"""What is imported, and the library that it means."""

_IMPORTED = re.compile(rf"""(?:from|require\(|import)\s*\(?['"]({"|".join(_MODULES)})['"]""")

_CALLED = re.compile(r"\b(?:const|let) (\w+)(?:: [\w<>]{1,80})? = (?:await )?(?:\w+\.)?(\w+)\(")
_URLS = re.compile(r"url|uri|redis|connection", re.IGNORECASE)
_QUEUES = frozenset({"Queue", "QueuePro", "default", "*"})
_WORKERS = frozenset({"Worker", "WorkerPro"})
_FLOWS = frozenset({"FlowProducer", "FlowProducerPro"})
_FEATURES = frozenset({"registerQueue", "registerQueueAsync"})
_FACTORIES = frozenset({"useFactory", "useClass", "useExisting"})
_ROOTS = frozenset({"forRoot", "forRootAsync"})

_RETRIES = frozenset({"attempts", "backoff", "timeout"})


def recognises(file: SourceFile) -> bool:
    """Return whether a file imports Bull or BullMQ."""
    return file.suffix in SUFFIXES and bool(_IMPORTED.search(file.text))


def read(files: Sequence[SourceFile], given: Given) -> Sequence[Policy]:
    """Return a policy for each queue's default job options, and for each kind of job that has options of its own."""
    trees, refused = parsed(files, "bullmq", language)
    all_of = Programs(given, len(trees))
    all_of.programs = {tree.file.name: Program(tree, all_of) for tree in trees}
    programs = list(all_of.programs.values())
    found = Found()
    for program in programs:
        _Queues(program, found).collect()
    made = {queue.name: queue for queue in reversed(found.queues)}
    for queues in found.by_variable.values():  # what is injected may be made in a later file
        queues[:] = [queue if queue.is_made_here else made.get(queue.name, queue) for queue in queues]
    for program in programs:
        _Jobs(program, found).collect()
    for program in programs:
        _loose_options(program, found)
    return [*bounded(policies(found, given), files), *refused]


# ── what stands in the files ────────────────────────────────────────────────────────────────────────────────────


def _library(program: Program) -> str:
    found = [_MODULES[path] for path, _ in program.imports.values() if path in _MODULES]
    if not found and (match := _IMPORTED.search(program.tree.file.text)):
        found = [_MODULES[match[1]]]
    return found[0] if found else ""


def _called(value: Any, node: Node, program: Program) -> str:
    """Return a queue's name; where it is not known the class, the variable or the file that it stands in."""
    if isinstance(value, str):
        return value
    around = next((each for each in above(node) if each.type in ("class_declaration", "class")), None)
    of_class = text(around, "name") if around is not None else ""
    return of_class or _variable(node).rstrip("()") or PurePosixPath(program.tree.file.name).stem


class _Queues:
    """Queues and workers of one file: what is made with `new`, registered with NestJS, injected."""

    def __init__(self, program: Program, found: Found) -> None:
        self.program = program
        self.found = found
        self.library = _library(program)

    def collect(self) -> None:
        assert self._code is not None  # workers are known before what they throw
        for node in self.program.tree.find("new_expression", "call_expression", "decorator", "throw_statement"):
            if node.type == "new_expression":
                self._made(node, _imported_as(self.program, part(node, "constructor")))
            elif node.type == "call_expression":
                self._registered(node)
            elif node.type == "decorator":
                self._decorated(node)
            elif "UnrecoverableError" in text(node):
                self._ending(node)

    def _ending(self, node: Node) -> None:
        place = self.program.tree.at(node)
        queue = next((self._code[each.id] for each in above(node) if each.id in self._code), None)
        if queue is None:
            self.found.endings.setdefault(self.program.tree.file.name, place)
        else:
            self.found.endings_of.setdefault(queue, place)

    @cached_property
    def _code(self) -> dict[int, str]:
        """The queues of workers, by the identity of the node in which their code stands."""
        find, found = self.program.tree.find, dict[int, str]()
        functions = {text(each, "name"): each for each in find("function_declaration")}
        functions |= {
            text(each, "name"): value
            for each in find("variable_declarator")
            if (value := part(each, "value")) is not None
        }
        for node in find("new_expression"):
            library, made = _imported_as(self.program, part(node, "constructor"))
            arguments = arguments_of(node)
            if library in _MODULES and made in _WORKERS and len(arguments) > 1:
                queue = _called(self.program.value(arguments[0]), node, self.program)
                code = functions.get(text(arguments[1]), arguments[1])
                found[code.id] = queue
                thrown = _always_thrown(code)
                ending = None if thrown is None else self.program.tree.at(thrown)
                self.found.processors.setdefault(queue, []).append(ending)
        for node in find("decorator"):
            call = next((each for each in node.named_children if each.type == "call_expression"), None)
            if call is not None and node.parent is not None and text(call, "function") == "Processor":
                value = self.program.value(arguments_of(call)[0]) if arguments_of(call) else None
                queue = _called(value.get("name") if isinstance(value, Object) else value, node, self.program)
                found[node.parent.id] = queue
                self.found.processors.setdefault(queue, []).append(None)
        return found

    def _made(self, node: Node, imported: tuple[str, str]) -> None:
        library, made = _MODULES.get(imported[0], ""), imported[1]
        arguments = arguments_of(node)
        if not library or not arguments:
            if text(node, "constructor") == "UnrecoverableError":
                self._ending(node)
            return
        name = self.program.value(arguments[0])
        if made in _QUEUES:
            objects = [self.program.value(each) for each in arguments[1:]]
            options = next((each for each in reversed(objects) if isinstance(each, (Object, Unknown))), None)
            if isinstance(options, Unknown) and (library == "bull" and _URLS.search(text(arguments[-1]))):
                options = None
            self._queue(_called(name, node, self.program), library, node, options)
        elif made in _WORKERS and len(arguments) > 2:
            self._worker(_called(name, node, self.program), self.program.value(arguments[2]))

    def _queue(self, name: str, library: str, node: Node, given: Object | Unknown | None) -> None:
        options = given if isinstance(given, Object) else Object({})
        defaults = options.get("defaultJobOptions")
        if isinstance(given, Unknown):
            defaults = Unknown("", given.why)
        elif unread := [each for each, after in options.unread if "defaultJobOptions" not in after]:
            defaults = Unknown("", shown(unread[0]), defaults)
        queue = Queue(name, library, self.program, node, defaults, options.get("settings"))
        self.found.queues.append(queue)
        if library == "bull" and {"limiter", "settings"} & options.entries.keys():
            self._worker(name, options)
        for variable in {_variable(node), _maker(node)} - {""}:
            self.found.by_variable.setdefault(variable, []).append(queue)

    def _worker(self, queue: str, options: Any) -> None:
        if isinstance(options, Object):
            self.found.workers.setdefault(queue, []).append((self.program, options))

    def _registered(self, node: Node) -> None:
        function = text(node, "function")
        if function == "super":
            self._extended(node)
            return
        around, _, name = function.rpartition(".")
        module = self.program.imports.get(around, ("",))[0]
        if module not in _MODULES:
            return
        if name in _FEATURES:
            for each in arguments_of(node):
                options = self._of_factory(self.program.value(each))
                if isinstance(options, Object):
                    self._queue(_called(options.get("name"), each, self.program), _MODULES[module], each, options)
                    self.found.queues[-1].is_registered = True
        elif name in _ROOTS:
            self.found.has_root = True
            for each in arguments_of(node):
                options = self._of_factory(self.program.value(each))
                defaults = options.get("defaultJobOptions") if isinstance(options, Object) else None
                if isinstance(options, Object) and options.unread and defaults is None:
                    defaults = Unknown("", f"{function}, whose options are worked out")
                if defaults is not None:
                    self.found.roots.append(self.program.tree.at(node, defaults))

    def _extended(self, node: Node) -> None:
        body = next((each for each in above(node) if each.type == "class_declaration"), None)
        heritage = self.program.tree.find("extends_clause", below=body) if body is not None else []
        if heritage and heritage[0].named_children:
            self._made(node, _imported_as(self.program, heritage[0].named_children[0]))

    def _of_factory(self, options: Any) -> Any:
        """Return options with those that their factory returns; it is unread where it cannot be worked out."""
        keys = _FACTORIES & options.entries.keys() if isinstance(options, Object) else set()
        if not keys:
            return options
        entry = options.entries[min(keys)]
        factory = entry.value
        made = factory.program.returned(factory.node, ()) if isinstance(factory, Function) else None
        if isinstance(made, Object):
            return made.over(options)
        return Object(options.entries, ((entry.node, frozenset({"name"})),))

    def _decorated(self, node: Node) -> None:
        call = next((each for each in node.named_children if each.type == "call_expression"), None)
        if call is None:
            return
        name, arguments = text(call, "function"), arguments_of(call)
        if self.program.imports.get(name, ("",))[0] not in _MODULES or not arguments:
            return
        values = [self.program.value(each) for each in arguments]
        if name == "InjectQueue":
            holder = node.parent
            field_of = part(holder, "pattern") or part(holder, "name") if holder else None
            known = [each for each in self.found.queues if each.name == values[0]]
            named = _called(values[0], node, self.program)
            queue = known[0] if known else Queue(named, self.library, self.program, node, is_made_here=False)
            if field_of is not None:
                self.found.by_variable.setdefault(text(field_of), []).append(queue)
        elif name == "Processor":
            queue_name = values[0].get("name") if isinstance(values[0], Object) else values[0]
            self._worker(_called(queue_name, node, self.program), values[-1])


def _always_thrown(code: Node) -> Node | None:
    """Return the UnrecoverableError that a function throws whatever its job is, with nothing before it but logs."""
    body = part(code, "body")
    for each in body.named_children if body is not None else ():
        if each.type == "throw_statement":
            return each if re.match(r"throw\s+new\s+(?:\w+\.)?UnrecoverableError\b", text(each)) else None
        if each.type != "comment" and not re.match(r"(?:console|(?:this\.)?logger)\.\w+\(", text(each)):
            return None
    return None


def _imported_as(program: Program, constructor: Node | None) -> tuple[str, str]:
    around, _, name = text(constructor).rpartition(".")
    if around and (path := program.imports.get(around)):
        return path[0], name
    return program.imports.get(name, ("", ""))


def _variable(node: Node) -> str:
    for around in above(node):
        for key in ("name", "left", "key"):
            if (target := part(around, key)) is not None and around.type in _GIVEN_TO:
                return text(target).rpartition(".")[2]
        if around.type not in _PASSED_THROUGH:
            return ""
    return ""


def _maker(node: Node) -> str:
    """Return the function or method that a queue is made in: what it returns may be that queue."""
    for around in above(node):
        is_value = around.type in ("arrow_function", "function_expression")
        named = around.parent if is_value else around
        if named is not None and named.type in (("variable_declarator",) if is_value else _MAKERS):
            return text(named, "name") + "()"
    return ""


_MAKERS = ("function_declaration", "method_definition")
_GIVEN_TO = frozenset(
    {"variable_declarator", "assignment_expression", "public_field_definition", "field_definition", "pair"}
)
_PASSED_THROUGH = frozenset(
    {"as_expression", "parenthesized_expression", "non_null_expression", "satisfies_expression", "binary_expression"}
)


class _Jobs:
    """Jobs of one file: what is added to a queue, and options that are passed to none in the files given."""

    def __init__(self, program: Program, found: Found) -> None:
        self.program = program
        self.found = found
        self.library = _library(program)

    def collect(self) -> None:
        for node in self.program.tree.find("call_expression"):
            function = part(node, "function")
            if function is None or function.type != "member_expression":
                continue
            verb = text(function, "property")
            if verb in ("add", "addBulk", "upsertJobScheduler", "createJob"):
                self._added(node, verb, part(function, "object"))

    def _added(self, node: Node, verb: str, receiver: Node | None) -> None:
        arguments = arguments_of(node)
        name = _receiver(receiver)
        queue = self._queue(name)
        if name in self._flows and arguments:
            for each in arguments[:1]:
                self._flow(self.program.value(each), node, self.program.value(arguments[1]) if arguments[1:] else None)
            return
        if queue is None:
            options = self._options(arguments)
            if options is None:
                return
            queue = Queue(name or "queue", self.library or "bullmq", self.program, node, is_made_here=False)
        if verb == "addBulk":
            listed = self.program.value(arguments[0]) if arguments else None
            jobs = self._listed(listed, arguments[0]) if arguments else []
            for job in jobs:
                self._job(queue, job.get("name"), node, job.get("opts"))
            return
        if verb == "upsertJobScheduler":
            template = self.program.value(arguments[2]) if len(arguments) > 2 else None
            template = template if isinstance(template, Object) else Object({})
            self._job(queue, template.get("name"), node, template.get("opts"))
            return
        first = self.program.value(arguments[0]) if arguments else None
        if queue.library == "bull":
            is_named = isinstance(first, str) or (isinstance(first, Unknown) and len(arguments) > 2)
            self._job(queue, first if is_named else None, node, self._value(arguments, 2 if is_named else 1))
        else:
            self._job(queue, first, node, self._value(arguments, 2))

    def _value(self, arguments: Sequence[Node], place: int) -> Any:
        return self.program.value(arguments[place]) if len(arguments) > place else None

    def _listed(self, listed: Any, node: Node) -> list[Object]:
        if isinstance(listed, list) and all(isinstance(each, Object) for each in listed):
            return listed
        if node.type == "identifier":  # const jobs = rows.map((row) => ({ name, data, opts }))
            made = self.program.tree.find("variable_declarator")
            node = next((each for each in made if text(each, "name") == text(node)), node)
        functions = self.program.tree.find("arrow_function", below=node)
        jobs = [self.program.returned(each, ()) for each in functions[:1]]
        unread = self.program.tree.at(node, Unknown("", f"{shown(node)}: jobs that are made elsewhere"))
        return [each for each in jobs if isinstance(each, Object)] or [Object({"opts": unread})]

    def _options(self, arguments: Sequence[Node]) -> Object | None:
        """Return what can only be a job's options: the last argument of a call in a file that imports the library."""
        value = self.program.value(arguments[-1]) if self.library and arguments else None
        return value if isinstance(value, Object) and "attempts" in value.entries else None

    def _queue(self, variable: str) -> Queue | None:
        """Return the queue that a variable holds: of this file, else of the one that it is imported from."""
        named = self.found.by_variable.get(variable, [])[: NAMESAKES_MAX + 1]
        named = [each for each in named if each.program is self.program]
        if not named and variable in self.program.imports:
            path, wanted = self.program.imports[variable]
            named = self._imported(path, wanted, variable)
        if not named and variable in self._called:
            return self._queue(self._called[variable])
        if not named and variable.endswith("()") and variable[:-2] in self.program.imports:
            named = self.found.by_variable.get(self.program.imports[variable[:-2]][1] + "()", [])
        if len(named) > NAMESAKES_MAX:
            return None
        return named[0] if len({each.name for each in named}) == 1 else None

    def _imported(self, path: str, wanted: str, variable: str) -> list[Queue]:
        is_whole = wanted in ("default", "*")
        for program in self.program.all.of_path(self.program.tree.file, path, variable if is_whole else wanted):
            node = program.exported.get("default" if is_whole else wanted)
            own = [each for each in self.found.queues if each.program is program]
            made = [each for each in own if node is not None and each.node.id == node.id]
            name = text(node) if node is not None and node.type == "identifier" else wanted
            if found := made or [each for each in self.found.by_variable.get(name, []) if each.program is program]:
                return found
        return [] if is_whole else self.found.by_variable.get(wanted, [])  # a file may hand on what others export

    @cached_property
    def _flows(self) -> set[str]:
        made = {
            _variable(each)
            for each in self.program.tree.find("new_expression")
            if _imported_as(self.program, part(each, "constructor"))[1] in _FLOWS
        }
        return made | set(re.findall(r"\b(\w+)[!?]?: ?FlowProducer\b", self.program.tree.file.text))

    @cached_property
    def _called(self) -> dict[str, str]:
        """The function that gives each variable its value: ``const queue = await getQueue()``."""
        return {each[1]: f"{each[2]}()" for each in _CALLED.finditer(self.program.tree.file.text)}

    def _flow(self, flow: Any, node: Node, options: Any) -> None:
        queues = options.get("queuesOptions") if isinstance(options, Object) else None
        waiting = [flow]
        while waiting:
            job = waiting.pop(0)
            if not isinstance(job, Object):
                continue
            name = _called(job.get("queueName"), node, self.program)
            settings = queues.get(name) if isinstance(queues, Object) else None
            defaults = settings.get("defaultJobOptions") if isinstance(settings, Object) else None
            place = job.entries["name"].node if "name" in job.entries else node
            queue = Queue(name, "bullmq", self.program, place, defaults)  # a flow leaves out the queue's own defaults
            self._job(queue, job.get("name"), place, job.get("opts"), always=True)
            children = job.get("children")
            waiting += children if isinstance(children, list) else []

    def _job(self, queue: Queue, name: Any, node: Node, options: Any, *, always: bool = False) -> None:
        said = isinstance(options, Object) and (bool(_RETRIES & options.entries.keys()) or bool(options.unread))
        said = said or isinstance(options, Unknown)
        if not said and not always:
            queue.jobs += 1
            if queue.is_made_here:
                return
        own = name if isinstance(name, str) and name != "__default__" else str(line(node))
        self.found.jobs.append(Job(f"{queue.name}:{own}", queue, self.program, node, options))


def _loose_options(program: Program, found: Found) -> None:
    """Take in options of jobs that are passed to no queue in the files, as in a file of constants."""
    passed = [each for queue in found.queues for each in (queue.options, queue.settings)]
    passed += [*(job.options for job in found.jobs), *(root.value for root in found.roots)]
    passed += [each.otherwise for each in passed if isinstance(each, Unknown)]
    used = {entry.node.id for each in passed if isinstance(each, Object) for entry in each.entries.values()}
    for node in program.tree.find("object"):
        keys = {string(part(each, "key")): each for each in node.named_children if each.type == "pair"}
        if not {"attempts", "backoff"} <= keys.keys() or used & {each.id for each in keys.values()}:
            continue
        name = _variable(node)
        if name in program.changed:
            continue
        name = name or f"{PurePosixPath(program.tree.file.name).stem}:{line(node)}"
        queue = Queue(name, _library(program), program, node, program.value(node), is_loose=True)
        if not any(each.type in ("formal_parameters", "object_type") for each in above(node)):
            found.queues.append(queue)


def _receiver(node: Node | None) -> str:
    """Return the variable, or the function with its brackets, that a method is called of."""
    while node is not None and node.type in ("await_expression", "parenthesized_expression", "non_null_expression"):
        node = node.named_children[0]
    if node is not None and node.type == "call_expression":
        return text(node, "function").rpartition(".")[2] + "()"
    return text(node).rpartition(".")[2].rstrip("!?")

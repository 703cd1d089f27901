"""What statements of JavaScript and TypeScript declare, import and name, by their syntax alone."""

from __future__ import annotations

from pathlib import PurePosixPath

from tree_sitter import Node

from simulation.importing.source import SourceFile
from simulation.importing.syntax_trees import part, text

SUFFIXES = frozenset({".js", ".ts", ".mjs", ".cjs", ".mts", ".cts", ".jsx", ".tsx"})


def language(file: SourceFile) -> str:
    """Return the grammar of a file: angle brackets are types in one and tags in the other."""
    return "typescript" if file.suffix in (".ts", ".mts", ".cts") else "tsx"


def child(node: Node, name: str) -> Node:
    """Return the part of a node with this name; the node itself where it has none."""
    return part(node, name) or node


def declarations(node: Node) -> list[tuple[str, Node]]:
    """Return the names that a statement declares, with the node of each value."""
    found = []
    for each in node.named_children if node.type in ("lexical_declaration", "variable_declaration") else ():
        name, value = part(each, "name"), part(each, "value")
        if name is not None and value is not None and name.type == "identifier":
            found.append((text(name), value))
    if node.type in ("function_declaration", "enum_declaration"):
        value = node if node.type == "function_declaration" else part(node, "body")
        found += [(text(node, "name"), value)] if value is not None else []
    if node.type == "export_statement" and (value := part(node, "value")) is not None:
        found.append(("default", value))
    if node.type == "expression_statement" and node.named_children[0].type == "assignment_expression":
        left, value = (part(node.named_children[0], each) for each in ("left", "right"))
        name_text = text(left)
        if value is not None and name_text.startswith(("exports.", "module.exports.")):
            found.append((name_text.rpartition(".")[2], value))
        if value is not None and name_text == "module.exports":
            found.append(("default", value))
            pairs = [each for each in value.named_children if each.type == "pair"] if value.type == "object" else []
            found += [(text(child(each, "key")), child(each, "value")) for each in pairs]
    return found


def required(node: Node) -> str:
    """Return the module of ``require('bull')`` and ``await import('bullmq')``; empty for any other expression."""
    node = node.named_children[0] if node.type == "await_expression" and node.named_children else node
    node = part(node, "object") or node if node.type == "member_expression" else node
    if node.type != "call_expression" or text(node, "function") not in ("require", "import"):
        return ""
    arguments = part(node, "arguments")
    return string(arguments.named_children[0]) if arguments is not None and arguments.named_children else ""


def string(node: Node | None) -> str:
    """Return the text of a string literal, or of a name."""
    if node is None:
        return ""
    return text(node)[1:-1] if node.type == "string" else text(node)


def without_suffix(name: str) -> str:
    path = PurePosixPath(name)
    return str(path.with_suffix("")) if path.suffix in SUFFIXES else str(path)


def stem(name: str) -> str:
    return PurePosixPath(without_suffix(name)).name


def joined(folder: PurePosixPath, path: str) -> str:
    """Return the name, without its ending, that a relative import means from a folder."""
    parts = list(folder.parts)
    for each in PurePosixPath(without_suffix(path)).parts:
        if each == "..":
            parts = parts[:-1]
        elif each != ".":
            parts.append(each)
    return str(PurePosixPath(*parts))

"""The shim is small, and needs nothing but Python: what is privileged must be readable."""

import ast
import io
import sys
import tokenize
from pathlib import Path

import wraith_tun

FOLDER = Path(wraith_tun.__file__).parent
PURE = {"packets", "flows", "dns"}
PURE_IMPORTS = {"struct", "enum", "typing", "collections", "dataclasses", "re", "ipaddress"}
MOST_LINES = 1364
"""Of code; docs/architecture/tun-shim.md says where they go."""


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            found.add(node.module or "")
    return found


def lines_of_code(path: Path) -> int:
    """Lines that are neither blank, nor comment, nor docstring."""
    text = path.read_text()
    documented: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        body = getattr(node, "body", None)
        for part in body if isinstance(body, list) else []:
            if isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant):
                assert part.end_lineno is not None
                documented |= set(range(part.lineno, part.end_lineno + 1))
    silent = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    used: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in silent and token.type != tokenize.ENDMARKER:
            used |= set(range(token.start[0], token.end[0] + 1))
    return len(used - documented)


def test_only_the_standard_library_is_imported() -> None:
    for path in FOLDER.glob("*.py"):
        roots = {name.partition(".")[0] for name in imports(path)}
        assert roots <= sys.stdlib_module_names | {"wraith_tun"}, path.name


def test_what_is_pure_touches_nothing() -> None:
    for name in PURE:
        allowed = PURE_IMPORTS | {f"wraith_tun.{other}" for other in PURE}
        found = {
            module if module.startswith("wraith_tun") else module.partition(".")[0]
            for module in imports(FOLDER / f"{name}.py")
        }
        assert found <= allowed, name


def test_it_can_be_read_in_an_afternoon() -> None:
    sizes = {path.name: lines_of_code(path) for path in FOLDER.glob("*.py")}
    assert sum(sizes.values()) <= MOST_LINES, sizes
    assert max(sizes.values()) <= 180, sizes

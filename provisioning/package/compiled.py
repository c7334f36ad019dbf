"""Compile every module beneath a folder, in place: `python compiled.py LEVEL FOLDER PREFIX`.

LEVEL is 0 (as written) or 2 (no assertions, no docstrings: `python -OO`). Of our own modules only the commands, which
show them, keep their docstrings: each process would carry 0.3 MB of them for good. Nor do our own say of what type
anything is: that was checked before, nothing asks for it at run time, and it would be as much again. The compiled files
say PREFIX where the folder is now, and are never compared with their source, so that dates do not matter. A process of
its own with a fixed hash seed: what else a process has loaded can show in the bytes.
"""

import ast
import sys
from importlib import util
from importlib._bootstrap_external import _code_to_hash_pyc  # type: ignore[attr-defined]  # what py_compile writes with
from pathlib import Path


class Untyped(ast.NodeTransformer):
    """Takes annotations away, those of fields of a NamedTuple aside."""

    def visit_arg(self, node: ast.arg) -> ast.AST:
        """Leave a parameter its name."""
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """Leave out what is returned, and go on inside."""
        node.returns = None
        return self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        """Go on inside, but where the fields are made from annotations."""
        named = any(isinstance(base, ast.Name) and base.id == "NamedTuple" for base in node.bases)
        return node if named else self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        """Leave the plain assignment, or nothing to be done."""
        if node.value is None:
            return ast.copy_location(ast.Pass(), node)
        return ast.copy_location(ast.Assign(targets=[node.target], value=self.visit(node.value)), node)


def main(level: str, folder: str, prefix: str) -> None:
    """Compile in sorted order; a module that does not compile ends everything."""
    root = Path(folder)
    mark = ".opt-2" if level == "2" else ""
    for path in sorted(root.rglob("*.py")):
        target = path.parent / "__pycache__" / f"{path.stem}.{sys.implementation.cache_tag}{mark}.pyc"
        inside = path.relative_to(root).as_posix()
        shown = f"{prefix}/{inside}"
        bare = inside.startswith("agent/") and not inside.startswith("agent/cli/")
        source = path.read_bytes()
        parsed = ast.parse(source, shown)
        made = ast.fix_missing_locations(Untyped().visit(parsed)) if bare else parsed
        code = compile(made, shown, "exec", dont_inherit=True, optimize=2 if bare else int(level))
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(_code_to_hash_pyc(code, util.source_hash(source), False))


if __name__ == "__main__":
    main(*sys.argv[1:])

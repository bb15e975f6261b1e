#!/usr/bin/env python3
"""Holds the table of docs/architecture.md against the #include lines of the tree.

    layering.py [ROOT]

Prints one line a trespass, as a compiler would, and exits with 1 if there is one.
"""
import os
import re
import sys

GROUND = {"lib/Support"}
MAY_INCLUDE = {
    "lib/Support": set(),
    "lib/Artifact": GROUND | {"lib/Target"},
    "lib/Target": GROUND,
    "runtime": GROUND | {"lib/Artifact", "lib/Target"},
    "dialects": GROUND,
    "lib/Analysis": GROUND | {"dialects"},
    "lib/Interpreter": GROUND | {"dialects", "lib/Analysis"},
    "passes": GROUND | {"dialects", "lib/Analysis", "lib/Interpreter"},
    "codegen": GROUND | {"dialects", "lib/Analysis", "lib/Interpreter", "lib/Artifact", "lib/Target"},
    "frontends": GROUND | {"dialects", "lib/Analysis"},
    "lib/Compiler": GROUND | {"dialects", "lib/Analysis", "lib/Interpreter", "lib/Artifact", "lib/Target", "passes", "codegen", "frontends"},
    "lib/Workbench": None,  # sees everything below it
    "tools": None,
    "test": None,
}
NO_MLIR = {"lib/Support", "lib/Artifact", "lib/Target", "runtime"}
# Only lib/Workbench and tools may see both the compiler and the runtime.
INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]')


def room_of(path):
    """'include/llmopt/lib/Support/Json.h' and 'lib/Support/Json.cpp' -> 'lib/Support'."""
    parts = path.split("/")
    if parts[:2] == ["include", "llmopt"]:
        parts = parts[2:]
    elif parts[0] == "llmopt":
        parts = parts[1:]
    if parts[0] == "lib":
        return "/".join(parts[:2])
    return parts[0] if parts[0] in MAY_INCLUDE else None


def check(root):
    trespasses = []
    for folder in ("include", "lib", "dialects", "passes", "codegen", "runtime", "frontends"):
        for base, _, files in os.walk(os.path.join(root, folder)):
            for name in sorted(files):
                if name.endswith((".h", ".cpp", ".td", ".c")):
                    trespasses += check_file(root, os.path.relpath(os.path.join(base, name), root))
    return trespasses


def check_file(root, path):
    room = room_of(path)
    allowed = MAY_INCLUDE.get(room)
    found = []
    with open(os.path.join(root, path), encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            match = INCLUDE.match(line)
            if not match:
                continue
            target = match.group(1)
            if room in NO_MLIR and re.match(r"(mlir|llvm|lld|clang)/", target):
                found.append(f"{path}:{number}: '{room}' may not include '{target}'")
            other = room_of(target)
            if other and other != room and allowed is not None and other not in allowed:
                found.append(f"{path}:{number}: '{room}' may not include '{target}'")
    return found


if __name__ == "__main__":
    problems = check(sys.argv[1] if len(sys.argv) > 1 else ".")
    print("\n".join(problems) if problems else "layering: every include is allowed")
    sys.exit(1 if problems else 0)

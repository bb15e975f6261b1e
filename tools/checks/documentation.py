#!/usr/bin/env python3
"""Is what the documentation says about the sources true?   documentation.py [root]

* docs/errors.md lists every error code of the sources, and no other.
* docs/Environment.md lists every LLMOPT_ variable that the sources read, and no other.
* README.md names every architecture of frontends/hf/architectures, and no other.
* Every test that docs/BadInput.md names exists, and every row that the scripts there print is in its table.
* A block of code marked `<!-- same-as: FILE -->` is a part of that file, word for word.
* Every path of the repository that a page names in backquotes exists (but for docs/rationale).
"""
import glob
import os
import re
import sys

ROOT = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "..", ".."))
ROOMS = ["include", "lib", "dialects", "passes", "codegen", "runtime", "frontends", "tools"]
problems = []


def read(name):
    with open(os.path.join(ROOT, name), encoding="utf-8") as file:
        return file.read()


def sources(rooms, *endings):
    for room in rooms:
        for ending in endings:
            for path in glob.glob(os.path.join(ROOT, room, "**", "*" + ending), recursive=True):
                yield os.path.relpath(path, ROOT), read(path)


def errors():
    listed = re.findall(r"^\| (E\d{4}) \|", read("docs/errors.md"), re.M)
    used = {}
    for name, text in sources(ROOMS, ".cpp", ".h"):
        for code in re.findall(r'"(E\d{4})"|\[(E\d{4})\]', re.sub(r"//.*", "", text)):
            used.setdefault(code[0] or code[1], name)
    used.pop("E0400", None)  # a bound, not a code
    problems.extend(f"{used[code]}: {code} is not in docs/errors.md" for code in sorted(set(used) - set(listed)))
    problems.extend(f"docs/errors.md: no source has {code}" for code in sorted(set(listed) - set(used)))
    problems.extend(f"docs/errors.md: {code} is there twice" for code in sorted({c for c in listed if listed.count(c) > 1}))


def environment():
    listed = set(re.findall(r"`(LLMOPT_[A-Z_]+)`", read("docs/Environment.md")))
    used = set()
    for _, text in sources(ROOMS, ".cpp", ".h"):
        used.update(re.findall(r'(?:getenv|envname|findProgram)\("(LLMOPT_[A-Z_]+)"', text))
    problems.extend(f"docs/Environment.md: {name} is not there" for name in sorted(used - listed))
    problems.extend(f"docs/Environment.md: no source reads {name}" for name in sorted(listed - used))


def architectures():
    there = {os.path.basename(path)[:-5] for path in glob.glob(os.path.join(ROOT, "frontends/hf/architectures/*.json"))} - {"common"}
    count, names = re.search(r"(\d+) architectures: ([\w\s,-]+)\. An architecture", read("README.md")).groups()
    listed = names.replace(",", " ").split()
    if sorted(listed) != sorted(there) or int(count) != len(there):
        problems.append(f"README.md: {len(there)} architectures are there; not listed: {sorted(there - set(listed))}, only listed: {sorted(set(listed) - there)}")


def bad_input():
    table = read("docs/BadInput.md")
    rows = dict(re.findall(r"^\| ([A-F]\d\d) \|.*\| ([^|]+) \|$", table, re.M))
    cases = set()
    for _, text in sources(["test"], ".cpp"):
        cases.update(f"{suite}.{case}" for suite, case in re.findall(r"^TEST(?:_F|_P)?\((\w+), (\w+)\)", text, re.M))
    scripts = {}
    for name, text in sources(["test/integration/bad_input"], ".py"):
        scripts[os.path.basename(name)[:-3]] = set(re.findall(r'"([ABDE]\d\d|F0\d)"', text))
    for row, tests in rows.items():
        for test in tests.split(", "):
            known = row in scripts[test] if test in scripts else test.split("/")[-1] in cases
            if not known:
                problems.append(f"docs/BadInput.md: row {row}: there is no test {test}")
        for script in scripts:
            if row in scripts[script] and script not in tests.split(", "):
                problems.append(f"docs/BadInput.md: row {row} does not name {script}")
    problems.extend(f"test/integration/bad_input/{name}.py: row {row} is not in docs/BadInput.md"
                    for name, found in scripts.items() for row in sorted(found - set(rows)))


def pages():
    names = glob.glob(os.path.join(ROOT, "docs", "**", "*.md"), recursive=True) + [os.path.join(ROOT, n) for n in ("README.md", "CONTRIBUTING.md")]
    for path in sorted(names):
        name, text = os.path.relpath(path, ROOT), read(path)
        for file, block in re.findall(r"<!-- same-as: (\S+) -->\s*```\w*\n(.*?)```", text, re.S):
            if not os.path.exists(os.path.join(ROOT, file)) or block.strip() not in read(file):
                problems.append(f"{name}: the block is not in {file}")
        if name.startswith("docs/rationale"):
            continue  # also tells what was left or is to come
        for quoted in re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.S)):
            if re.fullmatch(r"(%s|test|docs)/[\w./-]+" % "|".join(ROOMS), quoted) and not glob.glob(os.path.join(ROOT, quoted + "*")):
                problems.append(f"{name}: there is no {quoted}")


errors()
environment()
architectures()
bad_input()
pages()
for problem in problems:
    print(problem)
print(f"documentation: {len(problems)} problems" if problems else "documentation: agrees with the sources")
sys.exit(1 if problems else 0)

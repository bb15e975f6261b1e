#!/usr/bin/env python3
# llmopt-test: quick
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Builds the reference that TableGen generates, and looks for every operation, attribute and pass in it, each with a summary."""
import glob
import os
import re
import subprocess
import sys

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
BUILD = os.environ.get("LLMOPT_BUILD", os.path.join(ROOT, "build"))


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def check(name, problems):
    print(f"FAIL {name} {'; '.join(problems[:10])}" if problems else f"PASS {name}")
    return bool(problems)


done = subprocess.run(["cmake", "--build", BUILD, "--target", "llmopt-docs"], capture_output=True, text=True)
failed = check("llmopt-docs", [done.stdout[-1000:]] if done.returncode else [])
if failed:
    sys.exit(1)
for dialect, folder in (("llm", "LLM"), ("exec", "Exec"), ("strategy", "Strategy")):
    page = read(os.path.join(BUILD, "docs", dialect + ".md"))
    # What the compiler registers: TableGen's C++ output, not the sources of the page.
    code = "".join(read(path) for path in glob.glob(os.path.join(BUILD, "include", "llmopt", "dialects", folder, "*.h.inc")))
    wanted = set(re.findall(r'StringLiteral(?:\(| name = )"(%s\.\w+)"' % dialect, code))
    headings = set(re.findall(r"^### `(%s\.\w+)`" % dialect, page, re.M))
    missing = [name for name in sorted(wanted) if name not in headings and f"#{name}<" not in page]
    missing += [f"{name} has no summary" for name in sorted(headings)
                if not re.search(r"^### `%s` \(.*\)\n+_\S.*_$" % re.escape(name), page, re.M)]
    failed |= check(f"dialect_{dialect}", missing if wanted else ["no names found"])
passes = re.findall(r'def \w+ : Pass<"([\w-]+)"', read(os.path.join(ROOT, "include", "llmopt", "passes", "Passes.td")))
page = read(os.path.join(BUILD, "docs", "passes.md"))
failed |= check("passes", [name for name in passes if not re.search(r"^### `-%s`\n+_\S.*_$" % name, page, re.M)] if passes else ["none found"])
sys.exit(1 if failed else 0)

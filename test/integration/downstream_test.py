#!/usr/bin/env python3
# llmopt-test: quick
"""Installs the runtime, builds the downstream project from the install tree alone, runs it on a toy artifact, and looks for
LLVM in it."""
import os
import re
import subprocess
import sys
import tempfile

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "downstream")
BUILD = os.environ.get("LLMOPT_BUILD", os.path.join(SOURCE, "..", "..", "..", "build"))
PROGRAMS = os.path.join(BUILD, "test", "bin")


def fail(reason):
    print("FAIL downstream", reason)
    sys.exit(1)


def run(*command, env=None):
    done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ, **(env or {})))
    if done.returncode != 0:
        fail(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


if not os.path.exists(os.path.join(PROGRAMS, "llmopt-write-toys")):
    print("SKIP downstream: the build has no toy artifacts")
    sys.exit(0)
with tempfile.TemporaryDirectory(prefix="llmopt-downstream-") as folder:
    tree, work, toys = (os.path.join(folder, name) for name in ("tree", "work", "toys"))
    run("cmake", "--install", BUILD, "--prefix", tree, "--component", "runtime")
    # Moved, so that no path of the build can be in use.
    os.rename(tree, tree + "-moved")
    run("cmake", "-S", SOURCE, "-B", work, f"-DCMAKE_PREFIX_PATH={tree}-moved", "-DCMAKE_BUILD_TYPE=Release")
    run("cmake", "--build", work)
    run(os.path.join(PROGRAMS, "llmopt-write-toys"), env={"LLMOPT_TOY_FOLDER": toys})
    artifact = os.path.join(toys, "text-decoder.llmopt")
    texts = {run(os.path.join(work, program), artifact, "w1 w2 w3") for program in ("complete", "complete-c")}
    if len(texts) != 1 or not re.fullmatch(r"w1 w2 w3( w\d+)+\n", texts.pop()):
        fail(f"unexpected text: {texts}")
    program = os.path.join(work, "complete")
    found = [line for line in run("nm", "-C", program).splitlines() if re.search(r"\b(llvm|mlir)::|LLVM", line)]
    found += [line for line in run("ldd", program).splitlines() if "LLVM" in line or "MLIR" in line]
    if found:
        fail("LLVM in a program that only runs models:\n" + "\n".join(found[:10]))
    with open(os.path.join(SOURCE, "complete.cpp"), encoding="utf-8") as file:
        length = len(file.readlines())
    if length > 45:
        fail(f"the example has {length} lines; it promises to be short")
print("PASS downstream")

#!/usr/bin/env python3
"""Installs the runtime, builds the downstream project from the install tree alone, runs it on a toy artifact, and looks for
LLVM in it.   downstream_test.py BUILD_FOLDER SOURCE_FOLDER C_COMPILER CXX_COMPILER"""
import os
import re
import subprocess
import sys
import tempfile

build, source, c_compiler, cxx_compiler = sys.argv[1:5]


def run(*command, env=None):
    done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ, **(env or {})))
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


with tempfile.TemporaryDirectory(prefix="llmopt-downstream-") as folder:
    tree, work, toys = (os.path.join(folder, name) for name in ("tree", "work", "toys"))
    run("cmake", "--install", build, "--prefix", tree, "--component", "runtime")
    # Moved, so that no path of the build can be in use.
    os.rename(tree, tree + "-moved")
    run("cmake", "-S", os.path.join(source, "downstream"), "-B", work, f"-DCMAKE_PREFIX_PATH={tree}-moved", "-DCMAKE_BUILD_TYPE=Release",
        f"-DCMAKE_C_COMPILER={c_compiler}", f"-DCMAKE_CXX_COMPILER={cxx_compiler}")
    run("cmake", "--build", work)
    run(os.path.join(build, "test", "bin", "llmopt-write-toys"), env={"LLMOPT_TOY_FOLDER": toys})
    artifact = os.path.join(toys, "text-decoder.llmopt")
    texts = {run(os.path.join(work, program), artifact, "w1 w2 w3") for program in ("complete", "complete-c")}
    if len(texts) != 1 or not re.fullmatch(r"w1 w2 w3( w\d+)+\n", texts.pop()):
        sys.exit(f"unexpected text: {texts}")
    program = os.path.join(work, "complete")
    found = [line for line in run("nm", "-C", program).splitlines() if re.search(r"\b(llvm|mlir)::|LLVM", line)]
    found += [line for line in run("ldd", program).splitlines() if "LLVM" in line or "MLIR" in line]
    if found:
        sys.exit("LLVM in a program that only runs models:\n" + "\n".join(found[:10]))
    length = len(open(os.path.join(source, "downstream", "complete.cpp")).read().splitlines())
    if length > 45:
        sys.exit(f"the example has {length} lines; it promises to be short")
print("ok")

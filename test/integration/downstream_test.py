#!/usr/bin/env python3
# llmopt-test: quick
"""Builds the downstream project from the install tree alone. With the runtime component: runs it on a toy artifact, and looks
for LLVM in it. With the compiler component as well: compiles a model through the C++ API and runs what came out."""
import os
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "bad_input"))
import harness  # its tiny model

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "downstream")
BUILD = os.environ.get("LLMOPT_BUILD", os.path.join(SOURCE, "..", "..", "..", "build"))
PROGRAMS = os.path.join(BUILD, "test", "bin")


def fail(reason):
    print("FAIL downstream", reason)
    sys.exit(1)


def install(component, tree):
    """Moved afterwards, so that no path of the build can be in use."""
    run("cmake", "--install", BUILD, "--prefix", tree + "-before", "--component", component)
    run("cp", "-a", tree + "-before/.", tree)
    run("rm", "-r", tree + "-before")


def build(tree, work, *options):
    run("cmake", "-S", SOURCE, "-B", work, f"-DCMAKE_PREFIX_PATH={tree}", "-DCMAKE_BUILD_TYPE=Release", *options)
    run("cmake", "--build", work)


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
    os.makedirs(tree)
    install("runtime", tree)
    build(tree, work)
    run(os.path.join(PROGRAMS, "llmopt-write-toys"), env={"LLMOPT_TOY_FOLDER": toys})
    artifact = os.path.join(toys, "text-decoder.llmopt")
    texts = {run(os.path.join(work, program), artifact, "w1 w2 w3") for program in ("complete", "complete-c")}
    if len(texts) != 1 or not re.fullmatch(r"w1 w2 w3( w\d+)+\n", texts.pop()):
        fail(f"unexpected text: {texts}")
    answers = run(os.path.join(work, "serve"), artifact, "w1 w2 w3", "3").splitlines()
    if len(answers) != 3 or not all(re.fullmatch(r"w1 w2 w3( w\d+)+", answer) for answer in answers):
        fail(f"unexpected answers: {answers}")
    program = os.path.join(work, "complete")
    found = [line for line in run("nm", "-C", program).splitlines() if re.search(r"\b(llvm|mlir)::|LLVM", line)]
    found += [line for line in run("ldd", program).splitlines() if "LLVM" in line or "MLIR" in line]
    if found:
        fail("LLVM in a program that only runs models:\n" + "\n".join(found[:10]))
    with open(os.path.join(SOURCE, "complete.cpp"), encoding="utf-8") as file:
        length = len(file.readlines())
    if length > 45:
        fail(f"the example has {length} lines; it promises to be short")
    print("PASS downstream_runtime")
    if not os.path.exists(os.path.join(BUILD, "lib", "libLLMOptCompiler.a")):
        print("SKIP downstream_compiler: the build has no compiler")
        sys.exit(0)
    install("compiler", tree)
    build(tree, work, "-DWITH_COMPILER=ON")
    artifact = os.path.join(folder, "made.llmopt")
    with harness.llama() as model:
        run(os.path.join(work, "compile"), model, artifact)
    text = run(os.path.join(work, "complete"), artifact, "ab")
    if not re.fullmatch(r"ab.*\n", text, re.S):
        fail(f"unexpected text: {text!r}")
    bad = subprocess.run([os.path.join(work, "compile"), SOURCE, artifact], capture_output=True, text=True)
    if bad.returncode != 1 or "config.json" not in bad.stderr:
        fail(f"compiling a folder without a model: exit {bad.returncode}\n{bad.stderr}")
print("PASS downstream_compiler")

#!/usr/bin/env python3
# llmopt-test: quick
"""A fusion of somebody else: tools/new-fusion writes a plugin folder, an install tree builds it, llmopt-opt and llmopt-compile load it; it
takes part in --explain, --verify-rewrites, --disable-fusion and --require-fusion, and the artifact is the one that a model written with
softplus itself gives. In a copy of the tree's lists, new-fusion adds one file and one line."""
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
BUILD = os.environ["LLMOPT_BUILD"]
FUSED = """
func.func @main(%x: tensor<4x8xf32> {llm.name = "x"}) -> (tensor<4x8xf32> {llm.name = "y"}) {
  %y = llm.softplus %x : tensor<4x8xf32> loc("/gate/Log")
  return %y : tensor<4x8xf32>
}
"""
WRITTEN_OUT = """
func.func @main(%x: tensor<4x8xf32> {llm.name = "x"}) -> (tensor<4x8xf32> {llm.name = "y"}) {
  %one = llm.constant dense<1.0> : tensor<f32>
  %e = llm.exp %x : tensor<4x8xf32>
  %s = llm.add %e, %one : tensor<4x8xf32>, tensor<f32> -> tensor<4x8xf32> loc("/gate/Add")
  %y = llm.log %s : tensor<4x8xf32> loc("/gate/Log")
  return %y : tensor<4x8xf32>
}
"""
failures = 0


def run(*command):
    return subprocess.run(command, capture_output=True, text=True)


def check(name, condition, done=None):
    global failures
    failures += not condition
    print(("PASS " if condition else "FAIL ") + name + ("" if condition or done is None else f": exit {done.returncode}\n{done.stdout}{done.stderr}"))
    return condition


def tool(name, *arguments):
    return run(os.path.join(BUILD, "bin", name), *arguments)


def plugin(folder):
    source, tree, work = (os.path.join(folder, name) for name in ("gate", "tree", "work"))
    done = run(os.path.join(ROOT, "tools", "new-fusion"), "fuse-gate", "--out-of-tree", source)
    check("new-fusion writes a plugin folder", done.returncode == 0 and sorted(os.listdir(source)) ==
          ["CMakeLists.txt", "FuseGate.cpp", "README.md", "fuse-gate.mlir"], done)
    for component in ("runtime", "compiler"):
        done = run("cmake", "--install", BUILD, "--prefix", tree, "--component", component)
        if done.returncode:
            return check("install tree", False, done)
    os.rename(tree, tree + "-moved")  # so that no path of the build can be in use
    done = run("cmake", "-S", source, "-B", work, f"-DCMAKE_PREFIX_PATH={tree}-moved", "-DCMAKE_BUILD_TYPE=Release", "-DCMAKE_CXX_COMPILER=clang++-22",
               "-DCMAKE_C_COMPILER=clang-22")
    done = run("cmake", "--build", work) if done.returncode == 0 else done
    if not check("builds against the install tree", done.returncode == 0, done):
        return
    library = os.path.join(work, "fuse-gate.so")
    load = f"--load-pass-plugin={library}"
    done = tool("llmopt-opt", load, os.path.join(source, "fuse-gate.mlir"), "--llmopt-fuse=only=fuse-gate verify=true")
    check("fires in llmopt-opt", done.returncode == 0 and done.stdout.count("llm.softplus") == 1, done)

    models = {}
    for name, text in (("fused", FUSED), ("written-out", WRITTEN_OUT), ("other", WRITTEN_OUT.replace("dense<1.0>", "dense<2.0>"))):
        models[name] = os.path.join(folder, name + ".mlir")
        with open(models[name], "w") as file:
            file.write(text)
    out = os.path.join(folder, "m.llmopt")

    def compile(model, *flags):
        return tool("llmopt-compile", *flags, models[model], "-o", out, "--progress=none")

    done = compile("written-out", load, "--explain", "--verify-rewrites", "--require-fusion=fuse-gate:1")
    check("fires in llmopt-compile, explained and replayed", done.returncode == 0 and "passed fuse-gate at '/gate/Log'" in done.stdout and
          "Replayed = 1, Skipped = 0" in done.stdout, done)
    code = lambda: hashlib.sha256(open(out, "rb").read()).hexdigest()
    with_plugin = code()
    compile("fused")
    check("the artifact is the same as of llm.softplus: nothing of the plugin is in it", code() == with_plugin)
    done = compile("other", load, "--explain=fuse-gate")
    check("a near miss is explained", "blocked by llm.add '/gate/Add'" in done.stdout and "[OtherConstant]" in done.stdout, done)
    done = compile("written-out", load, "--disable-fusion=fuse-gate", "--require-fusion=fuse-gate")
    check("can be switched off and required", done.returncode == 5, done)
    done = compile("written-out", "--load-pass-plugin=/nonexistent.so")
    check("a missing plugin is an error", done.returncode == 1 and "E0307" in done.stderr, done)
    done = compile("written-out", load, load)
    check("a name that is taken is an error", done.returncode == 2 and "E0309" in done.stderr, done)


def in_tree(folder):
    tree = os.path.join(folder, "copy")
    os.makedirs(os.path.join(tree, "passes", "Fusion"))
    listing = os.path.join(tree, "passes", "Fusion", "Patterns.def")
    shutil.copy(os.path.join(ROOT, "passes", "Fusion", "Patterns.def"), listing)
    before = open(listing).read().splitlines()
    done = run(os.path.join(ROOT, "tools", "new-fusion"), "fuse-gate", "--tree", tree)
    added = [line for line in open(listing).read().splitlines() if line not in before]
    check("in the tree: one line", done.returncode == 0 and added == ['LLMOPT_FUSION(FuseGate, "fuse-gate", 1, "log(1 + exp(x)) -> softplus")'], done)
    text = open(os.path.join(tree, "passes", "Fusion", "FuseGate.cpp")).read()
    check("in the tree: one file", "void addFuseGate(RewritePatternSet &patterns)" in text and "Plugin" not in text)
    done = run("clang++-22", "-std=c++20", "-fsyntax-only", "-Wall", "-Werror", "-Wno-unused-parameter", "-I" + os.path.join(ROOT, "include"),
               "-I" + os.path.join(BUILD, "include"), "-I" + ROOT, "-isystem", "/usr/lib/llvm-22/include",
               os.path.join(tree, "passes", "Fusion", "FuseGate.cpp"))
    check("in the tree: compiles", done.returncode == 0, done)
    done = run(os.path.join(ROOT, "tools", "new-fusion"), "fuse-gate", "--tree", tree)
    check("not twice", done.returncode == 2, done)
    check("no strange names", run(os.path.join(ROOT, "tools", "new-fusion"), "Fuse_Gate", "--tree", tree).returncode == 2)


with tempfile.TemporaryDirectory(prefix="llmopt-plugin-") as folder:
    plugin(folder)
    in_tree(folder)
sys.exit(1 if failures else 0)

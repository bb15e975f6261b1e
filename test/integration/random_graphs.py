#!/usr/bin/env python3
# llmopt-test: quick
"""Random graphs: -O0, -O3 and the reference interpreter agree (LLMOPT_RANDOM_GRAPHS and LLMOPT_RANDOM_SEED say how many, from which
seed); llmopt-reduce makes a failing graph small and keeps the failure."""
import os
import re
import subprocess
import sys
import tempfile

BUILD = os.environ["LLMOPT_BUILD"]
COUNT = os.environ.get("LLMOPT_RANDOM_GRAPHS", "60")
SEED = os.environ.get("LLMOPT_RANDOM_SEED", "1")
REDUCE = os.path.join(BUILD, "bin", "llmopt-reduce")
failures = 0


def run(*command):
    return subprocess.run(command, capture_output=True, text=True)


def check(name, condition, done):
    global failures
    failures += not condition
    print(("PASS " if condition else "FAIL ") + name + ("" if condition else f": exit {done.returncode}\n{done.stdout}{done.stderr}"))


if not os.path.exists(REDUCE):
    print("SKIP random graphs: no llmopt-reduce in this build")
    sys.exit(0)
with tempfile.TemporaryDirectory(prefix="llmopt-random-") as folder:
    done = run(REDUCE, "--random", COUNT, "--seed", SEED, "-o", folder, "--keep-going", "--jobs", str(os.cpu_count()))
    compared = re.search(r"(\d+) graphs, 0 failed, (\d+) overflow or are rounding alone", done.stdout)
    check(f"{COUNT} random graphs", done.returncode == 0 and compared and int(compared.group(2)) * 10 <= int(compared.group(1)), done)

    # A tolerance nothing can meet makes every graph a failure; the smallest that has rounding at all is a single operation.
    small = os.path.join(folder, "small.mlir")
    done = run(REDUCE, "--random", "1", "--seed", "12", "-o", folder, "--tolerance", "1e-12")
    reduced = os.path.join(folder, "graph-12-reduced.mlir")
    whole = open(os.path.join(folder, "graph-12.mlir")).read() if os.path.exists(reduced) else ""
    text = open(reduced).read() if whole else ""
    operations = len(re.findall(r"= llm\.(?!constant)", text))
    check("a failing graph is reduced", done.returncode == 5 and 1 <= operations <= 2 and len(re.findall(r"= llm\.(?!constant)", whole)) > 5, done)
    done = run(REDUCE, reduced, "-o", small, "--tolerance", "1e-12")
    check("what was reduced still fails", done.returncode == 0 and "E051" in done.stderr, done)
    done = run(REDUCE, reduced, "-o", small)
    check("what does not fail is refused", done.returncode == 2 and "E0515" in done.stderr, done)

    # Graph 6413 takes the norm of (x + 0.5) - x: rounding alone, which no compiler must reproduce.
    done = run(REDUCE, "--random", "1", "--seed", "6413", "-o", folder)
    check("rounding alone is no failure", done.returncode == 0 and "1 graphs, 0 failed, 1 overflow or are rounding alone" in done.stdout, done)

    # Any command can decide: here, whether a softmax is left.
    model = os.path.join(folder, "model.mlir")
    with open(model, "w") as file:
        file.write("""func.func @main(%x: tensor<4x8xf32> {llm.name = "x"}) -> (tensor<4x8xf32> {llm.name = "y"}) {
  %a = llm.tanh %x : tensor<4x8xf32>
  %b = llm.softmax %a {axis = 1 : i64} : tensor<4x8xf32>
  %c = llm.neg %b : tensor<4x8xf32>
  %d = llm.exp %c : tensor<4x8xf32>
  return %d : tensor<4x8xf32>
}
""")
    done = run(REDUCE, model, "-o", small, "--test", "! grep -q llm.softmax {}")
    text = open(small).read() if done.returncode == 0 else ""
    check("a test command decides", re.findall(r"llm\.\w+ %", text) == ["llm.softmax %"], done)
sys.exit(1 if failures else 0)

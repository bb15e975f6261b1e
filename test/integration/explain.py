#!/usr/bin/env python3
# llmopt-test: quick
"""--explain, --remarks-* and --require-fusion of llmopt-compile: what is said, in which form, with which exit status."""
import json
import os
import re
import subprocess
import sys
import tempfile

BUILD = os.environ["LLMOPT_BUILD"]
MODEL = """
func.func @main(%x: tensor<4x8xf32> {llm.name = "x"}, %z: tensor<4x8xf32> {llm.name = "z"}) -> (tensor<4x8xf32> {llm.name = "y"}, tensor<4x8xf32> {llm.name = "w"}) {
  %root = llm.constant dense<1.41421354> : tensor<f32>
  %third = llm.constant dense<1.3> : tensor<f32>
  %one = llm.constant dense<1.0> : tensor<f32>
  %half = llm.constant dense<0.5> : tensor<f32>
  %d = llm.div %x, %root : tensor<4x8xf32>, tensor<f32> -> tensor<4x8xf32>
  %e = llm.erf %d : tensor<4x8xf32>
  %g = llm.add %e, %one : tensor<4x8xf32>, tensor<f32> -> tensor<4x8xf32>
  %m = llm.mul %x, %g : tensor<4x8xf32>, tensor<4x8xf32> -> tensor<4x8xf32>
  %y = llm.mul %m, %half : tensor<4x8xf32>, tensor<f32> -> tensor<4x8xf32> loc("/act/Mul_1")
  %d2 = llm.div %z, %third : tensor<4x8xf32>, tensor<f32> -> tensor<4x8xf32>
  %e2 = llm.erf %d2 : tensor<4x8xf32> loc("/other/Erf")
  %g2 = llm.add %e2, %one : tensor<4x8xf32>, tensor<f32> -> tensor<4x8xf32>
  %m2 = llm.mul %z, %g2 : tensor<4x8xf32>, tensor<4x8xf32> -> tensor<4x8xf32>
  %w = llm.mul %m2, %half : tensor<4x8xf32>, tensor<f32> -> tensor<4x8xf32> loc("/other/Mul_1")
  return %y, %w : tensor<4x8xf32>, tensor<4x8xf32>
}
"""
failures = 0


def check(name, condition, shown=""):
    global failures
    failures += not condition
    print(("PASS " if condition else "FAIL ") + name + ("" if condition else ": " + str(shown)[:600]))


with tempfile.TemporaryDirectory() as folder:
    model, out = os.path.join(folder, "m.mlir"), os.path.join(folder, "m.llmopt")
    with open(model, "w") as file:
        file.write(MODEL)

    def compile(*flags):
        return subprocess.run([os.path.join(BUILD, "bin", "llmopt-compile"), *flags, model, "-o", out, "--progress=none"], capture_output=True, text=True)

    text = compile("--explain").stdout
    check("made", "passed fuse-gelu at '/act/Mul_1' (llm.mul -> llm.gelu)" in text, text)
    check("missed with blocker, reason and remedy",
          re.search(r"missed fuse-gelu at '/other/Mul_1' \(llm\.mul\)\n +blocked by llm\.erf '/other/Erf': .*\[OtherConstant\]\n +change: ", text), text)
    check("kernels", "analysis strategy" in text and "Family = loops" in text, text)
    only = compile("--explain=/other/Erf").stdout
    check("expression chooses", "fuse-gelu at '/other/Mul_1'" in only and "/act/Mul_1" not in only, only)
    remarks = json.loads(compile("--explain", "--remarks-format=json", "--remarks-filter=fusion").stdout)
    check("JSON", {r["kind"] for r in remarks} == {"passed", "missed"} and all(r["category"] == "fusion" for r in remarks), remarks)
    path = os.path.join(folder, "r.yaml")
    compile("--remarks-output", path, "--remarks-format=yaml")
    yaml = open(path).read()
    check("YAML", "--- !Missed\nPass: 'fusion'\nName: 'fuse-gelu'\n" in yaml and yaml.count("--- !") == yaml.count("\n..."), yaml)
    check("silent by default", compile().stdout == "")
    done = compile("--require-fusion=fuse-gelu:1")
    check("required and made", done.returncode == 0, done.stderr)
    os.remove(out)
    done = compile("--require-fusion=fuse-gelu:2")
    check("required and missed: exit status 5, nothing written", done.returncode == 5 and "E0551" in done.stderr and not os.path.exists(out), done)
    check("unknown fusion: usage", compile("--require-fusion=fuse-nothing").returncode == 2)
    check("joins are said", re.search(r"passed join-producers at '.*' \(llm\.\w+ -> llm\.\w+\)\n +RootNode = .*, Joined = ", text), text)
    check("joins are counted", compile("--require-fusion=join-producers:1").returncode == 0)
    done = compile("--require-fusion=join-producers:99")
    check("too few joins: verification", done.returncode == 5 and "E0551" in done.stderr and "required 99" in done.stderr, done.stderr)
    check("no joins at -O0", compile("-O0", "--require-fusion=join-producers").returncode == 5)
    check("joins are left out by name", compile("--disable-fusion=join-producers", "--require-fusion=join-producers").returncode == 5)
    check("bad expression: usage", compile("--explain=(").returncode == 2)
sys.exit(1 if failures else 0)

#!/usr/bin/env python3
# llmopt-test: quick
"""What llmopt-compile writes besides artifacts: files that LLVM's own tools read, the IR of each phase, nothing with --dry-run; and options that contradict each other."""
import json
import os
import subprocess
import sys
import tempfile

BUILD = os.environ["LLMOPT_BUILD"]
LLVM = "/usr/lib/llvm-22/bin"
# Two kinds of kernels, with LLVM's loop optimizer and without it, in more functions than one of its modules takes.
LAYERS = 20
MODEL = "func.func @main(%x0: tensor<3x8xf32> {llm.name = \"x\"}) -> (tensor<3x8xf32> {llm.name = \"y\"}) {\n"
for i in range(LAYERS):
    MODEL += f"""  %w{i} = llm.constant dense<0.{i + 1}> : tensor<8x{i + 9}xf32>
  %v{i} = llm.constant dense<0.{i + 1}> : tensor<{i + 9}x8xf32>
  %h{i} = llm.matmul %x{i}, %w{i} : tensor<3x8xf32>, tensor<8x{i + 9}xf32> -> tensor<3x{i + 9}xf32>
  %g{i} = llm.softmax %h{i} {{axis = 1 : i64}} : tensor<3x{i + 9}xf32>
  %x{i + 1} = llm.matmul %g{i}, %v{i} : tensor<3x{i + 9}xf32>, tensor<{i + 9}x8xf32> -> tensor<3x8xf32>
"""
MODEL += f"  return %x{LAYERS} : tensor<3x8xf32>\n}}\n"
failures = 0


def check(name, condition, shown=""):
    global failures
    failures += not condition
    print(("PASS " if condition else "FAIL ") + name + ("" if condition else ": " + str(shown)[:600]), flush=True)


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, **options)
    return done.returncode, done.stdout, done.stderr


with tempfile.TemporaryDirectory(prefix="llmopt-outputs-") as folder:
    def at(name):
        return os.path.join(folder, name)

    def compile(output, *flags, **options):
        return run(os.path.join(BUILD, "bin", "llmopt-compile"), at("m.mlir"), "-o", at(output), "--target=x86-64-v3", "--progress=none", *flags, **options)

    def refused(name, text, *flags, output="no"):
        code, out, errors = compile(output, *flags)
        check(name, code == 2 and not out and "error[E0321]" in errors and text in errors and (output != "no" or not os.path.exists(at("no"))), f"exit {code}: {errors}")

    with open(at("m.mlir"), "w") as file:
        file.write(MODEL)

    code, out, errors = compile("no", "--target=native", env=dict(os.environ, LLMOPT_CPU="z80"))
    check("a processor that is not known", code == 2 and not out and "error[E0301]" in errors and "LLMOPT_CPU" in errors and not os.path.exists(at("no")), errors)

    # One file each, in which the tools of LLVM find every kernel of the artifact.
    check("artifact", compile("m.llmopt")[0] == 0)
    code, text, errors = run(os.path.join(BUILD, "bin", "llmopt-inspect"), at("m.llmopt"), "--stages", "--json")

    def names(value):
        if isinstance(value, dict):
            return ({value["kernel"]} if isinstance(value.get("kernel"), str) else set()).union(*map(names, value.values()))
        return set().union(*map(names, value)) if isinstance(value, list) else set()
    kernels = names(json.loads(text))
    check("kernels", len(kernels) > 16, kernels)

    def defined(path):
        return set(run(os.path.join(LLVM, "llvm-nm"), "--defined-only", "--format=just-symbols", path)[1].split())
    for kind, tool in (("obj", None), ("asm", ["clang", "-c", "-x", "assembler"]), ("llvm", ["clang", "-c", "-x", "ir", "-Wno-override-module"]), ("mlir", None)):
        code, _, errors = compile("out." + kind, "--emit=" + kind)
        check("emit " + kind, code == 0, errors)
        if tool:
            code, _, errors = run(os.path.join(LLVM, tool[0]), *tool[1:], at("out." + kind), "-o", at(kind + ".o"))
            check(f"emit {kind}: read by {tool[0]}", code == 0, errors)
        if kind == "mlir":
            code, text, errors = run(os.path.join(LLVM, "mlir-opt"), at("out.mlir"))
            check("emit mlir: read by mlir-opt", code == 0 and all(f"@{kernel}(" in text for kernel in kernels), errors)
        else:
            found = defined(at("out.obj" if kind == "obj" else kind + ".o"))
            check(f"emit {kind}: all kernels", kernels <= found, kernels - found)
    code, _, errors = run(os.path.join(LLVM, "ld.lld"), "-shared", at("out.obj"), "-o", at("out.so"))
    check("emit obj: linked", code == 0, errors)

    # Every phase has its IR, and it can be shown by itself.
    check("dump", compile("m.llmopt", "--dump-dir", at("phases"))[0] == 0)
    wanted = {"0-import", "1-canonical", "2-fused", "3-planned", "4-strategy-x86-64-v3", "5-lowered-x86-64-v3"}
    check("dump: phases", {name + ".mlir" for name in wanted} == set(os.listdir(at("phases"))), os.listdir(at("phases")))
    for phase, words in (("import", "llm.softmax"), ("canonical", "llm.softmax"), ("fused", "llm.softmax"), ("planned", "exec.kernel"), ("strategy", "#strategy."),
                         ("lowered", "func.func")):
        code, _, errors = compile(phase + ".mlir", "--compile-to=" + phase)
        text = open(at(phase + ".mlir")).read() if code == 0 else ""
        check("compile to " + phase, words in text and (phase != "lowered" or "llm." not in text), errors or text)
    check("lowered is what --emit=mlir shows", open(at("lowered.mlir")).read() == open(at("out.mlir")).read())

    for flags in ([], ["--compile-to=fused"], ["--compile-to=strategy"], ["--emit=asm"]):
        code, _, errors = compile("dry", "--dry-run", *flags)
        check("dry run " + " ".join(flags), code == 0 and not os.path.exists(at("dry")), errors)
    code, _, errors = compile("dry", "--dry-run", "--report", at("report.json"))
    check("dry run with a report", code == 0 and len(json.load(open(at("report.json")))["entries"][0]["stages"]) > 16, errors)

    refused("phase and kind of file", "ask for different outputs", "--compile-to=fused", "--emit=asm")
    refused("two targets in one file", "2 are given (x86-64-v3, x86-64)", "--emit=asm", "--target=x86-64")
    refused("two targets in one module", "name one --target", "--compile-to=strategy", "--target=x86-64")
    refused("report of half a compilation", "ends before", "--compile-to=fused", "--report", at("r.html"))
    refused("dimensions without names", "--dim is for the named dimensions of ONNX files", "--dim", "n=3")
    refused("output over the model", "take the place of the model", output="m.mlir")
    check("the model is as it was", open(at("m.mlir")).read() == MODEL)
    code, _, errors = run(os.path.join(BUILD, "bin", "llmopt-compile"), at("m.mlir"), "--tagret", "native")
    check("nearest flag", code == 2 and "did you mean --target?" in errors, errors)
    check("one target twice is one", compile("twice.s", "--emit=asm", "--target=x86-64-v3")[0] == 0)
sys.exit(1 if failures else 0)

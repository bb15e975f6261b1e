#!/usr/bin/env python3
# llmopt-test: long
# llmopt-packages: numpy onnx onnxruntime
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""ONNX Runtime's own test models: every stored data set at -O0 and -O3, and what must or must not be fused.

    ort_models.py [--only REGEX] [--skip-data]

Data: LLMOPT_TEST_DATA/ort-models. Tolerances are those of its SOURCE.md: 1e-5, and 1e-2 where half precision or 8-bit numbers are computed with.
A case may be refused by name (UNSUPPORTED) if ort_models_refused.tsv says why; it may never differ. Where ort_models_unstable.tsv lists a case,
its stored answer is shown to be rounding noise and ONNX Runtime's answer for other weights takes its place. ort_models_fusions.tsv sorts each row of
the data's expected_ops.tsv: `must` and `must-not` rows are counted in the IR after phase Fused, `ort-only` rows have a reason.
"""
import argparse
import collections
import os
import re
import subprocess
import sys
import tempfile

import onnx

import ort_unstable

HERE = os.path.dirname(os.path.abspath(__file__))
BIN = os.path.join(os.environ.get("LLMOPT_BUILD", "build"), "bin")
T = onnx.TensorProto
NARROW = {T.FLOAT16, T.BFLOAT16, T.INT8, T.UINT8}


def rows(path, columns):
    with open(path) as f:
        for line in f:
            if not line.startswith("#") and line.strip():
                fields = line.rstrip("\n").split("\t")
                assert len(fields) == columns, f"{path}: {line!r} has {len(fields)} fields, expected {columns}"
                yield fields


def graphs(graph):
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in [attribute.g, *attribute.graphs]:
                if inner.node:
                    yield from graphs(inner)


def computes_narrow(path):
    model = onnx.load(path, load_external_data=False)
    for graph in graphs(model.graph):
        types = [v.type.tensor_type.elem_type for v in [*graph.input, *graph.output, *graph.value_info]]
        types += [t.data_type for t in graph.initializer]
        types += [a.t.data_type for n in graph.node for a in n.attribute if a.HasField("t")]
        types += [a.i for n in graph.node if n.op_type == "Cast" for a in n.attribute if a.name == "to"]
        if NARROW & set(types):
            return True
    return False


def check_data(cases, refused):
    """Runs cases in groups of one tolerance; number of failures."""
    failures = 0
    groups = collections.defaultdict(list)
    for name, folder in cases.items():
        groups[1e-2 if computes_narrow(os.path.join(folder, "model.onnx")) else 1e-5].append(folder)
    names = {folder: name for name, folder in cases.items()}
    for level in ("0", "3"):
        counts = collections.Counter()
        for tolerance, folders in groups.items():
            command = [os.path.join(BIN, "llmopt-eval"), "onnx-suite", *folders, "-O", level, "-j", "2", "--rtol", str(tolerance), "--atol", str(tolerance)]
            text = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, errors="replace").stdout
            found = {}
            for line in text.splitlines():
                fields = line.split(" ", 2)
                if len(fields) > 1 and fields[1] in ("PASS", "FAIL", "UNSUPPORTED"):
                    found[fields[0]] = (fields[1], fields[2] if len(fields) > 2 else "")
            for folder in folders:
                name = names[folder]
                outcome, reason = found.get(os.path.basename(folder), ("FAIL", "nothing was printed"))
                if outcome == "PASS" and name in refused:
                    outcome, reason = "FAIL", "it passes now: remove its row from ort_models_refused.tsv"
                if outcome != "PASS" and name in refused and re.search(refused[name][0], reason):
                    outcome = "REFUSED"
                counts[outcome] += 1
                if outcome in ("PASS", "REFUSED"):
                    print(f"PASS {name} at -O{level}: {'within tolerance' if outcome == 'PASS' else 'refused as listed'}")
                else:
                    print(f"FAIL {name} at -O{level}: {reason or outcome}")
                    failures += 1
        print(f"-O{level}: {counts['PASS']} of {len(cases)} cases within tolerance, {counts['REFUSED']} refused as listed")
    return failures


def replace_unstable(cases, temporary):
    """Cases with drawn weights in place of those whose answers are noise; number of failures."""
    failures = 0
    for name, _, _ in rows(os.path.join(HERE, "ort_models_unstable.tsv"), 3):
        if name not in cases:
            continue
        model, inputs, stored = ort_unstable.read(cases[name])
        moved = ort_unstable.moved(model, inputs, stored)
        listed = moved > 1e-5 and not computes_narrow(os.path.join(cases[name], "model.onnx"))
        print(f"{'PASS' if listed else 'FAIL'} {name}: one unit in the last place moves ONNX Runtime's answer by {moved:.1e}")
        failures += not listed
        cases[name] = os.path.join(temporary, os.path.basename(name))
        ort_unstable.drawn(model, inputs, cases[name])
    return failures


def fused_ops(folder, temporary):
    path = os.path.join(temporary, "fused.mlir")
    command = [os.path.join(BIN, "llmopt-compile"), os.path.join(folder, "model.onnx"), "-O3", "--compile-to=fused", "-q", "--no-tokenizer", "-o", path]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        return None, done.stderr.strip().split("\n")[0]
    with open(path) as f:
        text = f.read()
    counts = collections.Counter(re.findall(r"= llm\.(\w+)", text))
    counts["gelu_tanh"] = len(re.findall(r"= llm\.gelu .*\{tanh\}", text))
    return counts, ""


def check_fusions(data, only):
    failures, sorted_rows = 0, collections.Counter()
    wanted = [(r[0], r[2]) for r in rows(os.path.join(data, "expected_ops.tsv"), 4)]
    table = list(rows(os.path.join(HERE, "ort_models_fusions.tsv"), 5))
    if sorted(wanted) != sorted((r[0], r[1]) for r in table):
        missing = set(wanted) - {(r[0], r[1]) for r in table}
        print(f"FAIL ort_models_fusions.tsv has other rows than expected_ops.tsv; missing: {sorted(missing)}")
        failures += 1
    with tempfile.TemporaryDirectory() as temporary:
        for model, transformers, verdict, counts, reason in table:
            sorted_rows[verdict] += 1
            if verdict == "ort-only":
                failures += not reason
                continue
            if not re.search(only, model):
                continue
            found, error = fused_ops(os.path.join(data, model), temporary)
            problem = error
            for count in counts.split() if found is not None else ():
                op, number = count.split("=")
                if found[op] != int(number):
                    problem = f"llm.{op} is there {found[op]} times, expected {number}"
            print(f"{'FAIL' if problem else 'PASS'} {model} ({transformers}, {verdict}){': ' + problem if problem else ''}")
            failures += bool(problem)
    print("fusions: " + ", ".join(f"{n} {verdict}" for verdict, n in sorted(sorted_rows.items())))
    return failures


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", default="", help="regular expression on FAMILY/NAME")
    parser.add_argument("--skip-data", action="store_true", help="fusions alone")
    args = parser.parse_args()
    data = os.path.join(os.environ.get("LLMOPT_TEST_DATA", ""), "ort-models")
    if not os.path.exists(os.path.join(data, "expected_ops.tsv")):
        print("SKIP ort-models no ort-models in LLMOPT_TEST_DATA")
        return 0
    failures = check_fusions(data, args.only)
    if not args.skip_data:
        refused = {name: (pattern, reason) for name, pattern, reason in rows(os.path.join(HERE, "ort_models_refused.tsv"), 3)}
        cases = {}
        for family in sorted(os.listdir(data)):
            folder = os.path.join(data, family)
            if os.path.isdir(folder) and family != "generation":
                for case in sorted(os.listdir(folder)):
                    if os.path.exists(os.path.join(folder, case, "test_data_set_0")) and re.search(args.only, f"{family}/{case}"):
                        cases[f"{family}/{case}"] = os.path.join(folder, case)
        with tempfile.TemporaryDirectory() as temporary:
            failures += replace_unstable(cases, temporary)
            failures += check_data(cases, refused)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

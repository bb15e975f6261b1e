#!/usr/bin/env python3
# llmopt-test: quick
# llmopt-packages: numpy onnx
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Rows A of docs/BadInput.md through llmopt-compile, and each file of ONNX Runtime's malformed models."""
import os

import numpy as np
import onnx
from onnx import TensorProto, helper

from harness import DATA, accepted, compile_accepted, compile_refused, compiled, execute, finish, folder, path_of, program, refused, report

FLOAT = TensorProto.FLOAT


def value(name, *shape, dtype=FLOAT):
    return helper.make_tensor_value_info(name, dtype, shape)


def model(nodes, inputs=None, outputs=None, initializers=(), functions=(), opsets=None, name="graph"):
    graph = helper.make_graph(nodes, name, inputs or [value("x", "n", 4)], outputs or [value("y", "n", 4)], list(initializers))
    opsets = [helper.make_opsetid("", 17)] if opsets is None else opsets
    made = helper.make_model(graph, opset_imports=opsets or None, functions=list(functions), ir_version=9)
    if not opsets:
        del made.opset_import[:]
    return made


def node(op, inputs, outputs, **attributes):
    return helper.make_node(op, inputs, outputs, **attributes)


def tensor(name, dims, dtype=FLOAT, raw=b""):
    made = TensorProto(name=name, data_type=dtype, raw_data=raw)
    made.dims.extend(dims)
    return made


def with_weight(*arguments):
    return model([node("Add", ["x", "w"], ["y"])], initializers=[tensor("w", *arguments)])


GOOD = with_weight([4], FLOAT, bytes(16))


def check(row, name, made, wanted, *texts, **kwargs):
    """Status 0: it must compile."""
    with folder() as where:
        data = made if isinstance(made, bytes) else made.SerializeToString()
        path = path_of(where, "model.onnx", data)
        if wanted:
            compile_refused(row, name, path, wanted, *texts, **kwargs)
        else:
            compile_accepted(row, name, path, **kwargs)


def files():
    check("A01", "empty", b"", 1, "file is empty (0 bytes)", "model.onnx")
    big = with_weight([4], FLOAT, bytes(16))
    big.graph.initializer.append(tensor("unused", [5000], FLOAT, bytes(20000)))
    data = big.SerializeToString()
    for cut in range(1024, len(data), 4096):
        check("A02", f"cut_{cut}", data[:cut], 1, "truncated or corrupt protobuf at byte")
    with folder() as where:
        path = path_of(where, "model.onnx", GOOD.SerializeToString())
        os.truncate(path, (1 << 31) + 1)
        compile_refused("A05", "over_2_GiB", path, 1, "external data", memory=False)


def field(number, data):
    """A length-delimited field, in protobuf's wire format."""
    def varint(n):
        return bytes([n]) if n < 128 else bytes([n & 127 | 128]) + varint(n >> 7)
    return varint(number << 3 | 2) + varint(len(data)) + data


def nested(depth):
    """An If in an If, each on a constant, so that the branch is known. In bytes: Python's protobuf stops at a depth of its own."""
    def graph(nodes):
        return nodes + field(12, value("r", "n", 4).SerializeToString())

    def branch(name, inside):
        return field(5, field(1, name) + field(6, inside) + b"\xa0\x01\x05")
    inner = graph(field(1, node("Abs", ["x"], ["r"]).SerializeToString()))
    other = graph(field(1, node("Neg", ["x"], ["r"]).SerializeToString()))
    for _ in range(depth):
        inner = graph(field(1, node("If", ["c"], ["r"]).SerializeToString() + branch(b"then_branch", inner) + branch(b"else_branch", other)))
    constant = field(5, tensor("c", [], TensorProto.BOOL, b"\1").SerializeToString())
    return b"\x08\x09" + field(7, inner + constant + field(11, value("x", "n", 4).SerializeToString())) + field(8, b"\x10\x11")


def graphs():
    check("A04", "depth_33", nested(33), 0)
    for depth in (34, 400):
        check("A04", f"depth_{depth}", nested(depth), 1, "subgraph nesting exceeds 33")
    abs_node = node("Abs", ["x"], ["y"])
    check("A07", "no_opset", model([abs_node], opsets=[]), 1, "opset_import is missing")
    check("A07", "opset_twice", model([abs_node], opsets=[helper.make_opsetid("", 17)] * 2), 1, "twice")
    check("A07", "domain", model([node("Abs", ["x"], ["y"], domain="org.example", name="here")],
                                 opsets=[helper.make_opsetid("", 17), helper.make_opsetid("org.example", 1)]), 3, "org.example", "here")
    check("A08", "undefined", model([node("Add", ["x", "ghost"], ["y"], name="sum")]), 1, "'ghost'", "'sum'")
    check("A08", "twice", model([node("Abs", ["x"], ["y"], name="one"), node("Neg", ["x"], ["y"], name="two")]), 1, "'y'", "'one'", "'two'")
    check("A08", "cycle", model([node("Add", ["x", "b"], ["y"], name="one"), node("Abs", ["y"], ["b"], name="two")]), 1, "cycle", "one", "two")
    check("A10", "same_names", model([node("Abs", ["x"], ["a"], name="n"), node("Neg", ["a"], ["y"], name="n")]), 0)
    check("A10", "no_names", model([node("Abs", ["x"], ["a"]), node("Ghost", ["a"], ["y"])]), 3, "node #1")
    unknown = GOOD.SerializeToString() + b"\xfa\x3e\x05hello"  # field 1007
    check("A29", "unknown_field", unknown, 0)
    overload = node("Abs", ["x"], ["y"])
    overload.overload = "odd"
    check("A29", "overload", model([overload]), 3, "overload 'odd'")
    for op, attributes, constants in (("Expand", {}, [("s", [1 << 40])]), ("Tile", {}, [("s", [1, 1 << 40])])):
        source = model([node("ConstantOfShape", ["one"], ["c"]), node(op, ["c", "s"], ["e"], **attributes), node("ReduceSum", ["e"], ["r"], keepdims=0),
                        node("Add", ["x", "r"], ["y"])],
                       initializers=[helper.make_tensor("one", TensorProto.INT64, [1 if op == "Expand" else 2], [1] if op == "Expand" else [1, 1])] +
                       [helper.make_tensor(n, TensorProto.INT64, [len(v)], v) for n, v in constants])
        bounded("A25", op.lower() + "_bomb", source)
    scalars = [helper.make_tensor(n, TensorProto.INT64, [], [v]) for n, v in (("zero", 0), ("many", 1 << 40), ("one", 1))]
    bounded("A25", "range_bomb", model([node("Range", ["zero", "many", "one"], ["r"]), node("Cast", ["r"], ["f"], to=FLOAT),
                                        node("ReduceSum", ["f"], ["s"], keepdims=0), node("Add", ["x", "s"], ["y"])], initializers=scalars))


def bounded(row, name, made):
    """Compiles or is refused, in little memory; what it compiles to fails with a limit, not for want of memory."""
    with folder() as where:
        path, artifact = path_of(where, "model.onnx", made.SerializeToString()), path_of(where, "a.llmopt")
        command = [program("compile"), path, "-o", artifact, "-O2", "--target", "x86-64", "--progress", "none"]
        status, _, err, memory = execute(command)
        if status:
            refused(row, name, command, status, "bytes" if status == 4 else "", given=16 << 20)
            return
        np.save(os.path.join(where, "x.npy"), np.zeros((1, 4), np.float32))
        refused(row, name, [program("run"), artifact, "--input", f"x=@{where}/x.npy"], 4, given=16 << 20)


def large_graphs():
    last, nodes = "x", []
    for i in range(20000):
        nodes.append(node("Abs" if i % 2 else "Neg", [last], [f"v{i}"]))
        last = f"v{i}"
    nodes[-1].output[0] = "y"
    check("A26", "deep_chain", model(nodes), 0)
    fan = [node("Add", ["x", "x"], ["s"])] + [node("Neg", ["s"], [f"v{i}"]) for i in range(5000)] + [node("Sum", [f"v{i}" for i in range(5000)], ["y"])]
    check("A26", "fan_out", model(fan), 0)


def weights():
    check("A11", "negative", with_weight([-1, 4], FLOAT, bytes(16)), 1, "negative", "'w'")
    check("A11", "overflow", with_weight([1 << 40, 1 << 40], FLOAT, bytes(16)), 1, "overflow")
    check("A11", "rank", with_weight([1] * 70, FLOAT, bytes(4)), 1, "rank 70 > 32")
    check("A13", "undefined", with_weight([4], 0, bytes(16)), 1, "UNDEFINED")
    check("A13", "type_999", with_weight([4], 999, bytes(16)), 1, "data type 999")
    check("A13", "string", with_weight([4], TensorProto.STRING, b""), 3, "STRING")
    check("A14", "int4_short", with_weight([5], TensorProto.INT4, bytes(2)), 1, "the data has 2 bytes, the shape needs 3")
    nbits = [value("x", 1, 64)]

    def quantized(blob, scales, k=64, **attributes):
        attributes = dict({"K": k, "N": 4, "bits": 4, "block_size": 32}, **attributes)
        return model([node("MatMulNBits", ["x", "b", "s"], ["y"], domain="com.microsoft", **attributes)], nbits, [value("y", 1, 4)],
                     [tensor("b", list(blob.shape), TensorProto.UINT8, blob.tobytes()), tensor("s", list(scales.shape), FLOAT, scales.tobytes())],
                     opsets=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)])
    blob, scales = np.arange(4 * 2 * 16, dtype=np.uint8).reshape(4, 2, 16), np.full((4, 2), 0.25, np.float32)
    check("A22", "good", quantized(blob, scales), 0)
    check("A22", "block_24", quantized(blob, scales, block_size=24), 1, "block_size is 24")
    check("A22", "bits_3", quantized(blob, scales, bits=3), 1, "bits is 3")
    check("A22", "k_mismatch", quantized(blob, scales, k=96), 1, "MatMulNBits")
    check("A22", "b_short", quantized(blob[:, :, :15], scales), 1, "MatMulNBits")
    check("A22", "prepacked", quantized(blob, scales, weight_prepacked=2), 3, "export them again without prepacking")
    odd = np.array([[np.nan, 1], [np.inf, 0], [-0.5, 1e-40], [0, 0]], np.float32)
    scales_run(quantized(blob, odd), blob, odd)


def scales_run(made, blob, scales):
    """Row A23: whatever the scales are, y = x (q - 8) s."""
    with folder() as where:
        path, artifact = path_of(where, "model.onnx", made.SerializeToString()), path_of(where, "a.llmopt")
        x = np.linspace(-1, 1, 64, dtype=np.float32).reshape(1, 64)
        codes = np.stack([blob & 15, blob >> 4], -1).reshape(4, 2, 32).astype(np.float32)
        with np.errstate(all="ignore"):
            y = x @ ((codes - 8) * scales[:, :, None]).reshape(4, 64).T
        np.save(os.path.join(where, "x.npy"), x)
        np.save(os.path.join(where, "y.npy"), y)
        status, _, err, _ = execute([program("compile"), path, "-o", artifact, "-O2", "--progress", "none"])
        report("A23", "compile", err if status else None)
        accepted("A23", "odd_scales", [program("run"), artifact, "--input", f"x=@{where}/x.npy", "--expected", f"y=@{where}/y.npy"])


def external():
    def case(row, name, entries, wanted, *texts, prepare=None, flags=()):
        made = with_weight([4])
        weight = made.graph.initializer[0]
        weight.ClearField("raw_data")
        weight.data_location = TensorProto.EXTERNAL
        for key, text in entries.items():
            weight.external_data.add(key=key, value=text)
        with folder() as where:
            inside = os.path.join(where, "model")
            path_of(where, "outside.bin", bytes(64))
            path_of(inside, "w.bin", bytes(64))
            path = path_of(inside, "model.onnx", made.SerializeToString())
            if prepare:
                prepare(inside)
            if wanted:
                compile_refused(row, name, path, wanted, *texts)
            else:
                compile_accepted(row, name, path, says="".join(texts))
    link = lambda target, name: lambda inside: os.symlink(target, os.path.join(inside, name))
    case("A16", "symlink", {"location": "l.bin"}, 1, "E0102", "l.bin", prepare=link("w.bin", "l.bin"))
    case("A16", "symlink_outside", {"location": "l.bin"}, 1, "E0102", prepare=link("../outside.bin", "l.bin"))
    case("A16", "parent_symlink", {"location": "d/outside.bin"}, 1, "E0102", prepare=link("..", "d"))
    case("A16", "hard_link", {"location": "l.bin", "length": "16"}, 0, "hard link",
         prepare=lambda inside: os.link(os.path.join(inside, "w.bin"), os.path.join(inside, "l.bin")))
    case("A16", "dot_dot", {"location": "../outside.bin"}, 1, "..")
    case("A16", "absolute", {"location": "/etc/passwd"}, 1, "/etc/passwd")
    for text in ("-1", "9223372036854775808", "12abc"):
        case("A17", f"offset_{text}", {"location": "w.bin", "offset": text}, 1, "external data offset")
        case("A17", f"length_{text}", {"location": "w.bin", "length": text}, 1, "external data length")
    case("A17", "beyond", {"location": "w.bin", "offset": "60", "length": "16"}, 1, "which has 64 bytes")
    case("A17", "unaligned", {"location": "w.bin", "offset": "3", "length": "16"}, 0)
    case("A19", "checksum", {"location": "w.bin", "length": "16", "checksum": "0" * 40}, 5, "checksum")


def functions():
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]

    def function(name, nodes):
        return helper.make_function("local", name, ["a"], ["b"], nodes, [opsets[0], opsets[1]])
    call = lambda name, a, b: node(name, [a], [b], domain="local")
    check("A20", "recursive", model([call("f", "x", "y")], functions=[function("f", [call("f", "a", "b")])], opsets=opsets), 1, "f->f")
    check("A20", "mutual", model([call("f", "x", "y")], functions=[function("f", [call("g", "a", "b")]), function("g", [call("f", "a", "b")])],
                                 opsets=opsets), 1, "f->g->f")
    levels = [function("f0", [node("Abs", ["a"], ["b"])])]
    for level in range(1, 8):
        chain = ["a"] + [f"t{i}" for i in range(9)] + ["b"]
        levels.append(function(f"f{level}", [call(f"f{level - 1}", chain[i], chain[i + 1]) for i in range(10)]))
    check("A20", "budget", model([call("f7", "x", "y")], functions=levels, opsets=opsets), 4, "nodes once functions are inlined")


def one_name_two_sizes():
    """Row A28: a dimension's name must stand for one size in a run."""
    made = model([node("MatMul", ["x", "z"], ["y"])], [value("x", "batch", 4), value("z", 4, "batch")], [value("y", "batch", "batch")])
    with folder() as where:
        path, artifact = path_of(where, "model.onnx", made.SerializeToString()), path_of(where, "a.llmopt")
        status, _, err, _ = execute([program("compile"), path, "-o", artifact, "-O1", "--progress", "none"])
        report("A28", "compile", err if status else None)
        np.save(os.path.join(where, "x.npy"), np.ones((2, 4), np.float32))
        np.save(os.path.join(where, "z.npy"), np.ones((4, 3), np.float32))
        refused("A28", "two_sizes", [program("run"), artifact, "--input", f"x=@{where}/x.npy", "--input", f"z=@{where}/z.npy"], 1, "'batch' is 2")


def malformed():
    """ONNX Runtime's own malformed models: what it refuses is refused here; what it accepts compiles, or uses what
    llmopt says it does not support."""
    where = os.path.join(DATA, "ort-malformed")
    if not os.path.isdir(where):
        print("SKIP malformed: no test data")
        return
    answers = {"add_opset_314159.onnx": (3, "314159"), "foo_1_clip_11.onnx": (3, "Foo"), "function_opset_test.onnx": (3, "Fake_FunctionOp"),
               "gh_issue_11717.onnx": (3, "OptionalHasElement"), "invalid_dim_param_value_repetition.onnx": (0,), "mul_1.noopset.onnx": (1, "opset_import is missing"),
               "mul_16.onnx": (3, "Mul16"), "test_arbitrary_external_file.onnx": (1, "E0102", "..")}
    for name in sorted(os.listdir(where)):
        if not name.endswith(".onnx"):
            continue
        path = os.path.join(where, name)
        if name not in answers:
            report("malformed", name, "no answer is known for this file")
        elif answers[name][0]:
            compile_refused("malformed", name, path, *answers[name])
        else:
            compile_accepted("malformed", name, path)


for part in (files, graphs, weights, external, functions, one_name_two_sizes, malformed, large_graphs):
    part()
finish()

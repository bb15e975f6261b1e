#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Linear layers alone against torch, ONNX Runtime and OpenVINO, in interleaved rounds (contest.py): the same drawn weights, inputs and number of threads for all; before that
their outputs are checked against each other.

    linear_peers.py [--shapes 1024x1024x1024 128x2048x2048 1x4096x4096] [--threads 1] [--format f32|bf16] [--peers torch onnxruntime openvino]
                    [--rounds 7] [--machine FILE] [--wait FILE] [--json FILE] [--markdown FILE]

A shape is ROWS x OUTPUTS x INPUTS. With bf16 llmopt keeps weights in bf16 and multiplies in bf16, OpenVINO infers in bf16, torch's layer is bf16; ONNX Runtime's CPU
provider has no such products and is left out. A share of the limit is the arithmetic at the measured peak or the bytes at the measured rate of reading, whichever takes longer,
over the time it took. Needs numpy and onnx, and the peers: torch, onnxruntime, openvino.
"""
import argparse
import json
import os
import tempfile
import time

import contest

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
PEERS = ["torch", "onnxruntime", "openvino"]
TOLERANCE = {"f32": 1e-5, "bf16": 2e-2}  # of the largest value


def parse_shape(text):
    return tuple(int(part) for part in text.split("x"))


def drawn(shape):
    """Input [rows, inputs] and weight [inputs, outputs]."""
    import numpy as np

    rows, outputs, inputs = parse_shape(shape)
    random = np.random.default_rng(1)
    return random.standard_normal((rows, inputs), np.float32), random.standard_normal((inputs, outputs), np.float32)


def onnx_file(shape, scratch):
    import onnx
    from onnx import helper, numpy_helper

    path = os.path.join(scratch, f"linear-{shape}.onnx")
    if not os.path.exists(path):
        x, weight = drawn(shape)
        value = lambda name, sizes: helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, sizes)
        graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "linear", [value("x", x.shape)], [value("y", [x.shape[0], weight.shape[1]])],
                                  [numpy_helper.from_array(weight, "w")])
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def runner(peer, shape, args):
    x, weight = drawn(shape)
    if peer == "torch":
        import torch

        torch.set_num_threads(args.threads)
        kind = torch.bfloat16 if args.format == "bf16" else torch.float32
        rows, matrix = torch.from_numpy(x).to(kind), torch.from_numpy(weight.T.copy()).to(kind)

        def run():
            with torch.inference_mode():
                return torch.nn.functional.linear(rows, matrix)

        return run
    path = onnx_file(shape, args.scratch)
    if peer == "onnxruntime":
        import onnxruntime

        session = onnxruntime.InferenceSession(path, contest.onnxruntime_options(args.threads), providers=["CPUExecutionProvider"])
        return lambda: session.run(None, {"x": x})[0]
    import openvino

    core = openvino.Core()
    request = core.compile_model(core.read_model(path), "CPU", contest.openvino_hints(args.threads, args.format)).create_infer_request()
    return lambda: request.infer({"x": x})[0]


def as_array(result):
    return result.float().numpy() if hasattr(result, "numpy") else result


def serve(args):
    contest.keep_to_threads(args.threads)
    runners = {shape: runner(args.peer, shape, args) for shape in args.shapes}
    contest.answer_turns(args.peer, runners, args.scratch, args.answers, as_array)


class Own:
    name = "llmopt"

    def __init__(self, args):
        self.args = args
        flags = ["--dtype", "bf16", "--products", "bf16"] if args.format == "bf16" else []
        for shape in args.shapes:
            contest.tool(args.build, "llmopt-compile", onnx_file(shape, args.scratch), "-O3", "-q", "-o", self.artifact(shape), *flags)

    def artifact(self, shape):
        return os.path.join(self.args.scratch, f"linear-{shape}-{self.args.format}.llmopt")

    def output(self, shape):
        import numpy as np

        place = os.path.join(self.args.scratch, "x.npy")
        np.save(place, drawn(shape)[0])
        contest.tool(self.args.build, "llmopt-run", self.artifact(shape), "--input", f"x=@{place}", "--output-dir", self.args.scratch, "-t", self.args.threads)
        return np.load(os.path.join(self.args.scratch, "y.npy"))

    def run(self, shape, repeats):
        rows, _, inputs = parse_shape(shape)
        return contest.bench(self.args.build, self.artifact(shape), f"x={rows}x{inputs}", self.args.threads, repeats)

    def stop(self):
        pass


def floor(limits, shape, args):
    """Seconds of the arithmetic or of reading the weights, whichever is more."""
    rows, outputs, inputs = parse_shape(shape)
    return max(2 * rows * outputs * inputs / contest.peak(limits, args.format, args.threads), outputs * inputs * (2 if args.format == "bf16" else 4) / contest.reading(limits, args.threads))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=os.environ.get("LLMOPT_BUILD", f"{ROOT}/build"))
    parser.add_argument("--shapes", nargs="+", default=["1024x1024x1024", "128x2048x2048", "1x4096x4096"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--format", choices=["f32", "bf16"], default="f32")
    parser.add_argument("--peers", nargs="+", choices=PEERS)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--machine", help="file of llmopt-bench machine; measured first where it does not exist")
    parser.add_argument("--wait", help="measuring begins when this file is there")
    parser.add_argument("--json")
    parser.add_argument("--markdown")
    parser.add_argument("--scratch", help="keep models in this folder")
    for hidden, kind in (("--peer", str), ("--answers", int)):
        parser.add_argument(hidden, type=kind, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peer:
        return serve(args)
    peers = args.peers or [peer for peer in PEERS if args.format == "f32" or peer != "onnxruntime"]
    with tempfile.TemporaryDirectory() as temporary:
        args.scratch = args.scratch or temporary
        os.makedirs(args.scratch, exist_ok=True)
        command = [os.path.abspath(__file__), "--threads", args.threads, "--format", args.format, "--shapes", *args.shapes]
        contestants = [Own(args)]
        try:
            contestants += [contest.Peer(name, command, args.scratch) for name in peers]
            differences = contest.check_outputs(contestants, args.shapes, TOLERANCE[args.format])
            while args.wait and not os.path.exists(args.wait):
                time.sleep(0.2)
            limits = contest.machine_limits(args.build, args.machine or os.path.join(args.scratch, "machine.json"))
            samples = contest.play(contestants, args.shapes, args.rounds)
        finally:
            for contestant in contestants:
                contestant.stop()
    rows = [contest.row_of(shape, args.threads, args.format, samples, floor(limits, shape, args)) for shape in args.shapes]
    report = {"model": "linear", "machine": contest.machine(), "date": time.strftime("%Y-%m-%d"), "rounds": args.rounds, "rows": rows, "differences": differences}
    text = contest.markdown(report, "the limit")
    print(text)
    contest.write((args.json, json.dumps(report, indent=1)), (args.markdown, text))


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Encoders of the BERT family against ONNX Runtime, OpenVINO, CTranslate2, torch and torch.compile, in interleaved rounds: in each round every program runs
every shape once, with the same weights, token ids and number of threads; before that their outputs are checked against each other.

    encoder_peers.py FOLDER --name NAME [--shapes 1x16 1x128 8x128] [--threads 1] [--format f32|bf16|int8] [--peers torch onnxruntime ...]
                     [--avx2] [--rounds 7] [--machine FILE] [--wait FILE] [--json FILE] [--markdown FILE] [--svg FILE]

FOLDER is a Hugging Face folder with weights (random_weights.py draws some for a shape). Every peer is a process of its own that is stopped
(SIGSTOP) while it is not its turn, so that no waiting thread of one disturbs another. With --wait measuring begins when that file is there:
prepare on a busy machine, measure on a quiet one. With --avx2 every program is kept from AVX-512: llmopt runs the AVX2 code of an artifact that has
both (LLMOPT_CPU), torch and OpenVINO are told by the environment; ONNX Runtime cannot be. Needs numpy, torch, transformers and onnx, and the peers: onnxruntime, openvino, ctranslate2.

With --json of a file that is there already, its rows of other shapes stay, and rounds are added to those of the same shape and programs.
int8 is the exported file quantized dynamically by onnxruntime.quantization, given to llmopt and OpenVINO as it is and to ONNX Runtime also quantized behind its
fusions; outputs are compared with torch's in f32 where torch takes part, with llmopt's otherwise.
"""
import argparse
import json
import os
import shutil
import sys
import tempfile
import time

import contest

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
PEERS = ["onnxruntime", "openvino", "torch", "torch.compile", "ctranslate2"]
AVX2_ONLY = {"LLMOPT_CPU": "x86-64-v3", "ONEDNN_MAX_CPU_ISA": "AVX2", "DNNL_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2",
             "MKL_ENABLE_INSTRUCTIONS": "AVX2"}
NUMBERS = {"int8": "i8"}  # as llmopt-bench machine calls them
TOLERANCE = {"f32": 2e-4, "bf16": 6e-2, "int8": 1e-1}  # of the largest value; random weights make a narrow distribution no easier


def parse_shape(text):
    return tuple(int(part) for part in text.split("x"))


def ids_of(shape, vocabulary):
    import numpy as np

    return np.random.default_rng(1).integers(0, vocabulary, shape, dtype=np.int64)


# ---------------------------------------------------------------------------------------------------------------------------------------
# Peers, each in a process of its own
# ---------------------------------------------------------------------------------------------------------------------------------------


def load_torch(folder, precision):
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    model = transformers.AutoModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa").eval()
    return model.to(torch.bfloat16) if precision == "bf16" else model


def torch_runner(folder, precision, compiled):
    import torch

    model = load_torch(folder, precision)
    forward = lambda ids: model(input_ids=ids).last_hidden_state
    if compiled:
        # Each shape is compiled for itself, which is faster than one code for all.
        forward = torch.compile(forward, dynamic=False, options={"freezing": True})

    def prepare(ids):
        tensor = torch.from_numpy(ids)

        def run():
            with torch.inference_mode() if not compiled else torch.no_grad():
                return forward(tensor).float().numpy()

        return run

    return prepare


def export_onnx(folder, path):
    """The same weights as an ONNX file; a mask of ones is left out, as for the others."""
    import warnings

    import torch

    class Encoder(torch.nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self, input_ids):
            return self.model(input_ids=input_ids).last_hidden_state

    warnings.filterwarnings("ignore")
    with torch.no_grad():
        torch.onnx.export(Encoder(load_torch(folder, "f32")), (torch.ones(2, 5, dtype=torch.int64),), path, input_names=["input_ids"],
                          output_names=["last_hidden_state"], opset_version=17, dynamo=False,
                          dynamic_axes={name: {0: "batch", 1: "sequence"} for name in ("input_ids", "last_hidden_state")})


def quantize(path, quantized):
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(path, quantized, weight_type=QuantType.QInt8)


def ctranslate2_runner(folder, threads, scratch):
    import ctranslate2

    converted = os.path.join(scratch, "ctranslate2")
    if not os.path.exists(converted):
        ctranslate2.converters.TransformersConverter(folder).convert(converted)
    encoder = ctranslate2.Encoder(converted, device="cpu", compute_type="float32", inter_threads=1, intra_threads=threads)

    def prepare(ids):
        import numpy as np

        return lambda: np.asarray(encoder.forward_batch(ids.tolist()).last_hidden_state)

    return prepare


def onnxruntime_runner(model, threads, precision):
    import onnxruntime as ort

    options = contest.onnxruntime_options(threads)
    optimized = model + ".optimized"
    if not os.path.exists(optimized):  # the fusions for transformers, which need to know the model's type
        from onnxruntime.transformers import optimizer

        try:
            optimizer.optimize_model(model.replace(".int8", ""), model_type="bert").save_model_to_file(optimized)
            if precision == "int8":
                quantize(optimized, optimized)
        except Exception as error:
            print(f"onnxruntime.transformers: {error}; the session's own optimizations only", file=sys.stderr)
            shutil.copy(model, optimized)
    sessions = [ort.InferenceSession(path, options, providers=["CPUExecutionProvider"]) for path in (model, optimized)]

    def prepare(ids):
        times = []
        for session in sessions:  # the faster one competes
            run = lambda session=session: session.run(None, {"input_ids": ids})[0]
            run()
            times.append((contest.best_time(run, 3), run))
        return min(times, key=lambda row: row[0])[1]

    return prepare


def openvino_runner(model, threads, precision):
    import openvino

    core = openvino.Core()
    hints = contest.openvino_hints(threads, precision)

    def prepare(ids):
        graph = core.read_model(model)
        graph.reshape(list(ids.shape))  # its code for a known shape
        request = core.compile_model(graph, "CPU", hints).create_infer_request()
        return lambda: request.infer({"input_ids": ids})[0]

    return prepare


def serve(args):
    """A peer: prepares all shapes, then takes its turns."""
    contest.keep_to_threads(args.threads)
    if args.peer.startswith("torch"):
        import torch

        torch.set_num_threads(args.threads)
        prepare = torch_runner(args.folder, args.format, args.peer == "torch.compile")
    elif args.peer == "onnxruntime":
        prepare = onnxruntime_runner(args.onnx, args.threads, args.format)
    elif args.peer == "ctranslate2":
        prepare = ctranslate2_runner(args.folder, args.threads, args.scratch)
    else:
        prepare = openvino_runner(args.onnx, args.threads, "f32" if args.format == "int8" else args.format)
    runners = {text: prepare(ids_of(parse_shape(text), args.vocabulary)) for text in args.shapes}
    contest.answer_turns(args.peer, runners, args.scratch, args.answers)


# ---------------------------------------------------------------------------------------------------------------------------------------
# Contestants
# ---------------------------------------------------------------------------------------------------------------------------------------


class Own:
    def __init__(self, args, onnx, scratch, vocabulary):
        self.name, self.args, self.scratch, self.vocabulary = "llmopt", args, scratch, vocabulary
        self.artifact = os.path.join(scratch, "model.llmopt")
        extra = ["--dtype", "bf16", "--products", "bf16"] if args.format == "bf16" else []
        extra += ["--target", "x86-64-v3", "--target", "x86-64-v4"] if args.avx2 else []
        contest.tool(args.build, "llmopt-compile", onnx if args.format == "int8" else args.folder, "-O3", "-q", "-o", self.artifact, *extra)

    def output(self, text):
        import numpy as np

        place = os.path.join(self.scratch, "own-ids.npy")
        np.save(place, ids_of(parse_shape(text), self.vocabulary))
        if self.args.format == "int8":
            contest.tool(self.args.build, "llmopt-run", self.artifact, "--input", f"input_ids=@{place}", "--output-dir", self.scratch, "-t", self.args.threads)
            return np.load(os.path.join(self.scratch, "last_hidden_state.npy"))
        contest.tool(self.args.build, "llmopt-eval", "logits", self.artifact, "--ids", place, "--batch", parse_shape(text)[0], "-o", place + ".out.npy", "-t", self.args.threads)
        return np.load(place + ".out.npy")

    def run(self, text, repeats):
        return contest.bench(self.args.build, self.artifact, f"input_ids={text}", self.args.threads, repeats)

    def stop(self):
        pass


# ---------------------------------------------------------------------------------------------------------------------------------------
# The contest
# ---------------------------------------------------------------------------------------------------------------------------------------


def operations(config, shape):
    """Multiplications and additions of all products, the floor of the work."""
    batch, length = shape
    width, inner = config["hidden_size"], config["intermediate_size"]
    layer = 2 * batch * length * (4 * width * width + 2 * width * inner) + 4 * batch * length * length * width
    return layer * config["num_hidden_layers"]


def svg(report):
    """Bars of time relative to llmopt's, a group for each shape."""
    names = list(dict.fromkeys(name for row in report["rows"] for name in row["milliseconds"]))
    colors = ["#1b6ca8", "#b0b7bf", "#8d99a6", "#d9a441", "#b5651d"]
    bar, gap, height = 16, 24, 160
    width = len(report["rows"]) * (len(names) * bar + gap) + 60
    top = max(max(row["milliseconds"].values()) / row["milliseconds"]["llmopt"] for row in report["rows"])
    scale = height / max(top, 1)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height + 80}" font-family="sans-serif" font-size="11">',
             f'<text x="10" y="14">{report["model"]}, {report["rows"][0]["format"]}, {report["rows"][0]["threads"]} thread(s): time, llmopt = 1</text>']
    for i, name in enumerate(names):
        parts.append(f'<rect x="{10 + i * 95}" y="22" width="10" height="10" fill="{colors[i % 5]}"/><text x="{24 + i * 95}" y="31">{name}</text>')
    for r, row in enumerate(report["rows"]):
        left = 30 + r * (len(names) * bar + gap)
        for i, name in enumerate(names):
            value = row["milliseconds"].get(name, 0) / row["milliseconds"]["llmopt"]
            parts.append(f'<rect x="{left + i * bar}" y="{48 + height - value * scale:.1f}" width="{bar - 2}" height="{value * scale:.1f}" fill="{colors[i % 5]}"/>')
        parts.append(f'<text x="{left}" y="{height + 64}">{row["shape"]}</text>')
    return "\n".join(parts + ["</svg>"]) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--name", default="encoder")
    parser.add_argument("--build", default=os.environ.get("LLMOPT_BUILD", f"{ROOT}/build"))
    parser.add_argument("--shapes", nargs="+", default=["1x16", "1x128", "1x512", "8x16", "8x128"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--format", choices=["f32", "bf16", "int8"], default="f32")
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=PEERS)
    parser.add_argument("--avx2", action="store_true", help="keep every program from AVX-512")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--machine", help="file of llmopt-bench machine; measured first where it does not exist")
    parser.add_argument("--wait")
    parser.add_argument("--json")
    parser.add_argument("--markdown")
    parser.add_argument("--svg")
    parser.add_argument("--scratch", help="keep exported and compiled models in this folder")
    for hidden, kind in (("--peer", str), ("--onnx", str), ("--vocabulary", int), ("--answers", int)):
        parser.add_argument(hidden, type=kind, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peer:
        return serve(args)
    if args.avx2:
        if "onnxruntime" in args.peers:
            raise SystemExit("ONNX Runtime cannot be kept from AVX-512: leave it out of --peers")
        os.environ.update(AVX2_ONLY)
    config = json.load(open(os.path.join(args.folder, "config.json")))
    with tempfile.TemporaryDirectory() as temporary:
        scratch = args.scratch = args.scratch or temporary
        os.makedirs(scratch, exist_ok=True)
        onnx = os.path.join(scratch, "model.onnx")
        if not os.path.exists(onnx):
            export_onnx(args.folder, onnx)
        if args.format == "int8":
            exported, onnx = onnx, os.path.join(scratch, "model.int8.onnx")
            if not os.path.exists(onnx):
                quantize(exported, onnx)
        command = [os.path.abspath(__file__), args.folder, "--threads", args.threads, "--format", args.format, "--onnx", onnx, "--vocabulary",
                   config["vocab_size"], "--shapes", *args.shapes]
        contestants = [Own(args, onnx, scratch, config["vocab_size"])]
        try:
            for name in args.peers:
                contestants.append(contest.Peer(name, command, scratch))
                print(f"{name} is ready", file=sys.stderr, flush=True)
            differences = contest.check_outputs(contestants, args.shapes, TOLERANCE[args.format])
            while args.wait and not os.path.exists(args.wait):
                time.sleep(0.2)
            limit = contest.peak(contest.machine_limits(args.build, args.machine or os.path.join(scratch, "machine.json")), NUMBERS.get(args.format, args.format), args.threads)
            samples = contest.play(contestants, args.shapes, args.rounds)
        finally:
            for contestant in contestants:
                contestant.stop()
    before = json.load(open(args.json)) if args.json and os.path.exists(args.json) else None
    if before:
        contest.add_earlier(before, contestants, samples)
    rows = [contest.row_of(text, args.threads, args.format, samples, operations(config, parse_shape(text)) / limit) for text in args.shapes]
    if before:
        rows = [row for row in before["rows"] if row["shape"] not in args.shapes] + rows
        differences = before["differences"] | differences
    report = {"model": args.name, "machine": contest.machine(), "date": time.strftime("%Y-%m-%d"), "rounds": max(len(s) for s in samples.values()), "rows": rows,
              "differences": differences}
    print(contest.markdown(report))
    contest.write((args.json, json.dumps(report, indent=1)), (args.markdown, contest.markdown(report)), (args.svg, svg(report)))


if __name__ == "__main__":
    main()

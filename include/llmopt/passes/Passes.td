//===- Passes.td - target-independent passes ---------------*- tablegen -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_PASSES_PASSES_TD
#define LLMOPT_PASSES_PASSES_TD

include "mlir/Pass/PassBase.td"

def FoldConstantsPass : Pass<"llmopt-fold-constants", "::mlir::ModuleOp"> {
  let summary = "Replace what is known when compiling by constants";
  let description = [{
    Evaluates operations whose operands are all `llm.constant` with the reference interpreter (results of at most 1 MiB), and replaces integer
    tensors whose elements the shape analysis solved to numbers. Expressions over `llm.weight` stay: they are evaluated when the artifact is
    written. An operation that fails to evaluate is left for the run time to report.
    Reshapes, broadcasts and slices whose result is proven to be their input are dropped. Gathers of one row become slices. Reshapes move behind products with weights, norms and
    elementwise operations, until they meet the reshape back. Shapes given to reshapes and broadcasts become constants where 0 and -1 can say them,
    and are written from the dimensions of the function's arguments where not. Operations on f16 become operations on f32 between casts, and casts there and back vanish.
  }];
  let constructor = "::llmopt::createFoldConstantsPass()";
}

def FusePass : Pass<"llmopt-fuse", "::mlir::ModuleOp"> {
  let summary = "Recover composite operations from what exporters write";
  let description = [{
    Applies the patterns of `passes/Fusion/Patterns.def` whose level is at most `level` and whose name is not in `disable`; `only` leaves just the
    named ones. What was made, and what was nearly made, becomes remarks of category `fusion`.
  }];
  let options = [
    Option<"level", "level", "int", "2", "Patterns of a higher optimization level stay out">,
    ListOption<"disable", "disable", "std::string", "Names of patterns to leave out">,
    ListOption<"only", "only", "std::string", "If given: names of the patterns to apply">,
    ListOption<"require", "require", "std::string", "name or name:count: fail unless the fusion was made that often">,
    Option<"goesOn", "goes-on", "bool", "false", "Another such pass follows, and checks what is required of both together">,
    Option<"verify", "verify", "bool", "false", "Replay every application on sample inputs through the interpreter; fail at the first that differs">];
}

def ConvertWeightTypesPass : Pass<"llmopt-convert-weight-types", "::mlir::func::FuncOp"> {
  let summary = "Cast weights to the number format they are stored in";
  let description = [{
    Casts matrices read by `llm.linear` and `llm.embedding` to `matrix-type` (as stored where empty; i8 and i4: those of `llm.linear` and `llm.grouped_linear` become codes of that
    type, rounded to nearest, times a scale for 32 inputs), and vectors read by composite operations to the
    element type of their input. The casts are on weights alone, so they cost nothing at run time.
  }];
  let options = [Option<"matrixType", "matrix-type", "std::string", "\"\"", "f32, bf16, f16, i8, i4, or empty: as stored">,
                 Option<"roundExperts", "round-experts", "bool", "true", "i8 and i4 are for experts too">];
}

def CutKernelsPass : Pass<"llmopt-cut-kernels", "::mlir::func::FuncOp"> {
  let summary = "Cut a function into exec.kernel operations";
  let description = [{
    Phase Planned. Each operation goes to the kernel of its anchor (product, norm, attention, cache write) with the elementwise operations around it, or
    to a loop nest that computes producers where they are read. Views, expressions over weights, and sizes that the shape analysis solved
    need no kernel. Composite operations that no family takes as they are (softmax over an inner axis, rope without attention) are decomposed first.
    With `fuse` off, every operation is a kernel of its own.
  }];
  let options = [Option<"fuse", "fuse", "bool", "true", "Let operations share kernels">,
                 Option<"norms", "norms", "bool", "true", "Let projections take in the norm of their input">,
                 ListOption<"alone", "alone", "std::string", "Operations (llm.NAME) that get kernels of their own">,
                 ListOption<"disable", "disable", "std::string", "Joins (passes/Kernels/Joins.def) to leave out">,
                 Option<"countJoins", "count-joins", "bool", "false", "Leave on the function how many kernels each join made (llm.joins_made)">];
}

def MakeRaggedStepPass : Pass<"llmopt-make-ragged-step", "::mlir::ModuleOp"> {
  let summary = "Give a padded decoder with a cache in tensors a ragged step";
  let description = [{
    For a function `main` marked `llm.decoder`: adds `step` (see llmopt/frontends/ImportedModel.h), which does for the tokens of many sequences lying flat
    what `main` does for one sequence without padding. Masks and positions are found out by evaluating what computes them; where they mean
    something else than causality and counting, or where another operation looks from one token at another, a remark says so and
    `main` stays alone.
  }];
  let constructor = "::llmopt::createMakeRaggedStepPass()";
}

def AskedRowsPass : Pass<"llmopt-asked-rows", "::mlir::func::FuncOp"> {
  let summary = "Compute behind the last attention only the rows whose logits are asked for";
  let description = [{
    In a function with an argument named `logit_rows`: operations that work token by token, and whose results are read for those rows alone, work on those rows; a
    gather stands where the others end. Nothing moves where no product would be spared.
  }];
  let constructor = "::llmopt::createAskedRowsPass()";
}

#endif // LLMOPT_PASSES_PASSES_TD

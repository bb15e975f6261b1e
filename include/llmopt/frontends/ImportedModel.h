//===- ImportedModel.h - what every frontend returns ------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_FRONTENDS_IMPORTEDMODEL_H
#define LLMOPT_FRONTENDS_IMPORTEDMODEL_H

#include "llmopt/lib/Support/Json.h"
#include "llmopt/lib/Support/WeightStore.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"

#include <optional>

namespace llmopt {

/// A model after phase Import. The module holds one function per entry point, of ops of the llm dialect:
///
///   step    ragged decoders: (token_ids i32 [tokens], positions i32 [tokens], logit_rows i32 [rows]) -> logits f32 [rows, vocab]
///   encode  ragged encoders: (token_ids i32 [tokens], positions i32 [tokens]{, token_types i32 [tokens]}) -> last_hidden_state f32 [tokens, width];
///           encoder-decoders: the same inputs, fills the `encoder` group's states
///   main    any other graph (ONNX): its own inputs and outputs, padded
///
/// Function arguments and results carry `llm.name` (the tensor's name) and arguments `llm.dims`; result dims follow from analysis.
struct ImportedModel {
  mlir::OwningOpRef<mlir::ModuleOp> module;
  WeightStore weights;
  /// Metadata for the artifact's "model" section: kind ("decoder", "encoder", "encoder-decoder", "graph"), architecture, vocab_size,
  /// max_positions, bos/eos/pad ids (eos: list), decoder_start_token_id, generation defaults, hidden_size, layers ...
  Json metadata;
  /// Things worth telling the user that did not stop the import.
  std::vector<std::string> warnings;
};

} // namespace llmopt

#endif // LLMOPT_FRONTENDS_IMPORTEDMODEL_H

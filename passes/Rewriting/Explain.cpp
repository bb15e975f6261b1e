//===- Explain.cpp - why a pattern did not fire ----------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/passes/Explain.h"

#include "llmopt/dialects/LLM/SourceName.h"
#include "passes/Rewriting/PatternLog.h"

using namespace mlir;
using namespace llmopt;

StringRef llmopt::missName(Miss kind) {
  switch (kind) {
  case Miss::MultiUse: return "MultiUse";
  case Miss::TypeMismatch: return "TypeMismatch";
  case Miss::ShapeMismatch: return "ShapeMismatch";
  case Miss::ShapeUnknown: return "ShapeUnknown";
  case Miss::OtherAxis: return "OtherAxis";
  case Miss::OtherConstant: return "OtherConstant";
  case Miss::NotConstant: return "NotConstant";
  case Miss::OtherOperand: return "OtherOperand";
  case Miss::OtherOp: return "OtherOp";
  }
  return "";
}

/// The reason goes the way of every match failure; what makes it a remark for users is the note with the remedy.
static LogicalResult missedAt(RewriterBase &rewriter, Location loc, StringRef opName, Miss kind, const Twine &reason, const Twine &change) {
  return rewriter.notifyMatchFailure(loc, [&](Diagnostic &diagnostic) {
    diagnostic << reason;
    diagnostic.getMetadata().push_back(DiagnosticArgument(missName(kind)));
    diagnostic.getMetadata().push_back(DiagnosticArgument(opName));
    diagnostic.attachNote() << change;
  });
}

LogicalResult llmopt::missed(RewriterBase &rewriter, Operation *blocker, Miss kind, const Twine &reason, const Twine &change) {
  return missedAt(rewriter, blocker->getLoc(), blocker->getName().getStringRef(), kind, reason, change);
}

LogicalResult llmopt::missed(RewriterBase &rewriter, Value blocker, Miss kind, const Twine &reason, const Twine &change) {
  if (Operation *op = blocker.getDefiningOp())
    return missed(rewriter, op, kind, reason, change);
  return missedAt(rewriter, blocker.getLoc(), "argument", kind, reason, change);
}

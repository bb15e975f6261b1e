//===- Exec.h - the exec dialect --------------------------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_DIALECTS_EXEC_EXEC_H
#define LLMOPT_DIALECTS_EXEC_EXEC_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/Interfaces/ControlFlowInterfaces.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "llmopt/dialects/Exec/ExecDialect.h.inc"
#define GET_OP_CLASSES
#include "llmopt/dialects/Exec/ExecOps.h.inc"

#endif // LLMOPT_DIALECTS_EXEC_EXEC_H

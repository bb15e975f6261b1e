// Compiles a model for this machine:   compile MODEL OUTPUT.llmopt
#include "llmopt/lib/Compiler/Compiler.h"

#include <cstdio>

int main(int argc, char **argv) {
  if (argc != 3)
    return 2;
  llmopt::Result<llmopt::CompileReport> report = llmopt::compileModel(argv[1], argv[2], {});
  if (!report) {
    std::fprintf(stderr, "%s\n", report.error().str().c_str());
    return static_cast<int>(report.error().kind);
  }
  return 0;
}

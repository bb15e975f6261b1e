# The install tree: find_package(LLMOpt) gives LLMOpt::runtime (no LLVM in it) and LLMOpt::compiler.

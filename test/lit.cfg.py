# Small textual tests of dialects, passes and code generation.
#   lit-22 -v --param build=<build folder> test/dialects
# or, from the build folder, `ctest -R lit`.

import os
import lit.formats

config.name = "llmopt"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir"]
config.excludes = ["plugin"]  # needs its plugin: test/integration/plugin_test.py
config.test_source_root = os.path.dirname(__file__)

build = os.path.abspath(lit_config.params.get("build", os.path.join(config.test_source_root, "..", "build")))
llvm_tools = lit_config.params.get("llvm_tools", "/usr/lib/llvm-22/bin")
config.test_exec_root = os.path.join(build, "test", "lit")

# Programs by name; FileCheck variables are local to a CHECK-LABEL unless they start with $.
config.environment["PATH"] = os.pathsep.join([os.path.join(build, "bin"), llvm_tools, os.environ.get("PATH", "")])
config.substitutions.append(("FileCheck", "FileCheck --enable-var-scope"))

# A test that needs a program of the build which is not there is skipped: `REQUIRES: llmopt-compile`.
for tool in ("llmopt-opt", "llmopt-compile", "llmopt-run", "llmopt-inspect"):
    if os.path.exists(os.path.join(build, "bin", tool)):
        config.available_features.add(tool)

add_llmopt_unittest(HuggingFaceTests USES_MLIR
  HuggingFaceFolderTest.cpp
  HuggingFaceFormulaTest.cpp
  HuggingFaceTest.cpp
  SafetensorsTest.cpp
  LINK_LIBS LLMOptFrontendHF)
set_target_properties(HuggingFaceTests PROPERTIES POSITION_INDEPENDENT_CODE OFF)
target_compile_options(HuggingFaceTests PRIVATE -fPIC)

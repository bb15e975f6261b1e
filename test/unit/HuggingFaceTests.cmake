add_llmopt_unittest(HuggingFaceTests USES_MLIR
  HuggingFaceFolderTest.cpp
  HuggingFaceFormulaTest.cpp
  HuggingFaceTest.cpp
  SafetensorsTest.cpp
  LINK_LIBS LLMOptFrontendHF)

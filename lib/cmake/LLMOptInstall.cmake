# The install tree: find_package(LLMOpt) gives LLMOpt::runtime (no LLVM in it) and, when it was built, LLMOpt::compiler.
#
# Both are interface targets over the static libraries in dependency order. What those need from outside is collected
# from the targets here, so that a new dependency cannot be forgotten there.

include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

# llmopt_visit(TARGET): appends what the target links to llmopt_ours (dependencies first) and llmopt_outside.
macro(llmopt_visit target)
  if(NOT ${target} IN_LIST llmopt_ours)
    get_target_property(_libraries ${target} LINK_LIBRARIES)
    foreach(_library ${_libraries})
      string(REGEX REPLACE "^\\$<LINK_ONLY:(.*)>$" "\\1" _library "${_library}")
      if(_library MATCHES "^LLMOpt")
        llmopt_visit(${_library})
      elseif(_library AND NOT _library MATCHES "^(llmopt_|nlohmann_json)") # header-only ones are compiled in
        list(APPEND llmopt_outside ${_library})
      endif()
    endforeach()
    list(APPEND llmopt_ours ${target})
  endif()
endmacro()

set(_installed)
foreach(component runtime compiler)
  set(llmopt_ours)
  set(llmopt_outside)
  get_property(_wanted GLOBAL PROPERTY LLMOPT_INSTALL_${component})
  foreach(_target ${_wanted})
    llmopt_visit(${_target})
  endforeach()
  list(REMOVE_DUPLICATES llmopt_outside)
  list(REVERSE llmopt_ours) # linked from the roof down
  list(REMOVE_ITEM llmopt_ours ${_installed} "")
  list(APPEND _installed ${llmopt_ours})
  set(LLMOPT_${component}_LIBRARIES ${llmopt_ours})
  set(LLMOPT_${component}_OUTSIDE ${llmopt_outside})
  if(llmopt_ours)
    install(TARGETS ${llmopt_ours} ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT ${component})
  endif()
endforeach()

foreach(room runtime lib/Support lib/Artifact lib/Target)
  install(DIRECTORY include/llmopt/${room}/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/llmopt/${room} COMPONENT runtime
          FILES_MATCHING PATTERN "*.h")
endforeach()
if(LLMOPT_compiler_LIBRARIES)
  install(DIRECTORY include/llmopt DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT compiler
          FILES_MATCHING PATTERN "*.h" PATTERN "*.td")
  install(DIRECTORY ${CMAKE_BINARY_DIR}/include/llmopt DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT compiler
          FILES_MATCHING PATTERN "*.h.inc")
endif()

set(_package ${CMAKE_INSTALL_LIBDIR}/cmake/LLMOpt)
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/LLMOptConfig.cmake.in ${CMAKE_BINARY_DIR}/LLMOptConfig.cmake
                              INSTALL_DESTINATION ${_package} PATH_VARS CMAKE_INSTALL_LIBDIR CMAKE_INSTALL_INCLUDEDIR)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/LLMOptConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/LLMOptConfig.cmake ${CMAKE_BINARY_DIR}/LLMOptConfigVersion.cmake DESTINATION ${_package}
        COMPONENT runtime)

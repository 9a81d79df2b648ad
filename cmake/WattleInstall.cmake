# What `cmake --install` puts where: the command (tools/), the library, its headers, and what
# others need to find them: find_package(wattle) and pkg-config wattle.
include(CMakePackageConfigHelpers)

install(TARGETS wattle EXPORT wattleTargets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
  INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
foreach(folder base models data train energy prune)
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/${folder}/include/wattle
    DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
endforeach()

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/wattle)
install(EXPORT wattleTargets NAMESPACE wattle:: DESTINATION ${package_dir})
configure_package_config_file(cmake/wattleConfig.cmake.in wattleConfig.cmake
  INSTALL_DESTINATION ${package_dir} NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(wattleConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/wattleConfig.cmake
  ${PROJECT_BINARY_DIR}/wattleConfigVersion.cmake DESTINATION ${package_dir})

# The prefix is found from the .pc file's own place, so that the tree can be moved.
cmake_path(SET pc_dir NORMALIZE ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig)
cmake_path(RELATIVE_PATH CMAKE_INSTALL_PREFIX BASE_DIRECTORY ${pc_dir}
  OUTPUT_VARIABLE prefix_from_pc)
string(REPLACE ";" " " WTL_OPENMP_FLAGS "${OpenMP_C_FLAGS}")
configure_file(cmake/wattle.pc.in wattle.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/wattle.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

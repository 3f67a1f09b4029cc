# What `cmake --install` puts where, and the Debian package that CPack makes of it: cpack --config build/release/CPackConfig.cmake
include(GNUInstallDirs)

set(_packaging ${CMAKE_CURRENT_LIST_DIR})
set(_made ${CMAKE_BINARY_DIR}/packaging)

# Compressed as Debian wants it: without a name or a time inside, so that every build is the same.
set(_compressed)
foreach(_file docs/man/sluice.1 docs/man/sluice.yaml.5 packaging/debian/changelog)
  get_filename_component(_name ${_file} NAME)
  add_custom_command(OUTPUT ${_made}/${_name}.gz
                     COMMAND ${CMAKE_COMMAND} -E make_directory ${_made}
                     COMMAND gzip -9nc ${CMAKE_SOURCE_DIR}/${_file} > ${_made}/${_name}.gz
                     DEPENDS ${CMAKE_SOURCE_DIR}/${_file})
  list(APPEND _compressed ${_made}/${_name}.gz)
endforeach()
add_custom_target(compressed ALL DEPENDS ${_compressed})

install(TARGETS sluice RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(FILES ${_made}/sluice.1.gz DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES ${_made}/sluice.yaml.5.gz DESTINATION ${CMAKE_INSTALL_MANDIR}/man5)
install(FILES config/sluice.schema.json DESTINATION share/sluice)
install(FILES packaging/completions/sluice.bash DESTINATION share/bash-completion/completions RENAME sluice)
install(FILES packaging/completions/sluice.fish DESTINATION share/fish/vendor_completions.d)
install(FILES docs/protocol.md docs/configuration.md README.md DESTINATION share/doc/sluice)
install(FILES config/minimal.yaml config/reference.yaml config/demo.yaml DESTINATION share/doc/sluice/examples)
install(FILES packaging/debian/copyright DESTINATION share/doc/sluice)
install(FILES ${_made}/changelog.gz DESTINATION share/doc/sluice RENAME changelog.Debian.gz)

# The rest depends on the prefix that is given when it is installed. The unit names the binary's place; zsh looks into
# other folders below /usr than below /usr/local; and a configuration that is there already is not ours to overwrite.
install(CODE "
  file(READ \"${_packaging}/sluice.service.in\" unit)
  string(REPLACE \"@BINDIR@\" \"\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_BINDIR}\" unit \"\${unit}\")
  file(WRITE \"${_made}/sluice.service\" \"\${unit}\")
  file(INSTALL \"${_made}/sluice.service\" DESTINATION \"\${CMAKE_INSTALL_PREFIX}/lib/systemd/system\")
  if(CMAKE_INSTALL_PREFIX STREQUAL \"/usr\")
    set(zsh \"/usr/share/zsh/vendor-completions\")
  else()
    set(zsh \"\${CMAKE_INSTALL_PREFIX}/share/zsh/site-functions\")
  endif()
  file(INSTALL \"${_packaging}/completions/_sluice\" DESTINATION \"\${zsh}\")
  if(EXISTS \"\$ENV{DESTDIR}/etc/sluice/sluice.yaml\")
    message(STATUS \"Left alone: \$ENV{DESTDIR}/etc/sluice/sluice.yaml\")
  else()
    file(INSTALL \"${_packaging}/sluice.yaml\" DESTINATION \"/etc/sluice\")
  endif()
")

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME sluice)
set(CPACK_PACKAGE_CONTACT "Sluice maintainers <maintainers@sluice.invalid>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "MQTT topics as live channels for web clients")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION "Sluice subscribes to topics of an MQTT broker and serves them to web
clients over WebSocket, Server-Sent Events and HTTP long-polling, with one
cursor that resumes on all of them, and takes what those clients publish back
to the broker. A YAML file maps topics to channels; a dashboard and a client
for browsers are built in.")
set(CPACK_SET_DESTDIR ON)
set(CPACK_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_PACKAGE_DEPENDS adduser)
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS ca-certificates)
set(CPACK_DEBIAN_PACKAGE_SUGGESTS mosquitto)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${_packaging}/debian/postinst ${_packaging}/debian/prerm ${_packaging}/debian/postrm
    ${_packaging}/debian/conffiles)
include(CPack)

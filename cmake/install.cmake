# What is installed, under one prefix, which the programs find each other by (daemon/app/places.cpp). The units name /usr:
# `cmake --install build/release --prefix /usr`, or the package (cmake/package.cmake).

# Directories do not depend on the umask of whoever installs.
set(CMAKE_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS
  OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)

install(TARGETS mailotpd RUNTIME DESTINATION sbin)
install(TARGETS mailotp-smtp mailotp-imap RUNTIME DESTINATION libexec/mailotpd)
install(TARGETS mailotpctl RUNTIME DESTINATION bin)

install(DIRECTORY templates DESTINATION share/mailotpd PATTERN README.md EXCLUDE)
install(FILES packaging/mailotpd.toml DESTINATION share/mailotpd)

file(GLOB units CONFIGURE_DEPENDS systemd/*.service systemd/*.socket)
install(FILES ${units} DESTINATION lib/systemd/system)
install(FILES systemd/sysusers.d/mailotpd.conf DESTINATION lib/sysusers.d)
install(FILES systemd/tmpfiles.d/mailotpd.conf DESTINATION lib/tmpfiles.d)

set(completion ${CMAKE_SOURCE_DIR}/ctl/mailotpctl.bash-completion)
if(EXISTS ${completion})
  install(FILES ${completion} DESTINATION share/bash-completion/completions RENAME mailotpctl)
endif()

set(doc share/doc/mailotpd)
file(GLOB documents CONFIGURE_DEPENDS docs/*.md docs/*.yaml)
install(FILES README.md DESTINATION ${doc})
install(FILES ${documents} DESTINATION ${doc}/docs)
install(FILES templates/README.md DESTINATION ${doc}/templates)
install(DIRECTORY examples DESTINATION ${doc})
install(FILES packaging/debian/copyright DESTINATION ${doc})
install(FILES packaging/debian/lintian-overrides DESTINATION share/lintian/overrides RENAME mailotpd)

# compressed(SOURCE NAME DESTINATION): the file as NAME.gz, the same bytes at every build.
function(compressed source name destination)
  set(output ${CMAKE_BINARY_DIR}/compressed/${name}.gz)
  add_custom_command(OUTPUT ${output}
    COMMAND gzip -9nc ${CMAKE_SOURCE_DIR}/${source} > ${output}
    DEPENDS ${source} VERBATIM)
  set_property(GLOBAL APPEND PROPERTY mailotp_compressed ${output})
  install(FILES ${output} DESTINATION ${destination})
endfunction()
file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/compressed)
compressed(docs/man/mailotpd.8 mailotpd.8 share/man/man8)
compressed(docs/man/mailotpctl.1 mailotpctl.1 share/man/man1)
compressed(docs/man/mailotpd.toml.5 mailotpd.toml.5 share/man/man5)
compressed(packaging/debian/changelog changelog.Debian ${doc})
get_property(outputs GLOBAL PROPERTY mailotp_compressed)
add_custom_target(compressed ALL DEPENDS ${outputs})

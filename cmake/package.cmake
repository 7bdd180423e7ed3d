# The Debian package: `cpack -G DEB` in a build folder in which everything is built. What dpkg runs is packaging/debian.
set(MAILOTP_MAINTAINER "mailotpd developers <developers@mailotpd.invalid>" CACHE STRING
  "Who answers for the package, as \"Name <address>\"")

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME mailotpd)
set(CPACK_PACKAGE_VENDOR mailotpd)
set(CPACK_PACKAGE_CONTACT "${MAILOTP_MAINTAINER}")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS ${CMAKE_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS})
set(CPACK_VERBATIM_VARIABLES ON)

set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
# The first entry of packaging/debian/changelog is this version and release.
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
set(CPACK_DEBIAN_PACKAGE_SECTION mail)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
# postinst makes the accounts by it where there is no systemd-sysusers.
set(CPACK_DEBIAN_PACKAGE_DEPENDS adduser)
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "ca-certificates, systemd")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "one-time passwords by mail for local applications")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION
"mailotpd makes one-time passwords for the applications of one machine, sends
them by mail and checks what the users type. Applications talk HTTP and JSON
to it over a Unix socket and never see a code but the one that was typed.
.
A request is answered once code and mail are on the disk. Mails go through
one or several relays, with retries that know when the code dies; bounces
are read over IMAP and told to the application that waits. Wrong codes and
sends are limited for each address, client and application.
.
Operators have a socket of their own, the tool mailotpctl, and metrics.")
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA
  ${CMAKE_SOURCE_DIR}/packaging/debian/preinst
  ${CMAKE_SOURCE_DIR}/packaging/debian/postinst
  ${CMAKE_SOURCE_DIR}/packaging/debian/prerm
  ${CMAKE_SOURCE_DIR}/packaging/debian/postrm)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
include(CPack)

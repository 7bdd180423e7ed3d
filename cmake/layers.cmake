add_library(mailotp_flags INTERFACE)
target_include_directories(mailotp_flags INTERFACE ${CMAKE_SOURCE_DIR})
target_compile_options(mailotp_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wconversion -Wshadow -fno-omit-frame-pointer
  $<$<BOOL:${MAILOTP_WERROR}>:-Werror>)
target_compile_definitions(mailotp_flags INTERFACE MAILOTP_VERSION="${PROJECT_VERSION}")
if(MAILOTP_CRASH_POINTS)
  target_compile_definitions(mailotp_flags INTERFACE MAILOTP_CRASH_POINTS)
endif()
if(MAILOTP_SANITIZE)
  target_compile_options(mailotp_flags INTERFACE -fsanitize=${MAILOTP_SANITIZE} -fno-sanitize-recover=all)
  target_link_options(mailotp_flags INTERFACE -fsanitize=${MAILOTP_SANITIZE})
else()
  target_compile_options(mailotp_flags INTERFACE -fstack-protector-strong -fcf-protection)
  target_compile_definitions(mailotp_flags INTERFACE $<$<CONFIG:Release>:_FORTIFY_SOURCE=2>)
  target_link_options(mailotp_flags INTERFACE -Wl,-z,relro,-z,now)
endif()

# mailotp_layer(NAME SOURCES … LINKS …): the static library mailotp_NAME; what it links its users see too.
function(mailotp_layer name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINKS" ${ARGN})
  add_library(mailotp_${name} STATIC ${ARG_SOURCES})
  target_link_libraries(mailotp_${name} PUBLIC mailotp_flags ${ARG_LINKS})
endfunction()

# mailotp_program(NAME SOURCES … LINKS …): an executable in build/<preset>/bin.
function(mailotp_program name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINKS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE mailotp_flags ${ARG_LINKS})
endfunction()

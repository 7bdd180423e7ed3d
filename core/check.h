// CHECK stays on in release. It is for our own bugs, never for what comes from outside.
#pragma once

#include <cstdio>
#include <cstdlib>

#define CHECK(condition)                                                                               \
  do {                                                                                                 \
    if (!(condition)) {                                                                                \
      (void)std::fprintf(stderr, "event=check_failed at=%s:%d condition=\"%s\"\n", __FILE__, __LINE__, \
                         #condition);                                                                  \
      std::abort();                                                                                    \
    }                                                                                                  \
  } while (false)

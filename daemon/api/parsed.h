// A part of a request, or why the request is refused.
#pragma once

#include <tl/expected.hpp>

#include "daemon/http/problem.h"

namespace mailotp::daemon {

template <class T>
using Parsed = tl::expected<T, ProblemDetail>;

}  // namespace mailotp::daemon

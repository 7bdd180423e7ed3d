// Requests that must be refused, with the status and code of the answer. Read by the parser's and the
// server's tests.
#pragma once

#include <string>
#include <vector>

namespace mailotp::test {

struct Malformed {
  std::string name;
  std::string bytes;
  int status;
  std::string code;
};

[[nodiscard]] std::vector<Malformed> malformed_requests();

}  // namespace mailotp::test

// A buffer for text that holds a code: its bytes are wiped when it goes. Who fills it takes the room for all
// of it at once, because a string that grows leaves its old bytes behind.
#pragma once

#include <cstring>
#include <string>

namespace mailotp::mail {

struct WipedString {
  WipedString() = default;
  WipedString(const WipedString&) = delete;
  WipedString& operator=(const WipedString&) = delete;
  ~WipedString() {
    if (!bytes.empty()) ::explicit_bzero(bytes.data(), bytes.size());
  }

  std::string bytes;
};

}  // namespace mailotp::mail

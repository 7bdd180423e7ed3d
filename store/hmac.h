// HMAC-SHA256 with a context that keeps its key. One thread.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string_view>

#include "core/result.h"
#include "core/secret.h"

namespace mailotp::store {

using Mac = std::array<std::uint8_t, 32>;
[[nodiscard]] inline std::string_view bytes_of(const Mac& mac) {
  return {reinterpret_cast<const char*>(mac.data()), mac.size()};
}

class Hmac {
 public:
  // Errc::internal: OpenSSL has none.
  [[nodiscard]] static core::Result<Hmac> create(const core::Secret& key);
  // None: of() must not be called.
  Hmac();
  Hmac(Hmac&&) noexcept;
  Hmac& operator=(Hmac&&) noexcept;
  ~Hmac();

  // Each part is preceded by its length, so that no two lists of parts give the same bytes.
  [[nodiscard]] core::Result<Mac> of(std::initializer_list<std::string_view> parts);

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

}  // namespace mailotp::store

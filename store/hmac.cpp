#include "store/hmac.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>

namespace mailotp::store {

using core::Errc;
using core::Result;

namespace {

const unsigned char* readable(std::string_view bytes) {
  return reinterpret_cast<const unsigned char*>(bytes.data());
}

tl::unexpected<core::Error> failed() {
  return core::fail(Errc::internal, "store: OpenSSL: HMAC");
}

}  // namespace

struct Hmac::Context {
  explicit Context(EVP_MAC_CTX* made) : mac(made) {}
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
  ~Context() { EVP_MAC_CTX_free(mac); }
  EVP_MAC_CTX* mac;
};

Hmac::Hmac() = default;
Hmac::Hmac(Hmac&&) noexcept = default;
Hmac& Hmac::operator=(Hmac&&) noexcept = default;
Hmac::~Hmac() = default;

Result<Hmac> Hmac::create(const core::Secret& key) {
  const std::unique_ptr<EVP_MAC, void (*)(EVP_MAC*)> hmac(EVP_MAC_fetch(nullptr, "HMAC", nullptr),
                                                          EVP_MAC_free);
  if (!hmac) return failed();
  Hmac out;
  out.context_ = std::make_unique<Context>(EVP_MAC_CTX_new(hmac.get()));
  char digest[] = "SHA256";
  const OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                               OSSL_PARAM_construct_end()};
  EVP_MAC_CTX* mac = out.context_->mac;
  if (mac == nullptr || EVP_MAC_init(mac, readable(key.reveal()), key.size(), params) != 1) return failed();
  return out;
}

Result<Mac> Hmac::of(std::initializer_list<std::string_view> parts) {
  EVP_MAC_CTX* context = context_->mac;
  bool good = EVP_MAC_init(context, nullptr, 0, nullptr) == 1;
  for (const std::string_view part : parts) {
    std::array<unsigned char, 8> length{};
    for (std::size_t i = 0; i < length.size(); ++i)
      length[i] = static_cast<unsigned char>(std::uint64_t{part.size()} >> (56 - 8 * i));
    good = good && EVP_MAC_update(context, length.data(), length.size()) == 1 &&
           EVP_MAC_update(context, readable(part), part.size()) == 1;
  }
  Mac mac{};
  std::size_t size = 0;
  good = good && EVP_MAC_final(context, mac.data(), &size, mac.size()) == 1 && size == mac.size();
  if (!good) return failed();
  return mac;
}

}  // namespace mailotp::store

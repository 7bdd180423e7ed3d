// TLS for SMTP clients: 1.2 or later, the chain to a trusted CA and the relay's name are always checked.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "core/result.h"

struct ssl_st;
struct ssl_ctx_st;

namespace mailotp::mail {

struct TlsFree {
  void operator()(ssl_st* ssl) const noexcept;
  void operator()(ssl_ctx_st* context) const noexcept;
};
using TlsPtr = std::unique_ptr<ssl_st, TlsFree>;

class TlsContext {
 public:
  // `ca_file`: PEM; empty: the system's store. Errc::io, Errc::malformed when it cannot be used.
  [[nodiscard]] static core::Result<TlsContext> make(const std::string& ca_file);
  // A client end that sends `server_name` as SNI and accepts only a certificate for it, by the rules of
  // RFC 6125 (a name) or for that address (an IP address).
  [[nodiscard]] core::Result<TlsPtr> connection(const std::string& server_name) const;

 private:
  std::unique_ptr<ssl_ctx_st, TlsFree> context_;
};

// How tls_failure() begins when the certificate is to blame.
inline constexpr std::string_view k_certificate_refused = "certificate refused: ";
// Why TLS failed, in words; of a handshake the certificate's fault if it has one, then its subject.
[[nodiscard]] std::string tls_failure(ssl_st* ssl);
// "TLSv1.3, TLS_AES_256_GCM_SHA384, subject …, issuer …, expires …"; printable.
[[nodiscard]] std::string tls_summary(ssl_st* ssl);

}  // namespace mailotp::mail

#include "mail/agent/tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "core/check.h"
#include "mail/channel/codec.h"

namespace mailotp::mail {

namespace {

struct BioFree {
  void operator()(BIO* bio) const noexcept { BIO_free(bio); }
};

template <class Print>
std::string printed(Print print) {
  const std::unique_ptr<BIO, BioFree> bio(BIO_new(BIO_s_mem()));
  CHECK(bio != nullptr);
  print(bio.get());
  char* bytes = nullptr;
  const long length = BIO_get_mem_data(bio.get(), &bytes);
  return channel::printable({bytes, static_cast<std::size_t>(length)}, 200);
}

std::string describe(X509* certificate) {
  const auto name = [](const X509_NAME* of) {
    return printed([&](BIO* bio) { X509_NAME_print_ex(bio, of, 0, XN_FLAG_RFC2253); });
  };
  return "subject " + name(X509_get_subject_name(certificate)) + ", issuer " +
         name(X509_get_issuer_name(certificate)) + ", expires " +
         printed([&](BIO* bio) { ASN1_TIME_print(bio, X509_get0_notAfter(certificate)); });
}

std::string last_error() {
  const unsigned long code = ERR_peek_last_error();
  ERR_clear_error();
  const char* reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  return reason == nullptr ? "closed by the relay" : reason;
}

void free_note(void*, void* note, CRYPTO_EX_DATA*, int, long, void*) noexcept {
  delete static_cast<std::string*>(note);
}

// Where an SSL keeps the description of a certificate that was refused: after a failed handshake OpenSSL has
// forgotten it.
int note_index() {
  static const int index = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, free_note);
  return index;
}

int note_refused(int accepted, X509_STORE_CTX* store) noexcept {
  auto* ssl = static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  X509* leaf = X509_STORE_CTX_get0_cert(store);
  if (accepted == 0 && leaf != nullptr && SSL_get_ex_data(ssl, note_index()) == nullptr)
    SSL_set_ex_data(ssl, note_index(), new std::string(describe(leaf)));
  return accepted;
}

}  // namespace

void TlsFree::operator()(ssl_st* ssl) const noexcept {
  SSL_free(ssl);
}
void TlsFree::operator()(ssl_ctx_st* context) const noexcept {
  SSL_CTX_free(context);
}

core::Result<TlsContext> TlsContext::make(const std::string& ca_file) {
  TlsContext made;
  made.context_.reset(SSL_CTX_new(TLS_client_method()));
  SSL_CTX* context = made.context_.get();
  if (context == nullptr || SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1)
    return core::fail(core::Errc::internal, "TLS context: " + last_error());
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, note_refused);
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION);
  const int loaded = ca_file.empty() ? SSL_CTX_set_default_verify_paths(context)
                                     : SSL_CTX_load_verify_file(context, ca_file.c_str());
  if (loaded != 1) {
    const std::string which = ca_file.empty() ? "the system's CA store" : ca_file;
    return core::fail(core::Errc::io, "cannot use " + which + ": " + last_error());
  }
  return made;
}

core::Result<TlsPtr> TlsContext::connection(const std::string& server_name) const {
  TlsPtr ssl(SSL_new(context_.get()));
  if (ssl == nullptr) return core::fail(core::Errc::internal, "TLS connection: " + last_error());
  X509_VERIFY_PARAM* rules = SSL_get0_param(ssl.get());
  X509_VERIFY_PARAM_set_hostflags(rules, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  bool ready = X509_VERIFY_PARAM_set1_ip_asc(rules, server_name.c_str()) == 1;
  if (!ready) {
    ERR_clear_error();
    ready = SSL_set1_host(ssl.get(), server_name.c_str()) == 1 &&
            SSL_set_tlsext_host_name(ssl.get(), server_name.c_str()) == 1;
  }
  if (!ready || server_name.empty())
    return core::fail(core::Errc::invalid, "not a server name: " + channel::printable(server_name, 100));
  SSL_set_connect_state(ssl.get());
  return ssl;
}

std::string tls_failure(ssl_st* ssl) {
  const long verdict = SSL_get_verify_result(ssl);
  std::string cause = last_error();
  // Told by the peer's Finished message: after a fatal error the connection counts as not set up any more.
  char finished = 0;
  if (SSL_get_peer_finished(ssl, &finished, sizeof finished) > 0)
    return "TLS broke off: " + channel::printable(cause, 200);
  if (verdict == X509_V_OK) return "TLS handshake failed: " + channel::printable(cause, 200);
  const auto* note = static_cast<const std::string*>(SSL_get_ex_data(ssl, note_index()));
  return std::string(k_certificate_refused) + X509_verify_cert_error_string(verdict) +
         (note == nullptr ? "" : " (" + *note + ")");
}

std::string tls_summary(ssl_st* ssl) {
  std::string out = SSL_get_version(ssl);
  out += std::string(", ") + SSL_get_cipher_name(ssl);
  X509* certificate = SSL_get0_peer_certificate(ssl);
  if (certificate != nullptr) out += ", " + describe(certificate);
  return out;
}

}  // namespace mailotp::mail

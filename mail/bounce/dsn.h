// The fields of a delivery status notification (RFC 3464, RFC 6533), read leniently: from a
// message/delivery-status part, or from the same lines in a text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace mailotp::mail {

enum class DsnAction : std::uint8_t { none, failed, delayed, success };

struct DsnRecipient {
  std::string final_address;     // Final-Recipient, or X-Actual-Recipient where that has none; may be empty
  std::string original_address;  // Original-Recipient (RFC 3461 section 4.2); may be empty
  DsnAction action = DsnAction::none;
  std::string status;       // "5.1.1", or empty
  std::string diagnostic;   // Diagnostic-Code without its type, folds taken out; at most 2,000 bytes
  std::string remote_host;  // Remote-MTA without its type
  bool final_seen = false;  // the field was there, whatever it held
  bool original_seen = false;
  [[nodiscard]] const std::string& address() const {
    return original_address.empty() ? final_address : original_address;
  }
};

struct Dsn {
  std::string envid;  // Original-Envelope-Id
  std::vector<DsnRecipient> recipients;
};

// Adds what `text` says to `dsn`, at most `limit` recipients altogether.
void read_dsn(std::string_view text, std::size_t limit, Dsn& dsn);

}  // namespace mailotp::mail

#include "mail/bounce/addressed.h"

#include <algorithm>

#include "mail/bounce/ascii.h"
#include "mail/bounce/find_address.h"

namespace mailotp::mail {
namespace {

constexpr std::size_t k_addresses_a_field = 64;

// The tag of an address of the mailbox; false when it is another's.
bool tag_of(std::string_view address, const BounceMailbox& mailbox, std::string_view& tag) {
  const std::size_t at = address.rfind('@');
  if (at == std::string_view::npos || !same_ignoring_case(address.substr(at + 1), mailbox.domain))
    return false;
  std::string_view local = address.substr(0, at);
  if (local.size() >= 2 && local.front() == '"' && local.back() == '"')
    local = local.substr(1, local.size() - 2);
  if (local.size() < mailbox.local.size() ||
      !same_ignoring_case(local.substr(0, mailbox.local.size()), mailbox.local))
    return false;
  local.remove_prefix(mailbox.local.size());
  if (!local.empty() && local.front() != '+') return false;
  tag = local.empty() ? local : local.substr(1);
  return true;
}

}  // namespace

std::vector<AddressedTo> addressed_to(std::span<const HeaderField> fields, const BounceMailbox& mailbox) {
  std::vector<AddressedTo> out;
  if (mailbox.local.empty()) return out;
  for (const HeaderField& field : fields) {
    FoundAddress found = find_address(field.value);
    for (std::size_t count = 0; found && count < k_addresses_a_field && out.size() < k_addressed_to;
         ++count) {
      std::string_view tag;
      const bool ours = tag_of(found.address, mailbox, tag);
      const bool known =
          ours && std::any_of(out.begin(), out.end(), [&](const AddressedTo& one) { return one.tag == tag; });
      if (ours && !known) {
        AddressedTo& one = out.emplace_back(AddressedTo{std::string(tag), std::string(field.name)});
        std::transform(one.field.begin(), one.field.end(), one.field.begin(), lower);
      }
      found = find_address(field.value, found.end);
    }
  }
  return out;
}

bool is_of_mailbox(std::string_view address, const BounceMailbox& mailbox) {
  std::string_view tag;
  return !mailbox.local.empty() && tag_of(address, mailbox, tag);
}

}  // namespace mailotp::mail

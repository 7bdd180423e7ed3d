// Whether the outermost mail was delivered to our bounce mailbox, and with which tag.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "mail/bounce/parser.h"
#include "mail/bounce/scan.h"

namespace mailotp::mail {

[[nodiscard]] std::vector<AddressedTo> addressed_to(std::span<const HeaderField> fields,
                                                    const BounceMailbox& mailbox);

// An address of the mailbox, with any tag or none.
[[nodiscard]] bool is_of_mailbox(std::string_view address, const BounceMailbox& mailbox);

}  // namespace mailotp::mail

// Whether the outermost mail was delivered to our bounce mailbox, and with which tag.
#pragma once

#include <span>
#include <vector>

#include "mail/bounce/parser.h"
#include "mail/bounce/scan.h"

namespace mailotp::mail {

[[nodiscard]] std::vector<AddressedTo> addressed_to(std::span<const HeaderField> fields,
                                                    const BounceMailbox& mailbox);

}  // namespace mailotp::mail

#include "core/bounce_class.h"

namespace mailotp::core {

RefusalClass classify(const RefusalWords& words) {
  RefusalClass out;
  if (words.status.ends_with(".1.1")) out.bounce_class = BounceClass::user_unknown;
  if (words.status.ends_with(".2.2")) out.bounce_class = BounceClass::mailbox_full;
  return out;
}

}  // namespace mailotp::core

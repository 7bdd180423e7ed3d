#include "store/purge.h"

namespace mailotp::store {

core::Result<core::Answer> purge(Transaction&, const core::Purge&) {
  return core::Purged{};
}

}  // namespace mailotp::store

#include "daemon/http/limits.h"

#include <algorithm>

namespace mailotp::daemon {
namespace {

constexpr std::uint64_t k_most = HttpLimits{}.connections;
constexpr std::uint64_t k_operators = 256;  // connections
constexpr std::uint64_t k_metrics = 16;     // connections, out of the others; a scraper needs one
constexpr std::uint64_t k_others = 256;     // descriptors: listeners, the store's files, agents
static_assert(k_descriptors_wanted == k_most + k_operators + k_others);

// Of 32: over a half, so that one app alone on its machine is not cut short, and yet leaves as many again to
// the others.
constexpr std::uint64_t k_of_uid = 17;

HttpLimits with(std::uint64_t connections) {
  HttpLimits limits;
  limits.connections = static_cast<std::size_t>(connections);
  limits.connections_of_uid =
      static_cast<std::size_t>(std::max<std::uint64_t>(1, connections * k_of_uid / 32));
  return limits;
}

}  // namespace

HttpShares share_descriptors(std::uint64_t descriptors) {
  const bool few = descriptors < k_descriptors_wanted;
  // Where the fixed part would take more than half, everything shrinks alike.
  const std::uint64_t half = std::max<std::uint64_t>(2, descriptors / 2);
  const std::uint64_t apps =
      std::min(k_most, std::max(half, descriptors - std::min(descriptors, k_operators + k_others)));
  const std::uint64_t operators = std::min(k_operators, std::max<std::uint64_t>(2, descriptors / 4));
  const std::uint64_t metrics = std::min(k_metrics, std::max<std::uint64_t>(1, descriptors / 64));
  HttpLimits of_metrics = with(metrics);
  of_metrics.connections_of_uid = of_metrics.connections;  // whoever may scrape is one uid, of a proxy
  return {with(apps), with(operators), of_metrics, few};
}

}  // namespace mailotp::daemon

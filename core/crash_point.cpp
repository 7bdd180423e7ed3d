#include "core/crash_point.h"

#if defined(MAILOTP_CRASH_POINTS)

#include <charconv>
#include <csignal>
#include <cstdlib>

namespace mailotp::core {

namespace {

constexpr const char* k_variable = "MAILOTP_CRASH";

struct Order {
  std::string name;
  int hits = 0;  // 0: none is ordered
};

Order read_order() {
  const char* value = std::getenv(k_variable);
  const std::string_view text = value != nullptr ? value : "";
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return {};
  Order order{std::string(text.substr(0, colon)), 0};
  (void)std::from_chars(text.data() + colon + 1, text.data() + text.size(), order.hits);
  return order;
}

}  // namespace

void crash_point(std::string_view name) {
  static const Order order = read_order();
  if (order.hits == 0 || name != order.name) return;
  static int hits = 0;  // of the one thread that comes to this name
  if (++hits == order.hits) (void)std::raise(SIGKILL);
}

std::string crash_order() {
  const char* value = std::getenv(k_variable);
  return value != nullptr ? std::string(k_variable) + "=" + value : std::string();
}

}  // namespace mailotp::core

#endif

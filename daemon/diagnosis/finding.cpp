#include "daemon/diagnosis/finding.h"

#include <nlohmann/json.hpp>

namespace mailotp::daemon {
namespace {

const char* name_of(Outcome outcome) {
  switch (outcome) {
    case Outcome::ok:
      return "ok";
    case Outcome::warning:
      return "warning";
    case Outcome::failed:
      return "failed";
    case Outcome::unseen:
      return "unseen";
  }
  return "";
}

}  // namespace

std::string json_line(const Finding& finding) {
  const nlohmann::ordered_json value = {{"check", finding.check},
                                        {"subject", finding.subject},
                                        {"result", name_of(finding.outcome)},
                                        {"saw", finding.saw},
                                        {"remedy", finding.remedy}};
  // A file's name may have any bytes.
  return value.dump(-1, ' ', true, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace mailotp::daemon

#include "ctl/checks.h"

#include <array>
#include <optional>

#include <fmt/format.h>

#include "ctl/answer_json.h"
#include "ctl/text.h"

namespace mailotp::ctl {
namespace {

using answer::Json;

constexpr std::array<std::string_view, 4> k_results{"ok", "warning", "failed", "unseen"};

std::string_view name_of(CheckResult result) {
  return k_results[static_cast<std::size_t>(result)];
}

std::optional<CheckResult> result_named(std::string_view name) {
  for (std::size_t i = 0; i < k_results.size(); ++i) {
    if (k_results[i] == name) return static_cast<CheckResult>(i);
  }
  return std::nullopt;
}

std::string result_cell(CheckResult result, const Screen& screen) {
  const auto cell = [&screen](std::string_view word, Colour colour) {
    return coloured(fmt::format("{:<8}", word), colour, screen.colour);
  };
  switch (result) {
    case CheckResult::ok:
      return cell("ok", Colour::good);
    case CheckResult::warning:
      return cell("warning", Colour::waiting);
    case CheckResult::failed:
      return cell("FAILED", Colour::bad);
    case CheckResult::unseen:
      return cell("not seen", Colour::none);
  }
  return {};
}

}  // namespace

core::Result<CheckInfo> read_check(std::string_view line) {
  const auto value = answer::parse_object(line);
  if (!value) return tl::unexpected(value.error());
  const auto result = result_named(answer::text(*value, "result"));
  CheckInfo out{answer::text(*value, "check"), answer::text(*value, "subject"),
                result.value_or(CheckResult::failed), answer::text(*value, "saw"),
                answer::text(*value, "remedy")};
  if (!result || out.check.empty())
    return core::fail(core::Errc::malformed, "it is no check with a result that is known here");
  return out;
}

std::string check_line(const CheckInfo& check) {
  return answer::line_of(Json{{"check", check.check},
                              {"subject", check.subject},
                              {"result", name_of(check.result)},
                              {"saw", check.saw},
                              {"remedy", check.remedy}});
}

std::string show_check(const CheckInfo& check, const Screen& screen) {
  constexpr std::string_view k_indent = "          ";
  std::string what = printable(check.subject);
  if (!what.empty() && !check.saw.empty()) what += ": ";
  what += printable(check.saw);
  std::string out =
      fmt::format("{}  {:<14}  {}\n", result_cell(check.result, screen), printable(check.check), what);
  if (!check.remedy.empty()) out += fmt::format("{}→ {}\n", k_indent, printable(check.remedy));
  return out;
}

}  // namespace mailotp::ctl

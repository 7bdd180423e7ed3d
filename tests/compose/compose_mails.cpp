// Reads one request a line from standard input, as tab-separated fields:
//   from, app's domain, recipient, locale, life in seconds, code, purpose, data, binding
// and writes each mail, or the reason of its refusal, to standard output: "ok" or "refused", a blank, the
// size in bytes, a line end, the bytes. For mails_test.py.
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "tests/compose/compose_request.h"

namespace {

using namespace mailotp;

std::vector<std::string> fields_of(const std::string& line) {
  std::vector<std::string> fields;
  std::istringstream stream(line);
  for (std::string field; std::getline(stream, field, '\t');)
    fields.push_back(field);
  fields.resize(9);
  return fields;
}

void answer(const char* verdict, std::string_view bytes) {
  std::cout << verdict << ' ' << bytes.size() << '\n' << bytes;
}

void compose(const std::vector<std::string>& fields) {
  auto set = mail::TemplateSet::load({MAILOTP_TEMPLATES}, "en");
  if (!set) return answer("refused", set.error().what);
  const auto from = core::parse_named_address(fields[0]);
  const auto recipient = core::parse_address(fields[2]);
  if (!from) return answer("refused", from.error().what);
  if (!recipient) return answer("refused", recipient.error().what);
  mail::ComposerSettings settings = mail::test::settings();
  settings.from = *from;
  settings.domain = fields[1];
  core::ComposeRequest request = mail::test::otp_request();
  request.recipient = *recipient;
  request.locale = fields[3];
  request.life = core::Seconds(std::stol(fields[4]));
  request.code = core::Secret(fields[5]);
  request.purpose = fields[6];
  request.variables = core::Secret(fields[7]);
  request.binding = core::Secret(fields[8]);
  const auto mail = mail::MailComposer(std::move(*set), std::move(settings)).compose(request);
  if (mail)
    answer("ok", mail->content.reveal());
  else
    answer("refused", mail.error().detail);
}

}  // namespace

int main() {
  for (std::string line; std::getline(std::cin, line);)
    compose(fields_of(line));
  return 0;
}

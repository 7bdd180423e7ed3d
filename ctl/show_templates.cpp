#include <array>

#include <fmt/format.h>

#include "ctl/show.h"
#include "ctl/show_words.h"
#include "ctl/text.h"

namespace mailotp::ctl {
namespace {

constexpr std::array<Column, 6> k_template_columns{{{"TEMPLATE", 16, 24, 1},
                                                    {"LOCALE", 8, 8, 2},
                                                    {"VERSION", 16, 16, 4},
                                                    {"ORIGIN", 10, 10, 3},
                                                    {"CODE", 4, 4, 5},
                                                    {"VARIABLES", 14, k_whole_line, 6}}};

}  // namespace

std::string templates_head(const Screen& screen) {
  return Table(k_template_columns, screen).head();
}

std::string templates_rows(const std::vector<TemplateInfo>& templates, const Screen& screen) {
  const Table table(k_template_columns, screen);
  std::string out;
  for (const TemplateInfo& one : templates) {
    for (const TemplateInfo::Locale& locale : one.locales) {
      out += table.row({{or_dash(one.name)},
                        {or_dash(locale.locale)},
                        {or_dash(locale.version)},
                        {or_dash(locale.origin)},
                        {locale.code ? "yes" : "no"},
                        {or_dash(one.variables)}});
    }
  }
  return out;
}

std::string show_preview(const PreviewInfo& preview, Part part) {
  switch (part) {
    case Part::text:
      return printable_lines(preview.text);
    case Part::html:
      return printable_lines(preview.html);
    case Part::mail:
      break;
  }
  return fmt::format("{}\n\n{}", printable(preview.subject), printable_lines(preview.text));
}

}  // namespace mailotp::ctl

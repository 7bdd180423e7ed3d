// The language of templates, what a set finds, and which values are refused.
#include <catch2/catch.hpp>

#include "mail/compose/strict_template.h"
#include "mail/compose/template_files.h"
#include "mail/compose/visible_text.h"
#include "tests/compose/template_folder.h"

namespace mailotp::mail::test {

namespace {

const Partials k_partials{
    {"word", {"_partials/word.mustache", "{{app}}\n"}},
    {"lines", {"_partials/lines.mustache", "one\n{{#domain}}\ntwo\n{{/domain}}\n"}},
    {"brace", {"_partials/brace.mustache", "{"}},
    {"outer", {"_partials/outer.mustache", "({{> word}})"}},
};

std::string rendered(const std::string& source, const Values& values, Escape escape = Escape::none) {
  std::set<std::string> used;
  const auto tokens = expand({"t", source}, k_partials, used);
  if (!tokens) FAIL(tokens.error().what);
  const auto parsed = StrictTemplate::compile(*tokens, escape);
  if (!parsed) FAIL(parsed.error().what);
  std::string out;
  const auto done = parsed->render(values, out);
  if (!done) return "absent: " + done.error().what;
  return out;
}

}  // namespace

TEST_CASE("templates render as Mustache says") {
  const auto [source, with_domain, without_domain] = GENERATE(table<std::string, std::string, std::string>({
      {"", "", ""},
      {"plain  text\n\n", "plain  text\n\n", "plain  text\n\n"},
      {"{{app}}", "A<&>", "A<&>"},
      {"{ {{app}} }", "{ A<&> }", "{ A<&> }"},
      {"{{! gone }}x", "x", "x"},
      {"{{> brace}}{{app}}}", "{A<&>}", "{A<&>}"},
      {"a {{#domain}}d={{domain}} {{/domain}}b", "a d=x.org b", "a b"},
      {"a{{^domain}} none{{/domain}}", "a", "a none"},
      {"A\n{{#domain}}\nD\n{{/domain}}\nB\n", "A\nD\nB\n", "A\nB\n"},
      {"A\n{{#domain}}\nD\n{{/domain}}\n\nB\n", "A\nD\n\nB\n", "A\n\nB\n"},
      {"A\n\n  {{#domain}}  \nD\n  {{/domain}}\n", "A\n\nD\n", "A\n\n"},
      {"{{#domain}}\n \n{{/domain}}", " \n", ""},
      {"A\n{{! a comment\n of two lines }}\nB", "A\nB", "A\nB"},
      {"{{#domain}}{{#app}}{{domain}}{{/app}}{{/domain}}", "x.org", ""},
      {"at {{> word}}.", "at A<&>.", "at A<&>."},
      {"{{> word}}\nB", "A<&>\nB", "A<&>\nB"},
      {"{{> outer}}!", "(A<&>)!", "(A<&>)!"},
      {"A\n{{> lines}}\nB", "A\none\ntwo\nB", "A\none\nB"},
  }));
  Values values;
  values.app = "A<&>";
  CHECK(rendered(source, values) == without_domain);
  values.domain = "x.org";
  CHECK(rendered(source, values) == with_domain);
}

TEST_CASE("values are escaped in HTML and nowhere else, and never read as a template") {
  Values values;
  values.app = R"(<b a="1" c='2'>&{{code}})";
  CHECK(rendered("{{app}}", values, Escape::html) == "&lt;b a=&quot;1&quot; c=&#39;2&#39;&gt;&amp;{{code}}");
  CHECK(rendered("{{app}}", values) == R"(<b a="1" c='2'>&{{code}})");
}

TEST_CASE("a value that is needed and absent is an error, not a blank") {
  CHECK(rendered("x{{binding.amount}}", {}) == "absent: binding.amount");
  CHECK(rendered("x{{#binding.amount}}{{binding.amount}}{{/binding.amount}}", {}) == "x");
  CHECK(rendered("{{#binding.amount}}{{/binding.amount}}{{binding.amount}}", {}) == "absent: binding.amount");
}

TEST_CASE("switches and fields of a group") {
  Values values;
  values.purpose = "login";
  values.minutes = "1";
  values.binding = {{"amount", "5 EUR"}};
  CHECK(rendered("{{#purpose.login}}L{{/purpose.login}}{{^purpose.other}}O{{/purpose.other}}", values) ==
        "LO");
  CHECK(rendered("{{#minutes.one}}one{{/minutes.one}}{{purpose}}", values) == "onelogin");
  CHECK(rendered("{{binding.amount}}", values) == "5 EUR");
}

TEST_CASE("a template with very many names is refused, not misread") {
  std::vector<Token> tokens;
  for (int i = 0; i < 95; ++i)
    tokens.push_back({TokenKind::variable, "v" + std::to_string(i), "t:1", false});
  const auto fits = StrictTemplate::compile(tokens, Escape::none);
  REQUIRE(fits);
  Values values;
  std::vector<std::string> names;
  for (int i = 0; i < 95; ++i)
    names.push_back("v" + std::to_string(i));
  for (const std::string& name : names)
    values.variables.emplace_back(name, name);
  std::string out;
  REQUIRE(fits->render(values, out));
  std::string all;
  for (const std::string& name : names)
    all += name;
  CHECK(out == all);
  tokens.push_back({TokenKind::variable, "v95", "t:1", false});
  CHECK_FALSE(StrictTemplate::compile(tokens, Escape::none));
}

TEST_CASE("partials that double at every level stay bounded") {
  Partials partials;
  for (int level = 0; level < 7; ++level) {
    const std::string inner = "{{> p" + std::to_string(level + 1) + "}}";
    std::string text;
    for (int i = 0; i < 10; ++i)
      text += inner + "x";
    partials.insert({"p" + std::to_string(level), {"p", text}});
  }
  partials.insert({"p7", {"p7", "{{app}} and"}});
  std::set<std::string> used;
  const auto tokens = expand({"t", "{{> p0}}"}, partials, used);
  REQUIRE_FALSE(tokens);
  CHECK_THAT(tokens.error().what, Catch::Contains("too large"));
}

TEST_CASE("partials in which nothing stands stay bounded too") {
  Partials partials;
  for (int level = 0; level < 7; ++level) {
    const std::string inner = "{{> p" + std::to_string(level + 1) + "}}\n";
    std::string text;
    for (int i = 0; i < 40; ++i)
      text += inner;
    partials.insert({"p" + std::to_string(level), {"p", text}});
  }
  partials.insert({"p7", {"p7", "{{! }}\n"}});
  std::set<std::string> used;
  const auto tokens = expand({"t", "{{> p0}}"}, partials, used);
  REQUIRE_FALSE(tokens);
  CHECK_THAT(tokens.error().what, Catch::Contains("too large"));
}

TEST_CASE("partials of much text stay bounded") {
  const Partials partials{{"long", {"long", std::string(60'000, 'x')}}};
  std::set<std::string> used;
  CHECK(expand({"t", "{{> long}}{{> long}}"}, partials, used));
  const auto tokens = expand({"t", "{{> long}}{{> long}}{{> long}}{{> long}}{{> long}}"}, partials, used);
  REQUIRE_FALSE(tokens);
  CHECK_THAT(tokens.error().what, Catch::Contains("too large"));
}

TEST_CASE("sections in sections stay bounded, those of partials too") {
  const auto nested = [](int depth, const std::string& inner) {
    std::string text = inner;
    for (int i = 0; i < depth; ++i)
      text = "{{#app}}" + text + "{{/app}}";
    return text;
  };
  std::set<std::string> used;
  CHECK(expand({"t", nested(64, "x")}, {}, used));
  CHECK_FALSE(expand({"t", nested(65, "x")}, {}, used));
  const Partials partials{{"inner", {"inner", nested(32, "x")}}};
  CHECK(expand({"t", nested(32, "{{> inner}}") + nested(32, "{{> inner}}")}, partials, used));
  const auto tokens = expand({"t", nested(33, "{{> inner}}")}, partials, used);
  REQUIRE_FALSE(tokens);
  CHECK_THAT(tokens.error().what, Catch::Contains("inner:1: sections nest too deep, at app"));
}

TEST_CASE("a partial without text takes no line end away from what is before it") {
  const Partials partials{{"none", {"none", "{{! }}\n"}}};
  std::set<std::string> used;
  const auto tokens = expand({"t", "one\n{{> none}}two"}, partials, used);
  REQUIRE(tokens);
  REQUIRE(tokens->size() == 2);
  CHECK(tokens->front().value == "one\n");
}

TEST_CASE("locales fall back from the region to the language to the default") {
  TemplateFolder folder;
  for (const char* locale : {"en", "de", "pt-BR", "zh-Hant"}) {
    const std::string base = std::string("t/") + locale;
    folder.add(base + "/subject.mustache", locale)
        .add(base + "/text.mustache", "x")
        .add(base + "/html.mustache", "x");
  }
  const auto set = folder.load();
  REQUIRE(set);
  const auto [asked, given] = GENERATE(table<std::string, std::string>({
      {"de", "de"},
      {"de-AT", "de"},
      {"de_AT", "de"},
      {"DE-at", "de"},
      {"de-Latn-AT-1996", "de"},
      {"pt-br", "pt-BR"},
      {"pt", "en"},
      {"zh-Hant-TW", "zh-Hant"},
      {"fr", "en"},
      {"", "en"},
      {"-", "en"},
      {"de-", "en"},
      {"../../etc", "en"},
      {"de\n", "en"},
  }));
  const auto match = set->find("t", asked);
  REQUIRE(match);
  CHECK(match->variant.locale == given);
  CHECK_FALSE(set->find("T", asked));
}

TEST_CASE("a later directory stands in file by file, and versions follow what was used") {
  TemplateFolder installed;
  installed.add_good()
      .add("t/en/text.mustache", "{{> greet}}\n{{code}}\n")
      .add("_partials/greet.mustache", "Hello\n")
      .add("_partials/unused.mustache", "x\n");
  const auto before = installed.load();
  REQUIRE(before);
  const std::string version = before->find("t", "en")->variant.version;
  CHECK(version.size() == 16);
  CHECK(version.find_first_not_of("0123456789abcdef") == std::string::npos);
  REQUIRE(before->source(version));
  CHECK_THAT(std::string(*before->source(version)), Catch::Contains("Hello") && !Catch::Contains("unused"));
  CHECK_FALSE(before->source("0000000000000000"));

  TemplateFolder own;
  const auto [name, text, same] = GENERATE(table<std::string, std::string, bool>({
      {"t/en/subject.mustache", "Ours\n", false},
      {"_partials/greet.mustache", "Good day\n", false},
      {"t/template.toml", "[variables.x]\nsample = \"x\"\n", false},
      {"_partials/unused.mustache", "y\n", true},
      {"t/en/subject.mustache", "\xEF\xBB\xBFYour code\r\n", true},
      {"t/en/README", "a note\n", true},
      {".git/x", "x", true},
      {"notes.txt", "x", true},
  }));
  own.add(name, text);
  const auto after = TemplateSet::load({installed.path(), own.path()}, "en");
  if (!after) FAIL(after.error().what);
  CHECK((after->find("t", "en")->variant.version == version) == same);
}

TEST_CASE("an outline says what a template is made of, and where that comes from") {
  TemplateFolder installed;
  TemplateFolder own;
  installed.add_good().add("_partials/word.mustache", "x\n");
  installed.add("p/en/subject.mustache", "P\n").add("p/en/text.mustache", "{{> word}}\n");
  installed.add("p/en/html.mustache",
                "<p>{{binding.amount}}{{#binding.payee}}{{binding.payee}}{{/binding.payee}}</p>");
  installed.add("p/template.toml", "uncertain = \"hold\"\n[variables.name]\nsample = \"Alice\"\n");
  own.add("_partials/word.mustache", "y\n").add("t/de/subject.mustache", "Ihr Code\n");
  own.add("t/de/text.mustache", "Code:\n{{code}}\nTschau\n")
      .add("t/de/html.mustache", "<p>Code:</p><p>{{code}}</p>\n");
  const auto set = TemplateSet::load({installed.path(), own.path()}, "en");
  if (!set) FAIL(set.error().what);
  const auto outlines = set->outlines();
  REQUIRE(outlines.size() == 2);
  CHECK(outlines[0].name == "p");
  CHECK(outlines[0].on_uncertain == core::OnUncertain::hold);
  REQUIRE(outlines[0].variables.size() == 1);
  CHECK(outlines[0].variables[0].sample == "Alice");
  REQUIRE(outlines[0].locales.size() == 1);
  CHECK(outlines[0].locales[0].origin == core::TemplateOrigin::overridden);  // by its partial
  CHECK_FALSE(outlines[0].locales[0].uses_code);
  REQUIRE(outlines[0].locales[0].binding.size() == 2);
  CHECK((outlines[0].locales[0].binding[0].name == "amount" && outlines[0].locales[0].binding[0].required));
  CHECK((outlines[0].locales[0].binding[1].name == "payee" && !outlines[0].locales[0].binding[1].required));
  REQUIRE(outlines[1].locales.size() == 2);
  CHECK(
      (outlines[1].locales[0].locale == "de" && outlines[1].locales[0].origin == core::TemplateOrigin::own));
  CHECK((outlines[1].locales[1].locale == "en" &&
         outlines[1].locales[1].origin == core::TemplateOrigin::installed));
  const auto found = set->find("t", "de-AT");
  REQUIRE(found);
  const auto one = TemplateSet::outline(found->mail_template, found->variant);
  REQUIRE(one.locales.size() == 1);
  CHECK(one.locales[0].locale == "de");
  CHECK(one.locales[0].version == found->variant.version);
}

TEST_CASE("a directory that cannot be listed is an error") {
  TemplateFolder folder;
  folder.add("file", "x");
  const auto set = TemplateSet::load({folder.path() + "/file"}, "en");
  REQUIRE_FALSE(set);
  CHECK(set.error().code == core::Errc::io);
}

TEST_CASE("values that are refused, and why") {
  using K = ValueKind;
  const auto [kind, value, why] = GENERATE(table<K, std::string, std::string>({
      {K::text, "Alice", ""},
      {K::text, "Zoë 🎉 \u200d", ""},
      {K::text, std::string(64, 'x'), ""},
      {K::text, "ääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääää", ""},
      {K::text, std::string(65, 'x'), "is longer than 64 characters"},
      {K::text, "a\nb", "holds a line break"},
      {K::text, "a\rb", "holds a line break"},
      {K::text, "a\u2028b", "holds a line break"},
      {K::text, "a\u0085b", "holds a line break"},
      {K::text, std::string("a\0b", 3), "holds a control character"},
      {K::text, "a\tb", "holds a control character"},
      {K::text, "a\x7f", "holds a control character"},
      {K::text, "a\u202Eb", "holds a control character"},
      {K::text, "a\u2066b", "holds a control character"},
      {K::text, "win at http://x", "holds ://, which only a url may"},
      {K::text, "\xff", "is not UTF-8"},
      {K::text, "\xC0\x80", "is not UTF-8"},
      {K::text, "\xED\xA0\x80", "is not UTF-8"},
      {K::url, "https://example.org/a?b=c#d", ""},
      {K::url, "http://localhost:3000/", ""},
      {K::url, "javascript:alert(1)", "is not a http or https URL"},
      {K::url, "example.org", "is not a http or https URL"},
      {K::url, "https://", "is a URL without a host"},
      {K::url, "https:///x", "is a URL without a host"},
      {K::url, "https://x/a b", "holds a character that must be percent-encoded in a URL"},
      {K::url, "https://x/\"", "holds a character that must be percent-encoded in a URL"},
      {K::url, "https://x/ä", "holds a character that must be percent-encoded in a URL"},
      {K::url, "https://x/\n", "holds a character that must be percent-encoded in a URL"},
      {K::url, "https://x/" + std::string(55, 'x'), "is longer than 64 characters"},
  }));
  INFO(value);
  CHECK(refuse_value(kind, 64, value).value_or("") == why);
}

TEST_CASE("what a person sees of HTML") {
  const auto [html, text] = GENERATE(table<std::string, std::string>({
      {"a<b>c</b>d", "acd"},
      {"a<P class=x>c</P>d", "a\nc\nd"},
      {"<td>1<TD>2", "\n1\n2"},
      {"a<!-- <b> -->c", "ac"},
      {"a<style>b { }</style>c", "ac"},
      {"a<script>b", "a"},
      {"a&nbsp;b&#8203;c", "a?b?c"},
      {"a & b", "a & b"},
      {"a<b", "a"},
  }));
  CHECK(visible_text(html) == text);
}

TEST_CASE("numbers that look like a code") {
  const auto [text, numbers] = GENERATE(table<std::string, std::vector<std::string>>({
      {"123", {}},
      {"1234", {"1234"}},
      {"a12345b", {"12345"}},
      {"123456789012", {"123456789012"}},
      {"1234567890123", {}},
      {"123 456", {"123 456"}},
      {"12-34-56", {"12-34-56"}},
      {"12  34", {}},
      {"1 2 3 4", {}},
      {"10 minutes", {}},
      {"12:10", {}},
      {"39.99", {}},
      {"1234, 5678", {"1234", "5678"}},
  }));
  CHECK(code_like_numbers(text) == numbers);
}

}  // namespace mailotp::mail::test

// Every way in which a template is refused when it is loaded: one small bad set each.
#include <catch2/catch.hpp>

#include "tests/compose/template_folder.h"

namespace mailotp::mail::test {

namespace {

struct BadFile {
  const char* name;
  std::string text;
  const char* error;  // what the message ends with, or a part of it; "FILE" is the file's path
};

std::string expected(std::string error, const std::string& path) {
  const std::size_t at = error.find("FILE");
  return at == std::string::npos ? error : error.replace(at, 4, path);
}

}  // namespace

TEST_CASE("a good set loads") {
  TemplateFolder folder;
  folder.add_good();
  const auto set = folder.load();
  if (!set) FAIL(set.error().what);
  CHECK(set->all().size() == 1);
}

TEST_CASE("each bad file is refused with its place and its own reason") {
  const BadFile bad = GENERATE_COPY(values<BadFile>({
      // the language
      {"t/en/text.mustache", "{{code}}\n\n{{nmae}}\n", "FILE:3: unknown variable nmae"},
      {"t/en/text.mustache", "{{code}}\n{{#nmae}}x{{/nmae}}\n", "FILE:2: unknown variable nmae"},
      {"t/en/text.mustache", "{{code}}\n{{foo.bar}}\n", "FILE:2: unknown variable foo.bar"},
      {"t/en/text.mustache", "{{code}}\n{{> footer}}\n", "FILE:2: there is no partial footer"},
      {"t/en/text.mustache", "{{code}}\n{{#app}}x\n", "FILE:2: section app is not closed"},
      {"t/en/text.mustache", "{{code}}\n{{/app}}x\n", "FILE:2: section app is closed but not open"},
      {"t/en/text.mustache", "{{code}}\n{{#app}}x\n{{/domain}}", "FILE:2) is closed as domain"},
      {"t/en/text.mustache", "{{code}}\n{{app\n", "FILE:2: a tag is not closed with }}"},
      {"t/en/text.mustache", "{{code}}\n{{ }}\n", "FILE:2: a tag is empty"},
      {"t/en/text.mustache", "{{code}}\n{{{app}}}\n", "FILE:2: an unescaped variable"},
      {"t/en/html.mustache", "<p>{{code}}\n{{& app}}\n", "FILE:2: an unescaped variable"},
      {"t/en/text.mustache", "{{code}}\n{{=<% %>=}}\n", "FILE:2: other delimiters"},
      {"t/en/text.mustache", "{{code}}\n{{.}}\n", "FILE:2: a variable's name has letters, digits and _ only"},
      {"t/en/text.mustache", "{{code}}\n{{a b}}\n",
       "FILE:2: a variable's name has letters, digits and _ only"},
      {"t/en/text.mustache", "{{code}}\n{{> ../x}}\n",
       "FILE:2: a partial's name has letters, digits and _ only"},
      {"_partials/loop.mustache", "{{> loop}}", "FILE:1: partials nest too deep, at loop"},
      {"t/en/text.mustache", "{{code}}\n\x01\n", "FILE:2: a control character"},
      {"t/en/text.mustache", std::string("{{code}}\n\0\n", 11), "FILE:2: a control character"},
      {"t/en/text.mustache", "{{code}}\n\r\rx", "FILE:2: a control character"},
      {"t/en/text.mustache", "{{code}}\n\xC3(\n", "FILE:2: not UTF-8"},
      {"t/en/text.mustache", std::string(64 * 1024 + 1, 'x'), "FILE: larger than 64 KiB"},
      // what may be absent
      {"t/en/text.mustache", "{{code}}\n{{domain}}\n",
       "FILE:2: domain may be absent: put it inside {{#domain}}"},
      {"t/en/text.mustache", "{{code}}\n{{^domain}}{{domain}}{{/domain}}\n", "FILE:2: domain may be absent"},
      {"t/en/text.mustache", "{{code}}\n{{hours}}\n", "FILE:2: hours may be absent"},
      {"t/en/text.mustache", "{{code}}\n{{purpose.login}}\n", "FILE:2: purpose.login is a switch"},
      {"t/en/text.mustache", "{{code}}\n{{minutes.one}}\n", "FILE:2: minutes.one is a switch"},
      // the code
      {"t/en/text.mustache", "no code\n", "FILE: the code is in the HTML but not in the text"},
      {"t/en/html.mustache", "no code\n", "FILE: the code is in the text but not in the HTML"},
      {"t/en/subject.mustache", "{{code}} is it\n",
       "FILE:1: the code is in the subject, which lock screens show"},
      {"t/en/text.mustache", "{{code}}\nagain\n{{code}}\n", "the code is more than once in the text"},
      {"t/en/text.mustache", "{{#domain}}\n{{code}}\n{{/domain}}\n",
       "FILE:2: the code is missing from the text in some cases"},
      {"t/en/text.mustache", "Code: {{code}}\n", "FILE:1: the code must be alone on its line of the text"},
      {"t/en/text.mustache",
       "{{^minutes.one}}{{code}}{{/minutes.one}}\n{{^domain}}{{#minutes.one}}{{code}}{{/minutes.one}}{{/"
       "domain}}\n",
       "FILE:1: the code is missing from the text in some cases"},
      {"t/en/text.mustache", "{{code}} \n", "FILE:1: the code must be alone on its line of the text"},
      {"t/en/text.mustache", "{{code}}{{minutes}}\n", "FILE:1: the code touches other letters or digits"},
      {"t/en/text.mustache", "{{code}}\nfrom 2026\n", "FILE:2: the number 2026 looks like a code"},
      {"t/en/text.mustache", "{{code}}\ncall 123 456\n", "FILE:2: the number 123 456 looks like a code"},
      {"t/en/subject.mustache", "Order 12345\n", "FILE:1: the number 12345 looks like a code"},
      {"t/en/html.mustache", "<p>{{code}}</p><p title=\"{{code}}\">",
       "the code is more than once in the HTML"},
      {"t/en/html.mustache", "<p title=\"{{code}}\">code</p>",
       "FILE:1: the code is in the HTML where nobody sees it"},
      {"t/en/html.mustache", "<!-- {{code}} -->", "FILE:1: the code is in the HTML where nobody sees it"},
      {"t/en/html.mustache", "<style>{{code}}</style>",
       "FILE:1: the code is in the HTML where nobody sees it"},
      {"t/en/html.mustache", "{{#domain}}{{code}}{{/domain}}",
       "FILE:1: the code is missing from the HTML in some cases"},
      {"t/en/html.mustache", "<p><b>a</b>{{code}}</p>", "FILE:1: the code touches other letters or digits"},
      {"t/en/html.mustache", "<p>{{code}}</p>\n<p>&copy; 20<b>26</b></p>",
       "the number 2026 looks like a code"},
      // the subject
      {"t/en/subject.mustache", "\n", "FILE:1: the subject is empty"},
      {"t/en/subject.mustache", "{{#domain}}x{{/domain}}\n", "FILE:1: the subject is empty"},
      {"t/en/subject.mustache", "two\nlines\n", "FILE:1: the subject must be one line"},
      {"t/en/subject.mustache", "Your\tcode\n", "FILE:1: the subject holds a tab"},
      // template.toml
      {"t/template.toml", "a =\n", "FILE:1: "},
      {"t/template.toml", "\nnonsense = 1\n", "FILE:2: unknown key nonsense"},
      {"t/template.toml", "[?variables.name]\n", "FILE:1: "},
      {"t/template.toml", "\"a\\nb\" = 1\n", "FILE:1: unknown key"},
      {"t/template.toml", "\na.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q = 1\n", "FILE:2: a key has too many parts"},
      {"t/template.toml", "code_in_subject = 1\n", "FILE:1: must be true or false"},
      {"t/template.toml", "uncertain = \"send\"\n", "FILE:1: uncertain must be resend or hold"},
      {"t/template.toml", "uncertain = true\n", "FILE:1: uncertain must be resend or hold"},
      {"t/template.toml", "variables = 1\n", "FILE:1: variables must be tables"},
      {"t/template.toml", "[variables]\nname = 1\n", "FILE:2: variable name must be a table"},
      {"t/template.toml", "[variables.\"a-b\"]\n",
       "FILE:1: a variable's name has letters, digits and _ only"},
      {"t/template.toml", "[variables.code]\nsample = \"1\"\n", "FILE:1: variable code is built in"},
      {"t/template.toml", "[variables.name]\nsampel = \"x\"\n",
       "FILE:2: unknown key sampel of variable name"},
      {"t/template.toml", "[variables.name]\nrequired = \"yes\"\n", "FILE:2: must be true or false"},
      {"t/template.toml", "[variables.name]\nmax_length = 0\nsample = \"x\"\n",
       "FILE:1: max_length of variable name must be 1 to 1000"},
      {"t/template.toml", "[variables.name]\nkind = \"html\"\nsample = \"x\"\n",
       "FILE:1: kind of variable name must be text or url"},
      {"t/template.toml", "[variables.name]\nrequired = true\n", "FILE:1: variable name needs a sample"},
      {"t/template.toml", "[variables.name]\nrequired = true\ndefault = \"x\"\n",
       "FILE:1: variable name is required and has a default"},
      {"t/template.toml", "[variables.name]\nmax_length = 3\nsample = \"Alice\"\n",
       "FILE:1: the sample of variable name is longer than 3 characters"},
      {"t/template.toml", "[variables.name]\nsample = \"x\"\ndefault = \"a://b\"\n",
       "FILE:1: the default of variable name holds ://"},
      {"t/template.toml", "[variables.link]\nkind = \"url\"\nsample = \"ftp://x\"\n",
       "FILE:1: the sample of variable link is not a http or https URL"},
      // names
      {"T/en/text.mustache", "x", "/T: a template's name has a-z, 0-9, - and _ only"},
      {"t/not a language/text.mustache", "x", "not called after a language"},
      {"t/de/text.mustache", "x", "/t/de: subject.mustache is missing"},
  }));
  TemplateFolder folder;
  folder.add_good().add(bad.name, bad.text);
  if (std::string(bad.name).starts_with("_partials/"))
    folder.add("t/en/text.mustache", "{{code}}\n{{> loop}}\n");
  const auto set = folder.load();
  INFO(bad.name << ": " << bad.text.substr(0, 200));
  REQUIRE_FALSE(set);
  CHECK(set.error().code == core::Errc::invalid);
  CHECK_THAT(set.error().what, Catch::Contains(expected(bad.error, folder.path() + "/" + bad.name)));
}

TEST_CASE("an optional variable must be guarded, one with a default or a required one need not") {
  const auto [toml, loads] = GENERATE(table<std::string, bool>({
      {"sample = \"Alice\"\n", false},
      {"sample = \"Alice\"\nrequired = true\n", true},
      {"default = \"you\"\n", true},
  }));
  TemplateFolder folder;
  folder.add_good()
      .add("t/template.toml", "[variables.name]\n" + toml)
      .add("t/en/text.mustache", "{{code}}\n{{name}}\n");
  const auto set = folder.load();
  REQUIRE(set.has_value() == loads);
  if (!loads) CHECK_THAT(set.error().what, Catch::Contains("text.mustache:2: name may be absent"));
}

TEST_CASE("a sample that looks like a code is refused beside the code") {
  TemplateFolder folder;
  folder.add_good()
      .add("t/template.toml", "[variables.order]\nsample = \"10023\"\nrequired = true\n")
      .add("t/en/html.mustache", "<p>{{code}}</p><p>{{order}}</p>");
  const auto set = folder.load();
  REQUIRE_FALSE(set);
  CHECK_THAT(set.error().what, Catch::Contains("the number 10023 looks like a code"));
}

TEST_CASE("code_in_subject lets the code into the subject, but not alone there") {
  TemplateFolder folder;
  folder.add_good()
      .add("t/template.toml", "code_in_subject = true\n")
      .add("t/en/subject.mustache", "{{code}} is your code\n");
  CHECK(folder.load());
  folder.add("t/en/text.mustache", "x\n").add("t/en/html.mustache", "x\n");
  const auto set = folder.load();
  REQUIRE_FALSE(set);
  CHECK_THAT(set.error().what, Catch::Contains("the code is in the subject but not in the text"));
}

TEST_CASE("a template without a code may show years, but not the life or the purpose of a code") {
  const std::string name = GENERATE("minutes", "purpose");
  TemplateFolder folder;
  folder.add("t/en/subject.mustache", "Welcome")
      .add("t/en/text.mustache", "since 2026")
      .add("t/en/html.mustache", "2026");
  CHECK(folder.load());
  folder.add("t/en/text.mustache", "{{" + name + "}}");
  const auto set = folder.load();
  REQUIRE_FALSE(set);
  CHECK_THAT(set.error().what, Catch::Contains(name + " is only there in mails that carry a code"));
}

TEST_CASE("the default locale must be there") {
  TemplateFolder folder;
  folder.add_good();
  const auto set = TemplateSet::load({folder.path()}, "fr");
  REQUIRE_FALSE(set);
  CHECK_THAT(set.error().what, Catch::Contains("/t: template t has no locale fr, the default"));
  CHECK(TemplateSet::load({folder.path()}, "en-GB"));
}

TEST_CASE("no templates at all is an error, a directory that is not there is not") {
  TemplateFolder folder;
  const auto none = TemplateSet::load({folder.path() + "/absent"}, "en");
  REQUIRE_FALSE(none);
  CHECK(none.error().code == core::Errc::not_found);
  folder.add_good();
  CHECK(TemplateSet::load({folder.path() + "/absent", folder.path()}, "en"));
}

TEST_CASE("the installed templates pass their own lint") {
  const auto set = TemplateSet::load({MAILOTP_TEMPLATES}, "en");
  if (!set) FAIL(set.error().what);
  CHECK(set->find("otp", "de")->variant.locale == "de");
}

}  // namespace mailotp::mail::test

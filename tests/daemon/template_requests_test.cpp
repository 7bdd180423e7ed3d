#include "daemon/api/template_requests.h"

#include <string>

#include <catch2/catch.hpp>

using namespace mailotp;
using daemon::Problem;

namespace {

core::Config config(std::initializer_list<const char*> apps) {
  core::Config c;
  c.mail.locale = "en";
  c.purposes["login"] = {};
  for (const char* name : apps) {
    core::AppConfig app;
    app.name = name;
    c.apps.push_back(std::move(app));
  }
  return c;
}

}  // namespace

TEST_CASE("templates: a preview may say nothing") {
  for (const char* body :
       {"", "{}", R"({"app":null,"locale":null,"data":null,"binding":null,"purpose":null})"}) {
    const auto use = daemon::parse_preview(body, config({"shop", "blog"}));
    REQUIRE(use);
    CHECK(use->app == "default");
    CHECK(use->purpose == "login");
    CHECK(use->locale == "en");
    CHECK(use->variables.empty());
  }
  CHECK(daemon::parse_preview(R"({"x":1})", config({})).error().field == "x");
  CHECK(daemon::parse_preview(R"({"app":"none"})", config({"shop"})).error().field == "app");
  CHECK(daemon::parse_preview(R"({"app":"default"})", config({"shop"})).error().field == "app");
  CHECK(daemon::parse_preview(R"({"purpose":"none"})", config({})).error().field == "purpose");
}

TEST_CASE("templates: a test is somebody's mail") {
  const char* plain = R"({"recipient":"a@b.example"})";
  CHECK(daemon::parse_test_send(plain, config({}))->use.app == "default");
  CHECK(daemon::parse_test_send(plain, config({"shop"}))->use.app == "shop");
  CHECK(daemon::parse_test_send(plain, config({"shop", "blog"})).error().field == "app");
  CHECK(daemon::parse_test_send(R"({"recipient":"a@b.example","app":"blog"})", config({"shop", "blog"}))
            ->use.app == "blog");
  CHECK(daemon::parse_test_send("{}", config({})).error().field == "recipient");
  CHECK(daemon::parse_test_send(R"({"recipient":"nobody"})", config({})).error().problem ==
        Problem::invalid_recipient);
}

TEST_CASE("templates: samples fill what is left out, and nothing else") {
  core::TemplateOutline outline;
  outline.variables = {{"name", "text", false, "", 64, "Alice"},
                       {"link", "url", true, "", 64, "https://x.example"},
                       {"plain", "text", false, "", 64, ""}};
  CHECK(daemon::with_samples(core::Secret(""), outline).reveal() ==
        R"({"link":"https://x.example","name":"Alice"})");
  CHECK(daemon::with_samples(core::Secret(R"({"name":""})"), outline).reveal() ==
        R"({"link":"https://x.example","name":""})");
  core::TemplateLocale locale;
  locale.binding = {{"amount", true}, {"payee", false}};
  CHECK(daemon::binding_with_samples(core::Secret(""), locale).reveal() == R"({"amount":"Sample"})");
  CHECK(daemon::binding_with_samples(core::Secret(R"({"amount":"1","payee":"x"})"), locale).reveal() ==
        R"({"amount":"1","payee":"x"})");
}

TEST_CASE("templates: a made-up code has the shape of a code") {
  CHECK(daemon::made_up_code({6, core::Alphabet::digits}).reveal() == "123456");
  CHECK(daemon::made_up_code({12, core::Alphabet::digits}).reveal() == "123456789012");
  CHECK(daemon::made_up_code({8, core::Alphabet::crockford32}).reveal() == "12345678");
  CHECK(daemon::made_up_code({4, core::Alphabet::alphanumeric}).reveal() == "3456");
}

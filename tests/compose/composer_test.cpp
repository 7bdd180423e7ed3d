// Requests and what comes of them. That any reader takes the mails is mails_test.py's part.
#include <thread>

#include <catch2/catch.hpp>

#include "tests/compose/compose_request.h"
#include "tests/compose/template_folder.h"

namespace mailotp::mail::test {

namespace {

TemplateSet installed() {
  auto set = TemplateSet::load({MAILOTP_TEMPLATES}, "en");
  if (!set) FAIL(set.error().what);
  return std::move(*set);
}

// The template "t" shows all that data and binding can bring.
struct Fixture {
  TemplateFolder folder;
  std::optional<MailComposer> composer;

  Fixture() {
    folder.add_good()
        .add("t/template.toml",
             "[variables.name]\nsample = \"Alice\"\nrequired = true\n"
             "[variables.city]\nsample = \"Graz\"\nmax_length = 5\n"
             "[variables.word]\ndefault = \"please\"\n"
             "[variables.link]\nkind = \"url\"\nsample = \"https://example.org/\"\n")
        .add("t/en/text.mustache",
             "{{name}} {{word}}{{#city}} in {{city}}{{/city}}\n{{code}}\n{{#link}}{{link}}{{/link}}\n"
             "{{#binding.amount}}{{binding.amount}}{{/binding.amount}} {{binding.payee}}\n")
        .add("w/en/subject.mustache", "Welcome, {{recipient}}")
        .add("w/en/text.mustache", "Hello\n")
        .add("w/en/html.mustache", "<p>Hello</p>");
    auto set = folder.load();
    if (!set) FAIL(set.error().what);
    composer.emplace(std::move(*set), settings());
  }

  [[nodiscard]] auto compose(const std::string& data,
                             const std::string& binding = R"({"payee":"Acme"})") const {
    core::ComposeRequest request = otp_request();
    request.template_name = "t";
    request.variables = core::Secret(data);
    request.binding = core::Secret(binding);
    return composer->compose(request);
  }
};

std::string content(const tl::expected<core::ComposedMail, core::ComposeError>& mail) {
  if (!mail) FAIL(mail.error().detail);
  return std::string(mail->content.reveal());
}

}  // namespace

TEST_CASE("the same request gives the same bytes") {
  const MailComposer composer(installed(), settings());
  const auto first = composer.compose(otp_request());
  const auto second = MailComposer(installed(), settings()).compose(otp_request());
  CHECK(content(first) == content(second));
  CHECK(first->message_id == "<magillid4dz7dvhyaaerukz4jvnp3h7ja4pqy5iuwjy@otp.example.org>");
  CHECK(first->message_id == second->message_id);
  CHECK(first->template_version == composer.templates("shop").find("otp", "en")->variant.version);
  CHECK(first->locale == "en");
  core::ComposeRequest other = otp_request();
  other.message = other.challenge;
  CHECK(content(composer.compose(other)) != content(first));
}

TEST_CASE("data and binding reach the mail") {
  const Fixture fixture;
  const std::string full =
      content(fixture.compose(R"({"name":"Bob","city":"Graz","word":"now","link":"https://x.example/"})",
                              R"({"amount":"5 EUR","payee":"Acme","session":7})"));
  CHECK_THAT(full, Catch::Contains("Bob now in Graz\r\n012345\r\nhttps://x.example/\r\n5 EUR Acme\r\n"));
  const std::string least = content(fixture.compose(R"({"name":"Bob","city":null,"word":""})"));
  CHECK_THAT(least, Catch::Contains("Bob please\r\n012345\r\n\r\n Acme\r\n"));
}

TEST_CASE("what a request is refused for: the field is named, the value is not") {
  const Fixture fixture;
  const auto [data, binding, detail, field] =
      GENERATE(table<std::string, std::string, std::string, std::string>({
          {"{}", "", "data.name is required by template t", "data.name"},
          {"", "", "data.name is required by template t", "data.name"},
          {R"({"name":""})", "", "data.name is required by template t", "data.name"},
          {R"({"name":null})", "", "data.name is required by template t", "data.name"},
          {R"({"name":"B","nmae":"hush"})", "", "data.nmae is not a variable of template t", "data.nmae"},
          {R"({"name":"B","code":"hush"})", "", "data.code is not a variable of template t", "data.code"},
          {R"({"name":"B","a\nb":"hush"})", "", "data has a field whose name is none", "data"},
          {R"({"name":12345})", "", "data.name must be a string", "data.name"},
          {R"({"name":{"a":"hush"}})", "", "data.name must be a string", "data.name"},
          {R"({"name":"hush\nhush"})", "", "data.name holds a line break", "data.name"},
          {R"({"name":"hush\u0000"})", "", "data.name holds a control character", "data.name"},
          {R"({"name":"http://hush"})", "", "data.name holds ://, which only a url may", "data.name"},
          {R"({"name":"B","city":"hushes"})", "", "data.city is longer than 5 characters", "data.city"},
          {R"({"name":"B","link":"hush"})", "", "data.link is not a http or https URL", "data.link"},
          {R"(["hush"])", "", "data is not a JSON object", "data"},
          {R"({"name":)", "", "data is not a JSON object", "data"},
          {R"({"name":"B"})", "", "binding.payee is required by template t", "binding.payee"},
          {R"({"name":"B"})", R"({"payee":"hush\r\n"})", "binding.payee holds a line break", "binding.payee"},
          {R"({"name":"B"})", R"({"payee":["hush"]})", "binding.payee must be a string", "binding.payee"},
          {R"({"name":"B"})", R"("hush")", "binding is not a JSON object", "binding"},
      }));
  INFO(data << " " << binding);
  const auto mail = fixture.compose(data, binding);
  REQUIRE_FALSE(mail);
  CHECK(mail.error().fault == core::ComposeFault::template_failed);
  CHECK(mail.error().detail == detail);
  CHECK(mail.error().field == field);
}

TEST_CASE("a template says what becomes of its mails when nobody knows whether they have left") {
  const auto [toml, expected] = GENERATE(table<std::string, core::OnUncertain>({
      {"", core::OnUncertain::resend},
      {"uncertain = \"resend\"\n", core::OnUncertain::resend},
      {"uncertain = \"hold\"\n", core::OnUncertain::hold},
  }));
  TemplateFolder folder;
  folder.add_good().add("t/template.toml", toml);
  const MailComposer composer(std::move(*folder.load()), settings());
  core::ComposeRequest request = otp_request();
  request.template_name = "t";
  const auto mail = composer.compose(request);
  REQUIRE(mail);
  CHECK(mail->on_uncertain == expected);
}

TEST_CASE("templates that are not there, or do not fit") {
  const Fixture fixture;
  core::ComposeRequest request = otp_request();
  request.template_name = "nope";
  CHECK(fixture.composer->compose(request).error().fault == core::ComposeFault::template_unknown);
  request.template_name = "w";
  CHECK(fixture.composer->compose(request).error().detail == "template w does not show the code");
  request.code = core::Secret();
  CHECK_THAT(content(fixture.composer->compose(request)),
             Catch::Contains("Subject: Welcome, alice@example.net\r\n"));
  request.template_name = "t";
  CHECK(fixture.composer->compose(request).error().detail ==
        "template t shows a code and this mail carries none");
}

TEST_CASE("an app has its own sender, domain and templates") {
  TemplateFolder own;
  own.add_good().add("t/en/subject.mustache", "Shop code");
  ComposerSettings with_app = settings();
  with_app.domain = "common.example";
  with_app.apps.emplace("shop", AppSender{named("Shop <login@shop.example>"), "shop.example", *own.load()});
  with_app.apps.emplace("bare", AppSender{});
  const MailComposer composer(installed(), std::move(with_app));

  core::ComposeRequest request = otp_request();
  CHECK(composer.compose(request).error().fault == core::ComposeFault::template_unknown);
  request.template_name = "t";
  const std::string shop = content(composer.compose(request));
  CHECK_THAT(shop, Catch::Contains("From: Shop <login@shop.example>\r\n") &&
                       Catch::Contains("Subject: Shop code\r\n") &&
                       Catch::Contains("Bye\r\n\r\n@shop.example #012345\r\n\r\n--=_"));

  request = otp_request();
  request.app = "bare";
  const std::string bare = content(composer.compose(request));
  CHECK_THAT(bare,
             Catch::Contains("From: Example <no-reply@example.org>\r\n") && !Catch::Contains("#012345"));
  request.app = "default";
  CHECK_THAT(content(composer.compose(request)),
             Catch::Contains("\r\n\r\n@common.example #012345\r\n\r\n--=_"));
}

TEST_CASE("without a display name the app's name stands in") {
  ComposerSettings nameless = settings();
  nameless.from.name.clear();
  const MailComposer composer(installed(), std::move(nameless));
  CHECK_THAT(content(composer.compose(otp_request())), Catch::Contains("Subject: Your code for shop\r\n"));
}

TEST_CASE("development mode says so in every mail") {
  ComposerSettings development = settings();
  development.mode_header = ModeHeader::development;
  const MailComposer composer(installed(), std::move(development));
  CHECK_THAT(content(composer.compose(otp_request())),
             Catch::Contains("\r\nX-Mailotp-Mode: development\r\n"));
  CHECK_THAT(content(MailComposer(installed(), settings()).compose(otp_request())),
             !Catch::Contains("X-Mailotp-Mode"));
}

TEST_CASE("a sender whose name would break the header is refused") {
  ComposerSettings hostile = settings();
  hostile.from.name = "Shop\r\nBcc: eve@example.org";
  const MailComposer composer(installed(), std::move(hostile));
  const auto mail = composer.compose(otp_request());
  REQUIRE_FALSE(mail);
  CHECK(mail.error().fault == core::ComposeFault::template_failed);
  CHECK_THAT(mail.error().detail, Catch::Equals("header From holds a line break or a control"));
}

TEST_CASE("the life of a code in words") {
  const MailComposer composer(installed(), settings());
  const auto [life, english, german] = GENERATE(table<core::Millis, std::string, std::string>({
      {core::Millis(0), "1 minute.", "1 Minute."},
      {core::Millis(59'999), "1 minute.", "1 Minute."},
      {core::Millis(119'999), "1 minute.", "1 Minute."},
      {core::Millis(120'000), "2 minutes.", "2 Minuten."},
      {core::Millis(600'000), "10 minutes.", "10 Minuten."},
      {core::Millis(7'199'999), "119 minutes.", "119 Minuten."},
      {core::Millis(7'200'000), "2 hours.", "2 Stunden."},
      {core::Millis(86'400'000), "24 hours.", "24 Stunden."},
  }));
  core::ComposeRequest request = otp_request();
  request.life = life;
  CHECK_THAT(content(composer.compose(request)), Catch::Contains("The code is valid for " + english));
  request.locale = "de-AT";
  CHECK_THAT(content(composer.compose(request)), Catch::Contains("Der Code gilt " + german));
}

TEST_CASE("expires_at is the end of the code's life") {
  TemplateFolder folder;
  folder.add_good().add("t/en/text.mustache", "{{code}}\nuntil {{expires_at}}");
  const MailComposer composer(*folder.load(), settings());
  core::ComposeRequest request = otp_request();
  request.template_name = "t";
  CHECK_THAT(content(composer.compose(request)), Catch::Contains("until 12:10 UTC\r\n"));
}

TEST_CASE("two threads compose at once") {
  const MailComposer composer(installed(), settings());
  const std::string expected = content(composer.compose(otp_request()));
  const auto work = [&composer, &expected](int& same) {
    for (int i = 0; i < 50; ++i) {
      const auto mail = composer.compose(otp_request());
      same += mail && mail->content.reveal() == expected ? 1 : 0;
    }
  };
  int here = 0;
  int there = 0;
  std::thread other(work, std::ref(there));
  work(here);
  other.join();
  CHECK(here == 50);
  CHECK(there == 50);
}

}  // namespace mailotp::mail::test

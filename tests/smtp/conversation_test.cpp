#include "mail/smtp/conversation.h"

#include <variant>

#include <catch2/catch.hpp>

using namespace mailotp;
using core::Stage;
using mail::Conversation;

namespace {

// Writes down every effect, in order; lets the dot go at once.
class Recorder final : public mail::ConversationPort {
 public:
  explicit Recorder(Conversation::Pipelining pipelining = Conversation::Pipelining::no)
      : conversation(*this, "250 relay\r\n", pipelining) {}

  void to_relay(std::string_view bytes) override { relay += bytes; }
  void to_engine(std::string_view bytes) override { engine += bytes; }
  void end_of_body(std::string_view rest) override {
    relay += rest;
    log += "[dot next]";
    before_dot = relay;
    conversation.dot_sent();
  }
  void phase(Stage stage) override { log += "(" + std::string(core::to_string(stage)) + ")"; }
  void relayed(core::Reply reply) override { log += "[relayed " + std::to_string(reply.code) + "]"; }
  void refused(Stage stage, core::Reply reply) override {
    log += "[refused " + std::string(core::to_string(stage)) + " " + std::to_string(reply.code) + "]";
  }
  void idle() override { log += "[idle]"; }
  void broken(Stage stage, std::string, std::optional<core::Reply>) override {
    log += "[broken " + std::string(core::to_string(stage)) + "]";
  }

  void reply(int code) { conversation.from_relay({code, {"text"}}); }

  Conversation conversation;
  std::string relay;
  std::string engine;
  std::string log;
  std::string before_dot;
};

const std::string k_mail = "MAIL FROM:<a@b>\r\n";
const std::string k_rcpt = "RCPT TO:<c@d>\r\n";
const std::string k_data = "DATA\r\n";

// Up to the 354, as libesmtp pipelines.
void open_body(Recorder& r) {
  r.conversation.from_engine(k_mail);
  r.reply(250);
  r.conversation.from_engine(k_rcpt + k_data);
  r.reply(250);
  r.reply(354);
}

}  // namespace

TEST_CASE("libesmtp's EHLO is answered here") {
  Recorder r;
  r.conversation.from_engine("EHLO client\r\n");
  CHECK(r.relay.empty());
  CHECK(r.engine == "250 relay\r\n");
}

TEST_CASE("a message, split at every byte") {
  const std::string body = "Date: x\r\n\r\n..\r\n.. a\r\n\r\n\r\r\n.\r\r\n";
  const std::string whole = body + ".\r\n" + k_mail;
  for (std::size_t split = 0; split <= whole.size(); ++split) {
    Recorder r;
    open_body(r);
    r.conversation.from_engine(std::string_view(whole).substr(0, split));
    r.conversation.from_engine(std::string_view(whole).substr(split));
    const std::string start = k_mail + k_rcpt + k_data;
    CHECK(r.before_dot == start + body);
    CHECK(r.relay == start + body + ".\r\n" + k_mail);
    CHECK(r.log == "(mail)(rcpt)(data)(body)[dot next](mail)");
  }
}

TEST_CASE("the dot's bytes never leave before it is found") {
  const std::string body = "Date: x\r\n\r\nlast line\r\n";
  const std::string whole = body + ".\r\n";
  Recorder r;
  open_body(r);
  const std::size_t start = r.relay.size();
  for (std::size_t i = 0; i + 1 < whole.size(); ++i) {
    r.conversation.from_engine(std::string_view(whole).substr(i, 1));
    CHECK(body.starts_with(r.relay.substr(start)));
    CHECK(r.log.find("dot next") == std::string::npos);
  }
  r.conversation.from_engine("\n");
  CHECK(r.relay.substr(start) == whole);
}

TEST_CASE("outcomes of the dot") {
  const std::pair<int, const char*> cases[] = {
      {250, "[relayed 250][idle]"},     {251, "[relayed 251][idle]"}, {451, "[refused dot 451][idle]"},
      {554, "[refused dot 554][idle]"}, {354, "[broken dot]"},        {421, "[broken dot]"}};
  for (const auto& [code, expected] : cases) {
    Recorder r;
    open_body(r);
    r.conversation.from_engine("Date: x\r\n\r\n.\r\n");
    CHECK(r.conversation.stage() == Stage::dot);
    r.log.clear();
    r.reply(code);
    CHECK(r.log == expected);
  }
}

TEST_CASE("after its end a message is forgotten") {
  Recorder r;
  open_body(r);
  r.conversation.from_engine("Date: x\r\n\r\n.\r\n");
  r.reply(250);
  CHECK(r.conversation.stage() == Stage::mail);
  r.log.clear();
  r.reply(250);  // a stray one
  CHECK(r.log == "[broken mail]");
}

TEST_CASE("a refused recipient ends in a clean transaction") {
  SECTION("DATA was pipelined and is refused too") {
    Recorder r;
    r.conversation.from_engine(k_mail);
    r.reply(250);
    r.conversation.from_engine(k_rcpt + k_data);
    r.reply(550);
    CHECK(r.log.find("refused") == std::string::npos);
    r.reply(554);
    CHECK(r.log == "(mail)(rcpt)(data)[refused rcpt 550]");
    CHECK(r.relay.ends_with(k_data + "RSET\r\n"));
    r.conversation.from_engine(".\r\n");
    r.reply(250);
    CHECK(r.relay.ends_with("RSET\r\n"));
    CHECK(r.engine.ends_with("550 no\r\n354 go\r\n250 ok\r\n"));
    CHECK(r.log.ends_with("[idle]"));
  }
  SECTION("DATA was pipelined and is answered by 354") {
    Recorder r;
    r.conversation.from_engine(k_mail);
    r.reply(250);
    r.conversation.from_engine(k_rcpt + k_data);
    r.reply(450);
    r.reply(354);
    CHECK(r.relay.ends_with(k_data + ".\r\n"));
    r.reply(554);
    CHECK_FALSE(r.log.ends_with("[idle]"));
    r.conversation.from_engine(".\r\n");
    CHECK(r.log.ends_with("[idle]"));
    CHECK(r.log.find("dot next") == std::string::npos);
  }
  SECTION("no pipelining") {
    Recorder r;
    r.conversation.from_engine(k_mail);
    r.reply(250);
    r.conversation.from_engine(k_rcpt);
    r.reply(550);
    CHECK(r.relay == k_mail + k_rcpt + "RSET\r\n");
    r.conversation.from_engine(k_data);
    CHECK(r.relay == k_mail + k_rcpt + "RSET\r\n");
    r.conversation.from_engine(".\r\n");
    r.reply(250);
    CHECK(r.log == "(mail)(rcpt)(data)[refused rcpt 550][idle]");
  }
  SECTION("the relay closes behind its refusal") {
    for (const bool with_421 : {false, true}) {
      Recorder r;
      r.conversation.from_engine(k_mail);
      r.reply(250);
      r.conversation.from_engine(k_rcpt + k_data);
      r.reply(550);
      with_421 ? r.reply(421) : r.conversation.relay_closed();
      CHECK(r.log.starts_with("(mail)(rcpt)(data)[refused rcpt 550]"));
      r.conversation.relay_closed();
      CHECK(r.log.find("refused") == r.log.rfind("refused"));
    }
  }
  SECTION("row 17: a reply that fits DATA no more takes the refusal back") {
    Recorder r;
    r.conversation.from_engine(k_mail);
    r.reply(250);
    r.conversation.from_engine(k_rcpt + k_data);
    r.reply(554);
    r.reply(250);
    CHECK(r.log == "(mail)(rcpt)(data)[broken rcpt]");
  }
  SECTION("RSET refused") {
    Recorder r;
    r.conversation.from_engine(k_mail);
    r.reply(250);
    r.conversation.from_engine(k_rcpt);
    r.reply(550);
    r.reply(500);
    CHECK(r.log.ends_with("[broken rcpt]"));
  }
}

TEST_CASE("MAIL, RCPT and DATA leave at once where the relay takes them so") {
  Recorder r(Conversation::Pipelining::yes);
  r.conversation.from_engine(k_mail);
  CHECK(r.engine == "250 ok\r\n");
  r.conversation.from_engine(k_rcpt + k_data);
  CHECK(r.relay == k_mail + k_rcpt + k_data);
  CHECK(r.log == "(mail)");
  CHECK(r.conversation.stage() == Stage::mail);
  r.reply(250);
  CHECK(r.engine == "250 ok\r\n");
  CHECK(r.conversation.stage() == Stage::rcpt);
  r.reply(250);
  CHECK(r.conversation.stage() == Stage::data);
  r.reply(354);
  CHECK(r.engine == "250 ok\r\n250 ok\r\n354 go\r\n");
  CHECK(r.log == "(mail)(rcpt)(data)(body)");
  r.conversation.from_engine("Date: x\r\n\r\n.\r\n");
  r.reply(250);
  CHECK(r.log.ends_with("[dot next][relayed 250][idle]"));
}

TEST_CASE("a refused MAIL with RCPT and DATA behind it") {
  const auto refused = [] {
    Recorder r(Conversation::Pipelining::yes);
    r.conversation.from_engine(k_mail);
    r.conversation.from_engine(k_rcpt + k_data);
    r.reply(451);
    CHECK(r.log == "(mail)(rcpt)");
    return r.conversation.stage();
  };
  CHECK(refused() == Stage::mail);
  // What the relay says of RCPT and DATA, and what becomes of the message.
  struct Case {
    int rcpt;
    int data;
    const char* relay;  // it gets
    const char* log;
  };
  const Case cases[] = {
      {503, 503, "RSET\r\n", "[refused mail 451]"},
      {450, 554, "RSET\r\n", "[refused mail 451]"},
      {503, 354, ".\r\n", "[refused mail 451]"},
      {503, 250, "", "[broken mail]"},
      {503, 421, "", "[refused mail 451][broken mail]"},
      {250, 0, "", "[refused mail 451][broken mail]"},
      {354, 0, "", "[broken mail]"},
      {421, 0, "", "[refused mail 451][broken mail]"},
  };
  for (const Case& one : cases) {
    Recorder r(Conversation::Pipelining::yes);
    r.conversation.from_engine(k_mail);
    r.conversation.from_engine(k_rcpt + k_data);
    r.reply(451);
    r.log.clear();
    r.relay.clear();
    r.reply(one.rcpt);
    if (one.data != 0) {
      CHECK(r.log == "(data)");
      r.log.clear();
      r.reply(one.data);
      r.conversation.from_engine(".\r\n");
    } else if (r.log.starts_with("(data)")) {
      r.log.erase(0, 6);
    }
    CHECK(r.relay == one.relay);
    CHECK(r.log == one.log);
    if (r.relay.empty()) continue;
    r.reply(250);
    CHECK(r.log.ends_with("[idle]"));
    // The next message starts anew.
    CHECK(r.conversation.stage() == Stage::mail);
    r.log.clear();
    r.conversation.from_engine(k_mail);
    r.conversation.from_engine(k_rcpt + k_data);
    r.reply(250);
    r.reply(550);
    r.reply(554);
    CHECK(r.log == "(mail)(rcpt)(data)[refused rcpt 550]");
  }
}

TEST_CASE("a relay that closes behind its refusal of MAIL has refused") {
  Recorder r(Conversation::Pipelining::yes);
  r.conversation.from_engine(k_mail);
  r.conversation.from_engine(k_rcpt + k_data);
  r.reply(550);
  r.conversation.relay_closed();
  CHECK(r.log == "(mail)(rcpt)[refused mail 550]");
}

TEST_CASE("replies that fit no command break the connection") {
  for (const int code : {354, 421}) {
    Recorder r;
    r.conversation.from_engine(k_mail);
    r.reply(code);
    CHECK(r.log == "(mail)[broken mail]");
    r.reply(250);
    r.conversation.from_engine(k_rcpt);
    CHECK(r.relay == k_mail);
  }
  Recorder data;
  data.conversation.from_engine(k_mail);
  data.reply(250);
  data.conversation.from_engine(k_rcpt + k_data);
  data.reply(250);
  data.reply(250);
  CHECK(data.log.ends_with("[broken data]"));
}

TEST_CASE("DATA refused after an accepted recipient ends the session") {
  Recorder r;
  r.conversation.from_engine(k_mail);
  r.reply(250);
  r.conversation.from_engine(k_rcpt + k_data);
  r.reply(250);
  r.reply(503);
  CHECK(r.log.ends_with("[refused data 503][broken data]"));
}

TEST_CASE("nonsense from libesmtp breaks the connection") {
  Recorder endless;
  endless.conversation.from_engine(std::string(5000, 'x'));
  CHECK(endless.log == "[broken mail]");
  Recorder unknown;
  unknown.conversation.from_engine("BDAT 5 LAST\r\n");
  CHECK(unknown.log == "[broken mail]");
  CHECK(unknown.relay.empty());
}

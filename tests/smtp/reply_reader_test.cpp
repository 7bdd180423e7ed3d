#include "mail/smtp/reply_reader.h"

#include <catch2/catch.hpp>

using namespace mailotp::mail;

namespace {

// All replies in `bytes`, fed in pieces of `piece`; "!" ends the list when the reader refuses.
std::vector<std::string> read(std::string_view bytes, std::size_t piece) {
  ReplyReader reader;
  std::vector<std::string> out;
  for (std::size_t at = 0; at < bytes.size(); at += piece) {
    reader.feed(bytes.substr(at, piece));
    while (true) {
      const auto reply = reader.next();
      if (!reply) {
        out.emplace_back("!");
        return out;
      }
      if (!*reply) break;
      std::string text = std::to_string((*reply)->code);
      for (const std::string& line : (*reply)->lines)
        text += "|" + line;
      out.push_back(text);
    }
  }
  return out;
}

}  // namespace

TEST_CASE("replies are the same at every split") {
  const std::string bytes = "220 hi\r\n250-a\r\n250-\r\n250 5.1.1 c\r\n354\r\n250\n421 bye\r\n";
  const std::vector<std::string> expected{"220|hi", "250|a||5.1.1 c", "354|", "250|", "421|bye"};
  for (std::size_t piece = 1; piece <= bytes.size(); ++piece)
    CHECK(read(bytes, piece) == expected);
}

TEST_CASE("what is not SMTP is refused") {
  for (const char* bytes : {"HTTP/1.1 400 Bad Request\r\n", "\r\n", "25 x\r\n", "2500 x\r\n", "250:x\r\n",
                            "150 x\r\n", "600 x\r\n", "250-a\r\n251 b\r\n", "abc def\r\n"})
    CHECK(read(bytes, 100) == std::vector<std::string>{"!"});
}

TEST_CASE("the bounds of a reply") {
  const auto line = [](std::size_t bytes) { return "250 " + std::string(bytes - 4, 'x') + "\n"; };
  CHECK(read(line(k_reply_line_bytes), 1000).size() == 1);
  CHECK(read(line(k_reply_line_bytes), 1000).front() != "!");
  CHECK(read(line(k_reply_line_bytes + 1), 1000).front() == "!");
  CHECK(read("250 " + std::string(k_reply_line_bytes, 'x'), 10'000).front() == "!");  // no end in sight

  const auto lines = [](std::size_t count, std::size_t bytes) {
    std::string out;
    for (std::size_t i = 1; i < count; ++i)
      out += "250-" + std::string(bytes, 'x') + "\r\n";
    return out + "250 end\r\n";
  };
  CHECK(read(lines(k_reply_lines, 1), 1000).front() != "!");
  CHECK(read(lines(k_reply_lines + 1, 1), 1000).front() == "!");
  CHECK(read(lines(40, 2000), 1000).front() == "!");
}

TEST_CASE("the reader knows whether something is left over") {
  ReplyReader reader;
  CHECK(reader.empty());
  reader.feed("220 go\r\n250 injected\r\n");
  CHECK(reader.next().value()->code == 220);
  CHECK_FALSE(reader.empty());
  CHECK(reader.next().value()->code == 250);
  CHECK(reader.empty());
  reader.feed("250-half");
  CHECK_FALSE(reader.next().value());
  CHECK_FALSE(reader.empty());
}

TEST_CASE("a reply for the daemon") {
  CHECK(to_reply({550, {"5.1.1 no such user", "5.1.1 really"}}) ==
        mailotp::core::Reply{550, "5.1.1", "no such user really"});
  CHECK(to_reply({250, {"2.0.0"}}) == mailotp::core::Reply{250, "2.0.0", ""});
  CHECK(to_reply({250, {"5.1 is not a status", "1.2.3 neither"}}).status.empty());
  CHECK(to_reply({550, {"5.1.1234 x"}}).status.empty());
  CHECK(to_reply({550, {"\x1b[2J\xc3\xa4\\"}}).text == "\\x1b[2J\\xc3\\xa4\\");
  CHECK(to_reply({550, {std::string(600, '\x01')}}).text.size() == 500);
  CHECK(to_reply({550, {}}).text.empty());
}

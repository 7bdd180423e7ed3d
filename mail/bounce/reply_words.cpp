#include "mail/bounce/reply_words.h"

#include <array>

#include "mail/bounce/ascii.h"

namespace mailotp::mail {
namespace {

// Length of the number of at most three digits at `at`, or 0.
std::size_t number_length(std::string_view text, std::size_t at) {
  std::size_t end = at;
  while (end < text.size() && end - at < 4 && is_digit(text[end]))
    ++end;
  return end - at <= 3 ? end - at : 0;
}

struct Said {
  std::string_view words;
  core::RefusedAt at;
};
constexpr std::array k_said{
    Said{"reply to rcpt to", core::RefusedAt::rcpt},
    Said{"reply to mail from", core::RefusedAt::mail},
    Said{"reply to end of data", core::RefusedAt::data},
    Said{"reply to data", core::RefusedAt::data},
    Said{"reply to ehlo", core::RefusedAt::session},
    Said{"reply to helo", core::RefusedAt::session},
    Said{"after end of data", core::RefusedAt::data},
    Said{"after rcpt to", core::RefusedAt::rcpt},
    Said{"after mail from", core::RefusedAt::mail},
    Said{"after pipelined mail", core::RefusedAt::mail},
    Said{"after pipelined rcpt", core::RefusedAt::rcpt},
    Said{"after pipelined end of data", core::RefusedAt::data},
    Said{"after pipelined data", core::RefusedAt::data},
    Said{"after data", core::RefusedAt::data},
    Said{"after initial connection", core::RefusedAt::session},
    Said{"after ehlo", core::RefusedAt::session},
    Said{"refused to talk to me", core::RefusedAt::session},
    Said{"but my name was rejected", core::RefusedAt::session},
    Said{"but sender was rejected", core::RefusedAt::mail},
    Said{"failed on data command", core::RefusedAt::data},
    Said{"failed after i sent", core::RefusedAt::data},
    Said{"state 14)", core::RefusedAt::rcpt},  // Gmail's
    Said{"state 15)", core::RefusedAt::data},
    Said{"state 17)", core::RefusedAt::data},
    Said{"state 18)", core::RefusedAt::data},
    Said{"after helo", core::RefusedAt::session},
    Said{"after rcpt command", core::RefusedAt::rcpt},
    Said{"for rcpt command", core::RefusedAt::rcpt},
    Said{"for text command", core::RefusedAt::data},
    Said{"[rcpt_to]", core::RefusedAt::rcpt},
    Said{"like our rcpt", core::RefusedAt::rcpt},
    Said{"like our final data", core::RefusedAt::data},
    Said{"like our data", core::RefusedAt::data},
    Said{"smtp command data", core::RefusedAt::data},
};

constexpr bool is_host(char c) {
  return is_alnum(c) || c == '.' || c == '-' || c == '_';
}

std::string_view host_at(std::string_view text, std::size_t at) {
  while (at < text.size() && (text[at] == ' ' || text[at] == '<' || text[at] == '"' || text[at] == ':'))
    ++at;
  std::size_t end = at;
  while (end < text.size() && is_host(text[end]))
    ++end;
  const std::string_view host = text.substr(at, end - at);
  return host.find('.') != std::string_view::npos && host.size() >= 4 && host.size() <= 253
             ? host
             : std::string_view{};
}

}  // namespace

std::string_view find_status(std::string_view text) {
  for (std::size_t dot = text.find('.'); dot != std::string_view::npos; dot = text.find('.', dot + 1)) {
    if (dot == 0 || (text[dot - 1] != '5' && text[dot - 1] != '4' && text[dot - 1] != '2')) continue;
    const std::size_t begin = dot - 1;
    if (begin > 0 && (is_alnum(text[begin - 1]) || text[begin - 1] == '.')) continue;
    if (begin > 1 && text[begin - 1] == '-' && !is_digit(text[begin - 2])) continue;
    const std::size_t second = number_length(text, dot + 1);
    if (second == 0 || dot + 1 + second >= text.size() || text[dot + 1 + second] != '.') continue;
    const std::size_t third_at = dot + 1 + second + 1;
    const std::size_t third = number_length(text, third_at);
    if (third == 0) continue;
    const std::size_t end = third_at + third;
    if (end < text.size() &&
        (is_alnum(text[end]) || (text[end] == '.' && end + 1 < text.size() && is_digit(text[end + 1]))))
      continue;
    return text.substr(begin, end - begin);
  }
  return {};
}

int find_reply_code(std::string_view text) {
  for (std::size_t i = 0; i + 3 <= text.size(); ++i) {
    if ((text[i] != '5' && text[i] != '4') || text[i + 1] < '0' || text[i + 1] > '7' ||
        !is_digit(text[i + 2]))
      continue;
    if (i > 0 && (is_alnum(text[i - 1]) || text[i - 1] == '.' || text[i - 1] == '[' || text[i - 1] == '/' ||
                  text[i - 1] == '@' || text[i - 1] == '_'))
      continue;
    if (i > 0 && text[i - 1] == '-' && i > 1 && is_alnum(text[i - 2])) continue;
    const char after = i + 3 < text.size() ? text[i + 3] : ' ';
    if (!is_blank(after) && after != '-' && after != ':' && after != ';' && after != ',' && after != '#' &&
        after != ')' && after != '\'' && after != '"' && after != ']')
      continue;
    // "in 450 seconds", "of 500 messages": a number of something.
    const std::string_view rest = trim(text.substr(i + 3, 12));
    if (istarts_with(rest, "second") || istarts_with(rest, "minute") || istarts_with(rest, "hour") ||
        istarts_with(rest, "message") || istarts_with(rest, "byte") || istarts_with(rest, "kb") ||
        istarts_with(rest, "mb"))
      continue;
    return (text[i] - '0') * 100 + (text[i + 1] - '0') * 10 + (text[i + 2] - '0');
  }
  return 0;
}

core::RefusedAt find_refused_at(std::string_view text) {
  static constexpr CharSet k_first("rabf[ls");  // what the phrases begin with
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (!k_first.has(lower(text[i])) || (i > 0 && is_alnum(text[i - 1]))) continue;
    for (const Said& said : k_said) {
      if (istarts_with(text.substr(i), said.words)) return said.at;
    }
  }
  return core::RefusedAt::unknown;
}

core::RefusedAt find_refused_at(std::string_view transcript, std::string_view reply) {
  constexpr std::size_t k_compared = 16;  // code, status, and the beginning of the words
  reply = trim(reply).substr(0, k_compared);
  core::RefusedAt command = core::RefusedAt::unknown;
  Lines lines(transcript);
  std::string_view line;
  while (!reply.empty() && lines.next(line)) {
    line = trim(line);
    if (line.starts_with("<<< ") && line.substr(4).starts_with(reply)) return command;
    if (!line.starts_with(">>> ")) continue;
    const std::string_view said = line.substr(4);
    command = core::RefusedAt::session;
    if (istarts_with(said, "rcpt")) command = core::RefusedAt::rcpt;
    if (istarts_with(said, "data")) command = core::RefusedAt::data;
    if (istarts_with(said, "mail")) command = core::RefusedAt::mail;
  }
  return core::RefusedAt::unknown;
}

std::string_view find_remote_host(std::string_view text) {
  static constexpr std::array<std::string_view, 6> k_before{"host ",       "host: ", "server ",
                                                            "talking to ", "dns;",   "mx "};
  for (const std::string_view words : k_before) {
    for (std::size_t at = ifind(text, words); at != std::string_view::npos; at = ifind(text, words, at + 1)) {
      if (at > 0 && is_alnum(text[at - 1])) continue;
      const std::string_view host = host_at(text, at + words.size());
      if (!host.empty()) return host;
    }
  }
  return {};
}

}  // namespace mailotp::mail

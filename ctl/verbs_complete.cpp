#include <algorithm>

#include "ctl/verb.h"

namespace mailotp::ctl {
namespace {

constexpr core::Millis k_patience{700};  // a person has pressed a key

// What no shell would have to quote; other words are not offered.
bool is_plain(const std::string& word) {
  return !word.empty() && std::all_of(word.begin(), word.end(), [](unsigned char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.' || c == '+';
  });
}

template <class T, class Take>
void take_page(DaemonClient& client, const std::string& target,
               core::Result<PageInfo<T>> (*read)(std::string_view), const Take& take) {
  const auto body = get_ok(client, target);
  if (!body) return;
  const auto page = read(*body);
  if (!page) return;
  for (const T& item : page->items)
    take(item);
}

std::vector<std::string> live_words(const Complete& complete, DaemonClient& client) {
  std::vector<std::string> out;
  const auto add = [&out](const std::string& word) { out.push_back(word); };
  switch (complete.live) {
    case Live::nothing:
      break;
    case Live::relays:
      take_page<RelayInfo>(client, "/v1/relays", read_relays, [&](const RelayInfo& one) { add(one.name); });
      break;
    case Live::templates:
      take_page<TemplateInfo>(client, "/v1/templates", read_templates,
                              [&](const TemplateInfo& one) { add(one.name); });
      break;
    case Live::challenges:
      take_page<MessageInfo>(client, "/v1/outbox", read_outbox,
                             [&](const MessageInfo& one) { add(one.challenge); });
      break;
    case Live::messages:
      for (const std::string& state :
           complete.states.empty() ? std::vector<std::string>{""} : complete.states)
        take_page<MessageInfo>(client, target_of("/v1/outbox", {{"state", state}}), read_outbox,
                               [&](const MessageInfo& one) { add(one.id); });
      break;
  }
  return out;
}

}  // namespace

// Never fails and says nothing on stderr: it speaks into the line that somebody is typing.
Attempt<void> carry_out(const Complete& complete, const Run& run) {
  std::vector<std::string> words = complete.words;
  if (complete.live != Live::nothing) {
    DaemonClient client = run.daemon();
    client.give_up_after(k_patience);
    const auto live = live_words(complete, client);
    words.insert(words.end(), live.begin(), live.end());
  }
  for (const std::string& word : words) {
    if (is_plain(word) && word.starts_with(complete.prefix)) run.print(word + "\n");
  }
  return {};
}

}  // namespace mailotp::ctl

// What may come next in a command line that somebody is typing: the verbs and options as CLI11 has them, so
// that no list of them has to be kept a second time.
#include "core/bounce.h"
#include "core/outbox.h"
#include "ctl/command_words.h"

namespace mailotp::ctl {
namespace {

template <class Enum>
std::vector<std::string> names_of(int count) {
  std::vector<std::string> out;
  for (int i = 0; i < count; ++i)
    out.emplace_back(core::to_string(static_cast<Enum>(i)));
  return out;
}

bool takes_value(const CLI::Option& option) {
  return option.get_items_expected_max() > 0;
}

// The state that a message may be in for an order of it; none: any.
std::vector<std::string> states_for(const std::string& verb) {
  if (verb == "retry") return {"deferred", "uncertain", "held"};
  if (verb == "hold") return {"queued", "deferred", "uncertain"};
  if (verb == "release") return {"held"};
  if (verb == "cancel") return {"queued", "deferred", "uncertain", "held"};
  return {};
}

class Walk {
 public:
  explicit Walk(const CLI::App& app) : at_(&app) {}

  void pass(const std::string& word) {
    if (word == "=") return;  // bash makes three words of --name=value
    if (pending_ != nullptr) {
      if (pending_->check_lname("socket")) socket_ = word;
      pending_ = nullptr;
      return;
    }
    if (word.starts_with("--")) {
      const CLI::Option* option = find(word.substr(0, word.find('=')));
      if (option != nullptr && takes_value(*option) && word.find('=') == std::string::npos) pending_ = option;
      return;
    }
    const auto verbs = at_->get_subcommands([&](const CLI::App* one) { return one->get_name() == word; });
    if (verbs.empty())
      ++positionals_;
    else
      at_ = verbs.front();
  }

  [[nodiscard]] Complete next(std::string prefix) const {
    Complete out;
    out.prefix = prefix == "=" ? std::string() : std::move(prefix);
    if (pending_ != nullptr) {
      value_of(*pending_, out);
    } else if (out.prefix.starts_with("-")) {
      for (const CLI::App* app = at_; app != nullptr; app = app->get_parent())
        for (const CLI::Option* option : app->get_options())
          for (const std::string& name : option->get_lnames())
            out.words.push_back("--" + name);
    } else {
      for (const CLI::App* verb : at_->get_subcommands([](const CLI::App*) { return true; }))
        out.words.push_back(verb->get_name());
      positional(out);
    }
    return out;
  }

  // The last --socket; empty: none.
  [[nodiscard]] const std::string& socket() const { return socket_; }

 private:
  // --json and --socket may follow a verb.
  [[nodiscard]] const CLI::Option* find(const std::string& name) const {
    for (const CLI::App* app = at_; app != nullptr; app = app->get_parent())
      if (const CLI::Option* option = app->get_option_no_throw(name)) return option;
    return nullptr;
  }

  static void value_of(const CLI::Option& option, Complete& out) {
    const std::string kind = option.get_type_name();
    if (kind == "STATE") out.words = names_of<core::MessageState>(core::k_message_states);
    if (kind == "CLASS") out.words = names_of<core::BounceClass>(core::k_bounce_classes);
    if (kind == "KIND") out.words = names_of<core::BounceKind>(core::k_bounce_kinds);
    if (option.check_lname("relay")) out.live = Live::relays;
  }

  void positional(Complete& out) const {
    const CLI::App* group = at_->get_parent();
    if (group == nullptr) return;
    std::size_t n = 0;
    for (const CLI::Option* option : at_->get_options()) {
      if (!option->get_positional()) continue;
      const bool several = option->get_items_expected_max() > 1;
      if (n++ != positionals_ && !several) continue;
      const std::string name = option->get_name(true);
      if (name == "ID" && group->get_name() == "outbox") {
        out.live = Live::messages;
        out.states = states_for(at_->get_name());
      }
      if (name == "ID" && group->get_name() == "challenge") out.live = Live::challenges;
      if (name == "NAME" && group->get_name() == "relay") out.live = Live::relays;
      if (name == "NAME" && group->get_name() == "template") out.live = Live::templates;
      return;
    }
  }

  const CLI::App* at_;
  const CLI::Option* pending_ = nullptr;  // the word before it wants a value
  std::size_t positionals_ = 0;
  std::string socket_;
};

}  // namespace

Complete complete_line(const CLI::App& app, const std::vector<std::string>& words, std::string& socket) {
  Walk walk(app);
  for (std::size_t i = 0; i + 1 < words.size(); ++i)
    walk.pass(words[i]);
  if (!walk.socket().empty()) socket = walk.socket();
  return walk.next(words.empty() ? std::string() : words.back());
}

}  // namespace mailotp::ctl

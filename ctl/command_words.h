// The words of the command line, as CLI11 reads them: what command_line.cpp and command_*.cpp share, and
// nobody else.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "ctl/command_line.h"

namespace mailotp::ctl {

// What CLI11 writes into; the chosen verb takes what it needs.
struct Words {
  std::string socket;
  bool json = false;
  ListOutbox outbox;
  ListBounces bounces;
  ListSuppressions suppressions;
  Suppress suppress;
  bool all = false;
  std::string id;
  std::string subject;
  std::vector<std::string> ids;
  bool yes = false;
  std::string file;
  std::string name;
  std::optional<Verb> verb;
};

// Validators, as CLI11 has them: what is wrong with a word, or nothing.
[[nodiscard]] std::string is_state(const std::string& name);
[[nodiscard]] std::string is_class(const std::string& name);
[[nodiscard]] std::string is_kind(const std::string& name);
[[nodiscard]] std::string is_time(const std::string& text);
[[nodiscard]] std::string is_id(const std::string& text);
// An address, as far as its @ goes, or an id.
[[nodiscard]] std::string is_subject(const std::string& text);

// A verb with its help; a group is a verb that wants another one after it.
CLI::App* add_verb(CLI::App& parent, const std::string& name, const std::string& what,
                   const std::string& example);
CLI::App* add_group(CLI::App& parent, const std::string& name, const std::string& what,
                    const std::string& example);
void add_id(CLI::App& verb, Words& words, const std::string& what);
void add_paging(CLI::App& list, Words& words, int& limit, std::string& cursor);

// The verbs by subject. Each sets `words.verb` when it is chosen.
void add_outbox_verbs(CLI::App& app, Words& words);   // outbox, challenge, timeline
void add_address_verbs(CLI::App& app, Words& words);  // bounces, suppress, erase
void add_relay_verbs(CLI::App& app, Words& words);    // relay
void add_upkeep_verbs(CLI::App& app, Words& words);   // reload, keygen, check-config

}  // namespace mailotp::ctl
